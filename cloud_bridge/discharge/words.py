"""Words, codes and days of FHIR elements, as a plan takes them. Pure."""

import datetime as dt
from typing import Any, Final

from cloud_bridge.discharge.bundle import Document, Element, Entry
from cloud_bridge.discharge.terms import Terms

_LANGUAGES: Final = {"en": "en", "zh": "zh-Hans"}


def codings(concept: Element) -> list[tuple[str, str]]:
    """Return the (system, code) pairs of a CodeableConcept."""
    given = concept.get("coding", ())
    return [(str(one.get("system", "")), str(one["code"])) for one in given if "code" in one]


def words(concept: Any) -> str:  # noqa: ANN401 - a CodeableConcept, or nothing
    """Return a CodeableConcept in words: its text, else the first display; empty if it has neither."""
    if not isinstance(concept, dict):
        return ""
    shown = [str(one["display"]) for one in concept.get("coding", ()) if one.get("display")]
    return str(concept.get("text") or (shown or [""])[0]).strip()


def day(doc: Document, where: str, text: object, terms: Terms) -> dt.date | None:
    """Return a day, on the site's clock where a time is given; a fault if it is no full date."""
    if text is None:
        return None
    if len(str(text)) > len("2026-11-24"):
        moment = doc.moment(where, text)
        try:
            return None if moment is None else moment.astimezone(terms.zone).date()
        except OverflowError:  # the last day of the calendar: it has no other zones
            return dt.date.max
    try:
        return dt.date.fromisoformat(str(text))
    except ValueError:
        doc.fault(where, "write a whole date, as 2027-02-20")
        return None


def language_of(doc: Document, patient: Entry) -> str | None:
    """Return the patient's language, of those that we have texts in; None if nothing is said of it."""
    given = patient.body.get("communication", ())
    first = [one for one in given if one.get("preferred")] or list(given)[:1]
    tags = [code for one in first for _, code in codings(one.get("language", {}))]
    if not tags:
        return None
    found = _LANGUAGES.get(tags[0].split("-", maxsplit=1)[0].lower())
    if found is None or "hant" in tags[0].lower():
        doc.remark(f"{patient.name}.communication", "there are no texts in this language: English is used")
        return "en"
    return found
