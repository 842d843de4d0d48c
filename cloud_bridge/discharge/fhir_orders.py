"""What a plan orders: goals as thresholds, medicines with their times, and everything else in words. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from cloud_bridge.connectors.fhir_codes import LOINC, UCUM
from cloud_bridge.discharge.bundle import Document, Element, Entry
from cloud_bridge.discharge.goals import MEASURES, UNITS, Bound, Rules, Said, distinct, own_values, rules_of
from cloud_bridge.discharge.plan import Medication, OwnValue, PlanRefusedError
from cloud_bridge.discharge.terms import Terms
from cloud_bridge.discharge.timing import CUT, NotUnderstoodError, due
from cloud_bridge.discharge.words import codings, words

MAX_REASON: Final = 500
_AGREED: Final = frozenset({"accepted", "active", "planned"})
_WAITING: Final = frozenset({"proposed", "on-hold"})
_GONE: Final = frozenset({"completed", "cancelled", "stopped", "revoked", "entered-in-error", "rejected"})
_ORDERS: Final = frozenset(
    {"order", "plan", "original-order", "reflex-order", "filler-order", "instance-order"}
)


def goals(
    doc: Document, programmes: Sequence[str], author: str, terms: Terms
) -> tuple[tuple[OwnValue, ...], list[str]]:
    """Return the thresholds that the goals set, and the goals that stay words."""
    rules = rules_of(programmes)
    found: list[tuple[str, OwnValue]] = []
    wishes: list[str] = []
    for goal in doc.of("Goal"):
        status, said = goal.body.get("lifecycleStatus"), words(goal.body.get("description"))
        if status in _GONE:
            continue
        if status in _WAITING:
            doc.remark(f"{goal.name}.lifecycleStatus", "nobody agreed to it yet: it is left out")
        elif status not in _AGREED:
            doc.fault(f"{goal.name}.lifecycleStatus", "FHIR R4 has no such status: write active")
        elif not said:
            doc.fault(f"{goal.name}.description", "it has no words: write them in text")
        elif own := _of_goal(doc, goal, (rules, said, _set_by(doc, goal, author, terms))):
            found += own
        else:
            wishes.append(said)
    try:
        return distinct(found), wishes
    except PlanRefusedError as error:
        doc.faults += error.faults
        return (), wishes


def _set_by(doc: Document, goal: Entry, author: str, terms: Terms) -> str:
    if "expressedBy" not in goal.body:
        return author
    who = doc.who(f"{goal.name}.expressedBy", goal.body["expressedBy"], terms.staff_system)
    return author if who is None else who.value


def _of_goal(doc: Document, goal: Entry, about: tuple[Rules, str, str]) -> list[tuple[str, OwnValue]]:
    rules, said, author = about
    found: list[tuple[str, OwnValue]] = []
    for number, target in enumerate(goal.body.get("target", ())):
        where = f"{goal.name}.target[{number}]"
        codes = [code for system, code in codings(target.get("measure", {})) if system == LOINC]
        ours = [code for code in codes if code in MEASURES]
        if not ours:
            doc.remark(where, "no rule watches this measure: it stays in words")
            continue
        bound = _bound(doc, where, target)
        if bound is None:
            continue
        try:
            values, remarks = own_values(ours[0], bound, Said(where, author, said[:MAX_REASON]), rules)
        except PlanRefusedError as error:
            doc.faults += error.faults
            continue
        found += [(where, one) for one in values]
        doc.remarks += remarks
    return found


def _bound(doc: Document, where: str, target: Element) -> Bound | None:
    """Return the upper end of a goal; a fault if it has none that can be watched."""
    if "detailQuantity" in target:
        included = {"<": False, "<=": True}.get(str(target["detailQuantity"].get("comparator")))
        if included is None:
            what = (
                "a value alone, or a lower end, is no threshold: write comparator < or <=, or a detailRange"
            )
            doc.fault(f"{where}.detailQuantity", what)
            return None
        return _quantity(doc, f"{where}.detailQuantity", target["detailQuantity"], included=included)
    if "high" in target.get("detailRange", {}):
        # R4: "the goal is achieved at any focus value at or below the high value".
        if "low" in target["detailRange"]:
            doc.remark(f"{where}.detailRange.low", "what is too low is the programme's to say: not taken")
        return _quantity(doc, f"{where}.detailRange.high", target["detailRange"]["high"], included=True)
    doc.fault(where, "it has no upper end: write detailQuantity with comparator <, or detailRange.high")
    return None


def _quantity(doc: Document, where: str, given: Element, *, included: bool) -> Bound | None:
    unit = UNITS.get(str(given.get("code"))) if given.get("system") == UCUM else None
    if unit is None:
        doc.fault(where, f"write the unit as system {UCUM} and code, one of {', '.join(UNITS)}")
        return None
    try:
        value = Decimal(str(given["value"]))
    except (KeyError, ArithmeticError):
        doc.fault(f"{where}.value", "it is missing: write the number")
        return None
    if not value.is_finite() or value <= 0:
        doc.fault(f"{where}.value", "it must be above zero")
        return None
    return Bound(value, unit, included)


def medications(
    doc: Document, terms: Terms, begins: dt.date, plan_ends: dt.date | None
) -> tuple[Medication, ...]:
    """Return the medication list: what is active, and what must not be taken."""
    found = []
    for one in doc.of("MedicationRequest"):
        status, intent = one.body.get("status"), one.body.get("intent")
        if status in _GONE:
            continue
        if status != "active" or intent not in _ORDERS:
            doc.remark(one.name, "it is not an active order: it is left out of the medication list")
        elif (made := _medication(doc, one, terms, (begins, plan_ends))) is not None:
            found.append(made)
    keys = [one.key for one in found]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        doc.fault(f"MedicationRequest {key}", "two of them have one identifier: give each its own")
    return tuple(sorted(found, key=lambda one: one.key))


def _medication(
    doc: Document, one: Entry, terms: Terms, span: tuple[dt.date, dt.date | None]
) -> Medication | None:
    text, key = _medicine(doc, one), _key(one)
    if not text:
        where = f"{one.name}.medication"
        doc.fault(where, "it has no words: write medicationCodeableConcept.text")
        return None
    if key is None:
        doc.fault(f"{one.name}.identifier", "it has none, and no id: write one, so that it stays the same")
        return None
    dosages: Sequence[Mapping[str, Any]] = one.body.get("dosageInstruction", ())
    dosage = "; ".join(filter(None, (str(each.get("text", "")).strip() for each in dosages)))
    if one.body.get("doNotPerform"):
        return Medication(key, f"NOT to be taken / 禁用: {text}", dosage, no_reminder="it must not be taken")
    begins, plan_ends = span
    try:
        times, ends = due(dosages, terms, begins, plan_ends)
    except NotUnderstoodError as why:
        doc.remark(one.name, f"no reminder: {why}")
        return Medication(key, text, dosage, no_reminder=str(why))
    if times.cut:
        doc.remark(one.name, CUT)
    return Medication(key, text, dosage, times.at, times.weekdays, times.starts, ends)


def _medicine(doc: Document, one: Entry) -> str:
    if "medicationReference" not in one.body:
        return words(one.body.get("medicationCodeableConcept"))
    reference = one.body["medicationReference"]
    inside = {f"#{each.get('id')}": each for each in one.body.get("contained", ())}
    found = inside.get(str(reference.get("reference")))
    if found is None and (entry := doc.find(reference)) is not None:
        found = entry.body
    return words(found.get("code")) if found is not None else str(reference.get("display", "")).strip()


def _key(one: Entry) -> str | None:
    """Return what a medicine is called from one version of the plan to the next."""
    for each in one.body.get("identifier", ()):
        if each.get("value"):
            return f"{each.get('system', '')}|{each['value']}"
    return str(one.body["id"]) if "id" in one.body else one.url


def services(doc: Document, programmes: Mapping[tuple[str, str], str]) -> list[str]:
    """Return what is ordered for the time at home, in words; what only names a programme is left out."""
    found = []
    for one in doc.of("ServiceRequest"):
        status, concept = one.body.get("status"), one.body.get("code", {})
        if status in _GONE or (status == "active" and any(pair in programmes for pair in codings(concept))):
            continue
        if status != "active" or one.body.get("intent") not in _ORDERS | {"directive"}:
            doc.remark(one.name, "it is not an active order: it is left out of the follow-up plan")
        elif not (said := words(concept)):
            doc.fault(f"{one.name}.code", "it has no words: write them in text")
        else:
            prefix = "NOT / 不做: " if one.body.get("doNotPerform") else ""
            found.append(f"{prefix}{said}{_when(one.body)}")
    return found


def _when(body: Element) -> str:
    """Return when something is to be done, as it was written."""
    if "occurrenceDateTime" in body:
        return f" ({body['occurrenceDateTime']})"
    period = body.get("occurrencePeriod", {})
    ends = [str(period[edge]) for edge in ("start", "end") if edge in period]
    return f" ({' - '.join(ends)})" if ends else ""
