"""Consents as FHIR R4 Consent resources, out and in. Pure.

Out, each consent is one resource: one recipient, one kind of data. In, a resource may name several of both.
What cannot be kept exactly (exceptions, other purposes, a part of a kind of data) is refused in words:
a consent that is understood as more than it says is worse than one that is not taken. The text that was
agreed to is the attachment; R4 has room for one, so its other languages are extensions.
"""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud_bridge.access.consent import ORGANIZATION, Consent, parse_recipient
from cloud_bridge.access.model import DataType
from cloud_bridge.access.texts import Text, wordings
from cloud_bridge.connectors.base import Identifier
from cloud_bridge.connectors.fhir_attachment import Attachment, text_attachment, texts_of
from cloud_bridge.connectors.fhir_codes import ACT_REASON, LOINC, Resource, coding, concept, identifier
from wire_format.errors import Rejected
from wire_format.identity import derived_id

CONSENT: Final = "urn:kiteline:consent"
DATA: Final = "urn:kiteline:data"
ROLE: Final = "urn:kiteline:role"
NAMED: Final = "urn:kiteline:organization"
WITHDRAWAL: Final = "urn:kiteline:withdrawal"
TEXT: Final = "urn:kiteline:text"
SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"

_SAME_AS: Final = {"85354-9": DataType.BLOOD_PRESSURE, "8310-5": DataType.TEMPERATURE}
"""LOINC codes that mean a kind of data exactly; one that means a part of it would be taken as the whole."""
_LOINC_OF: Final = {data: code for code, data in _SAME_AS.items()}
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a resource says of one consent, and the texts it carries. `void`: there is none, or never was."""

    consent: Consent
    void: bool
    texts: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is needed to understand a resource: whose number it is, the hospital's zone, and the time."""

    patient: Callable[[Identifier], str | None]
    zone: ZoneInfo
    now: dt.datetime


def consent_resource(
    one: Consent, patient: Identifier, now: dt.datetime, texts: Sequence[Text] = ()
) -> Resource:
    """Return a consent as a resource, with its texts: the first is the attachment, others are extensions.

    It is active while it holds, or will; a withdrawal is an extension.
    """
    withdrawal = [] if one.withdrawn_at is None else [_withdrawal(one)]
    extensions = [
        *withdrawal,
        *({"url": TEXT, "valueAttachment": text_attachment(text)} for text in texts[1:]),
    ]
    over = one.withdrawn_at is not None or (one.valid_until is not None and one.valid_until <= now)
    return {
        "resourceType": "Consent",
        "identifier": [identifier(CONSENT, str(one.consent_id))],
        **({"extension": extensions} if extensions else {}),
        "status": "inactive" if over else "active",
        "scope": concept(coding(SCOPE, "patient-privacy")),
        "category": [concept(coding(LOINC, "59284-0", "Consent Document"))],
        "patient": {"type": "Patient", "identifier": identifier(patient.system, patient.value)},
        "dateTime": one.given_at.isoformat(),
        "performer": [{"display": one.given_by}],
        "sourceAttachment": {
            "title": one.text_version,
            **({} if not texts else text_attachment(texts[0])),
        },
        "policyRule": concept(coding(ACT_CODE, "OPTIN")),
        "provision": {
            "type": "permit",
            "period": {
                "start": one.valid_from.isoformat(),
                **({} if one.valid_until is None else {"end": one.valid_until.isoformat()}),
            },
            "purpose": [coding(ACT_REASON, "TREAT")],
            "code": [_code(one.data)],
            "actor": [{"role": concept(coding(PARTICIPATION, "IRCP")), "reference": _actor(one.to)}],
        },
    }


def _withdrawal(one: Consent) -> Resource:
    at = one.withdrawn_at or one.given_at
    parts = [{"url": "at", "valueDateTime": at.isoformat()}, {"url": "by", "valueString": one.withdrawn_by}]
    return {"url": WITHDRAWAL, "extension": parts}


def _code(data: DataType) -> Resource:
    more = [coding(LOINC, _LOINC_OF[data])] if data in _LOINC_OF else []
    return concept(coding(DATA, data.value), *more)


def _actor(to: str) -> Resource:
    name = to.removeprefix(ORGANIZATION)
    if name == to:
        return {"type": "PractitionerRole", "identifier": identifier(ROLE, to)}
    return {"type": "Organization", "identifier": identifier(NAMED, name), "display": name}


# --- in: the part of R4 that is understood ---


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Coding(_Part):
    system: str | None = None
    version: str | None = None
    code: str
    display: str | None = None


class _Concept(_Part):
    coding: tuple[_Coding, ...] = ()
    text: str | None = None

    def codes(self, system: str) -> set[str]:
        return {one.code for one in self.coding if one.system == system}


class _Identifier(_Part):
    use: str | None = None
    system: str
    value: str


class _Reference(_Part):
    reference: str | None = None
    type: str | None = None
    identifier: _Identifier | None = None
    display: str | None = None


class _Period(_Part):
    start: str | None = None
    end: str | None = None


class _Actor(_Part):
    role: _Concept
    reference: _Reference


class _Provision(_Part):
    type: Literal["permit"]
    period: _Period = _Period()
    purpose: tuple[_Coding, ...] = ()
    code: tuple[_Concept, ...] = Field(min_length=1)
    actor: tuple[_Actor, ...] = Field(min_length=1)


class _Said(_Part):
    url: Literal["at", "by"]
    valueDateTime: str | None = None  # noqa: N815 - FHIR's own name
    valueString: str | None = None  # noqa: N815 - as above


class _Withdrawal(_Part):
    url: Literal["urn:kiteline:withdrawal"]
    extension: tuple[_Said, ...]


class _MoreText(_Part):
    url: Literal["urn:kiteline:text"]
    valueAttachment: Attachment  # noqa: N815 - FHIR's own name


_Extension = Annotated[_Withdrawal | _MoreText, Field(discriminator="url")]


class _Source(Attachment):
    title: str = Field(min_length=1)


class _Consent(_Part):
    resourceType: Literal["Consent"]  # noqa: N815 - as above
    id: str | None = None
    meta: Any = None  # the server's own notes
    text: Any = None  # the same in words
    language: str | None = None
    identifier: tuple[_Identifier, ...] = Field(min_length=1)
    extension: tuple[_Extension, ...] = ()
    status: Literal["active", "inactive", "rejected", "entered-in-error"]
    scope: _Concept
    category: tuple[_Concept, ...]
    patient: _Reference
    dateTime: str  # noqa: N815 - as above
    performer: tuple[_Reference, ...] = ()
    organization: tuple[_Reference, ...] = ()
    sourceAttachment: _Source  # noqa: N815 - as above
    policyRule: _Concept  # noqa: N815 - as above
    provision: _Provision


def resources(document: object) -> list[object]:
    """Return the resources of a file: one, or those of a Bundle; raises `Rejected` if it is none."""
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        return [document]
    entries = document.get("entry", [])
    whole = isinstance(entries, list) and all(isinstance(one, dict) and "resource" in one for one in entries)
    if not whole:
        raise Rejected("This Bundle cannot be read: each entry must have a resource. Nothing was taken.")
    return [one["resource"] for one in entries]


def statements(resource: object, known: Known) -> list[Statement]:
    """Return what a resource says, one statement for each recipient and kind of data; or raise `Rejected`."""
    try:
        read = _Consent.model_validate(resource)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise Rejected(
            f"This Consent cannot be kept as it is meant: {where}: {first['msg']}. Nothing was taken of it."
        ) from error
    _must("scope", "patient-privacy", read.scope.codes(SCOPE))
    _must("policyRule", "OPTIN", read.policyRule.codes(ACT_CODE))
    for purpose in read.provision.purpose:
        _must("provision.purpose", "TREAT", {purpose.code} if purpose.system == ACT_REASON else set())
    more = [one.valueAttachment for one in read.extension if isinstance(one, _MoreText)]
    texts = texts_of(read.sourceAttachment, *more)
    void = read.status in {"rejected", "entered-in-error"}
    return [
        Statement(replace(_consent(read, to, data, known), texts=wordings(texts)), void, texts)
        for to in dict.fromkeys(map(_to, read.provision.actor))
        for data in dict.fromkeys(map(_data, read.provision.code))
    ]


def _must(where: str, code: str, found: set[str]) -> None:
    if found != {code}:
        raise Rejected(f"This Consent cannot be kept: {where} must be {code}, and nothing else.")


def _to(actor: _Actor) -> str:
    _must("provision.actor.role", "IRCP", actor.role.codes(PARTICIPATION))
    who = actor.reference.identifier
    if who is not None and who.system == ROLE:
        return parse_recipient(who.value)
    if who is not None and who.system == NAMED:
        return parse_recipient(f"{ORGANIZATION}{who.value}")
    raise Rejected(f"This Consent cannot be kept: provision.actor must be identified by {ROLE} or {NAMED}.")


def _data(code: _Concept) -> DataType:
    ours, theirs = code.codes(DATA), code.codes(LOINC)
    names = {*ours, *(_SAME_AS[one].value for one in theirs if one in _SAME_AS)}
    if len(names) == 1 and names <= {one.value for one in DataType}:
        return DataType(names.pop())
    said = ", ".join(sorted(ours | theirs)) or "a code of another system"
    raise Rejected(
        f"This Consent cannot be kept: {said} is not one kind of data as a whole. Write {DATA} with one of "
        f"{', '.join(DataType)}."
    )


def _consent(read: _Consent, to: str, data: DataType, known: Known) -> Consent:
    patient = _patient(read.patient, known)
    given_at = _moment("dateTime", read.dateTime)
    period = read.provision.period
    at, by = _withdrawn(read, known)
    return Consent(
        consent_id=_id(read, to, data),
        patient=patient,
        to=to,
        data=data,
        text_version=read.sourceAttachment.title,
        valid_from=given_at if period.start is None else _edge("start", period.start, known.zone, 0),
        valid_until=None if period.end is None else _edge("end", period.end, known.zone, 1),
        given_by=_name(read.performer, patient),
        given_at=given_at,
        withdrawn_by=by,
        withdrawn_at=at,
    )


def _patient(reference: _Reference, known: Known) -> str:
    who = reference.identifier
    found = None if who is None else known.patient(Identifier(who.system, who.value))
    if found is None:
        raise Rejected(
            "This Consent cannot be kept: its patient must be enrolled, and be named by that identifier."
        )
    return found


def _id(read: _Consent, to: str, data: DataType) -> UUID:
    """Return our own id, if it is one of ours that was exported; else what follows from theirs."""
    first = read.identifier[0]
    alone = len(read.provision.actor) == len(read.provision.code) == len(read.identifier) == 1
    if first.system != CONSENT:
        return derived_id("consent", first.system, first.value, to, data.value)
    try:
        own = UUID(first.value)
    except ValueError:
        own = None
    if own is None or not alone:
        raise Rejected(f"This Consent cannot be kept: {CONSENT} is our own identifier, of one consent each.")
    return own


def _withdrawn(read: _Consent, known: Known) -> tuple[dt.datetime | None, str | None]:
    withdrawals = [one for one in read.extension if isinstance(one, _Withdrawal)]
    said = {part.url: part for one in withdrawals for part in one.extension}
    if read.status == "active":
        if said:
            raise Rejected("This Consent cannot be kept: it is active, and says that it was withdrawn.")
        return None, None
    at, by = said.get("at"), said.get("by")
    moment = None if at is None or at.valueDateTime is None else _moment("withdrawal", at.valueDateTime)
    end = read.provision.period.end
    if moment is None and end is not None and _edge("end", end, known.zone, 1) <= known.now:
        return None, None  # it ended by itself
    return moment or known.now, (by and by.valueString) or "import"


def _name(performer: tuple[_Reference, ...], patient: str) -> str:
    """Return who gave it; without a word about it, FHIR means the patient."""
    for one in performer:
        named = one.display or (one.identifier and one.identifier.value) or one.reference
        if named:
            return named
    return patient


def _moment(where: str, text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Rejected(f"This Consent cannot be kept: {where} must be a date and a time with its zone.")
    return moment.astimezone(dt.UTC)


def _edge(where: str, text: str, zone: ZoneInfo, days: int) -> dt.datetime:
    """Return an edge of a period: a day begins in the hospital's zone, and a last day is part of it."""
    if _DAY.fullmatch(text) is None:
        return _moment(f"provision.period.{where}", text)
    try:
        day = dt.datetime.fromisoformat(text) + dt.timedelta(days=days)
    except (ValueError, OverflowError) as error:
        raise Rejected(f"This Consent cannot be kept: provision.period.{where} is no day.") from error
    return day.replace(tzinfo=zone).astimezone(dt.UTC)
