"""A discharge plan from an HL7 v2 ADT^A03 (v2.3 to v2.8). Pure.

An A03 says who went home and when, the diagnoses, and the family doctor. It carries no goal, no medicine and
no follow-up plan (its segments have no place for them): `care` stays None, and what an earlier FHIR plan of
the same stay said of them stays (docs/discharge.md).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.discharge.hl7_fields import (
    DATA_TYPE,
    EVENT,
    MESSAGE_TYPE,
    NOT_IN_TABLE,
    PROCESSING,
    REQUIRED,
    UNKNOWN_KEY,
    VERSION,
    Fields,
    Hl7Fault,
    Segment,
    moment,
    numbered,
    offset_of,
)
from cloud_bridge.discharge.plan import DischargePlan, Fault, PlanRefusedError
from cloud_bridge.discharge.terms import Terms

_ROLES: Final = ("PP", "FHCP")
"""HL7 table 0443: primary care provider, family health care professional."""
_DELETED: Final = frozenset({"DE", "DL", "DI"})
_NOT_READ: Final = ("OBX", "RXE", "RXO", "RXD", "GOL", "ORC", "TXA")
_EXPIRED: Final = "20"
LONGEST_CONTROL_ID: Final = 199
"""HL7 v2.7, MSH-10; 20 in earlier versions."""
AHEAD: Final = dt.timedelta(minutes=5)


class MessageRefusedError(PlanRefusedError):
    """A message that is not for us at all: of another kind, version or purpose (AR and not AE)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What MSH says: who sent it under which control id, and when."""

    sender: str
    control_id: str
    made_at: dt.datetime
    zone: dt.tzinfo


def header_of(fields: Fields, terms: Terms, processing: str) -> Header:
    """Return what MSH says. Raises `MessageRefusedError` for what is not for us."""
    faults: list[Fault] = []
    kind, event = fields.text("MSH", 9, 1), fields.text("MSH", 9, 2)
    if kind != "ADT":
        faults.append(Hl7Fault("MSH-9", "only ADT^A03 is taken here", MESSAGE_TYPE))
    elif event != "A03":
        faults.append(Hl7Fault("MSH-9", "only the event A03 is taken here", EVENT))
    if not fields.text("MSH", 12).startswith("2."):
        faults.append(Hl7Fault("MSH-12", "write a version 2.3 to 2.8", VERSION))
    if fields.text("MSH", 11) != processing:
        what = f"this bridge takes messages of processing id {processing} (mllp.processing)"
        faults.append(Hl7Fault("MSH-11", what, PROCESSING))
    control_id = fields.text("MSH", 10)
    if not control_id:
        faults.append(Hl7Fault("MSH-10", "write a control id: it tells messages apart", REQUIRED))
    elif len(control_id) > LONGEST_CONTROL_ID:
        what = f"write a control id of {LONGEST_CONTROL_ID} characters at most"
        faults.append(Hl7Fault("MSH-10", what, DATA_TYPE))
    text = fields.text("MSH", 7)
    made_at = moment(text, terms.zone)
    if made_at is None:
        faults.append(Hl7Fault("MSH-7", "write date and time, as 20261124103000+0800", DATA_TYPE))
    if faults or made_at is None:
        raise MessageRefusedError(faults)
    sender = f"{fields.text('MSH', 3)}|{fields.text('MSH', 4)}"
    return Header(sender, control_id, made_at, offset_of(text, terms.zone))


def plan_of(fields: Fields, header: Header, terms: Terms, now: dt.datetime) -> DischargePlan:
    """Return what an A03 says; no programme where no diagnosis is of one. Raises `PlanRefusedError`."""
    faults: list[Fault] = []
    remarks: list[str] = []
    patient = _patient(fields, terms, faults)
    stay, ended = _stay(fields, terms, faults), _ended(fields, header, now, faults)
    doctor, practice = _family_doctor(fields, terms, faults)
    attending = _attending(fields, terms, remarks)
    found = [name for name in _NOT_READ if fields.of(name)]
    remarks += [f"{name}: not read: goals and orders come by FHIR" for name in found]
    if faults or patient is None or stay is None or ended is None:
        raise PlanRefusedError(faults)
    return DischargePlan(
        stay=stay,
        patient=patient,
        stated_at=header.made_at,
        discharged_at=ended,
        author=header.sender if attending is None else attending.value,
        programmes=_programmes(fields, terms),
        language=_language(fields),
        physician=attending,
        family_doctor=doctor,
        family_organization=practice,
        remarks=tuple(remarks),
    )


def _patient(fields: Fields, terms: Terms, faults: list[Fault]) -> Identifier | None:
    if fields.text("PID", 30) == "Y" or fields.text("PV1", 36) == _EXPIRED:
        faults.append(Hl7Fault("PID-30", "the patient has died: there is nothing to follow up", NOT_IN_TABLE))
    found = set()
    for pid in fields.of("PID"):
        given = [numbered(pid, 3, 4, terms, n) for n in range(pid.repetitions(3))]
        found |= {one for one in given if one is not None and one.system == terms.patient_system}
    if len(found) != 1:
        what = f"write exactly one number of {terms.patient_system} (discharge.authorities)"
        faults.append(Hl7Fault("PID-3", what, UNKNOWN_KEY))
        return None
    return found.pop()


def _stay(fields: Fields, terms: Terms, faults: list[Fault]) -> Identifier | None:
    found = [numbered(one, 19, 4, terms) for one in fields.of("PV1")]
    if len(found) != 1 or found[0] is None:
        what = "write the visit number with an assigning authority of [discharge.authorities]"
        faults.append(Hl7Fault("PV1-19", what, REQUIRED))
        return None
    return found[0]


def _ended(fields: Fields, header: Header, now: dt.datetime, faults: list[Fault]) -> dt.datetime | None:
    ended = moment(fields.text("PV1", 45), header.zone)
    if ended is None:
        what = "write date and time of the discharge, as 20261124100000+0800"
        faults.append(Hl7Fault("PV1-45", what, REQUIRED))
    elif ended > now + AHEAD:
        faults.append(Hl7Fault("PV1-45", "it lies ahead: a plan is taken at the discharge", DATA_TYPE))
    return ended


def _attending(fields: Fields, terms: Terms, remarks: list[str]) -> Identifier | None:
    found = [numbered(one, 7, 9, terms) for one in fields.of("PV1")]
    if found and found[0] is None and fields.text("PV1", 7):
        remarks.append("PV1-7: not read: its assigning authority is not in [discharge.authorities]")
    return found[0] if found else None


def _family_doctor(
    fields: Fields, terms: Terms, faults: list[Fault]
) -> tuple[Identifier | None, Identifier | None]:
    """Return who is contracted and where: of ROL, or of PD1 as older versions have it."""
    doctors: dict[Identifier, str] = {}
    practices: dict[Identifier, str] = {}

    def note(one: Segment, field: tuple[str, int, int], to: dict[Identifier, str]) -> None:
        name, number, authority = field
        if not one.text(number):
            return
        who = numbered(one, number, authority, terms)
        if who is None:
            what = "its assigning authority is not in [discharge.authorities]: add it"
            faults.append(Hl7Fault(f"{name}-{number}", what, UNKNOWN_KEY))
        else:
            to[who] = f"{name}-{number}"

    for one in fields.of("ROL"):
        if one.text(3) in _ROLES and one.text(2) not in _DELETED:
            note(one, ("ROL", 4, 9), doctors)
            note(one, ("ROL", 13, 6), practices)
    for one in fields.of("PD1"):
        note(one, ("PD1", 4, 9), doctors)
        note(one, ("PD1", 3, 6), practices)
    for several in (doctors, practices):
        if len(several) > 1:
            where = list(several.values())[-1]
            faults.append(Hl7Fault(where, "it names more than one: write who is contracted", DATA_TYPE))
    return next(iter(doctors), None), next(iter(practices), None)


def _programmes(fields: Fields, terms: Terms) -> tuple[str, ...]:
    """Return the programmes that the site has for the final diagnoses."""
    found: list[str] = []
    for one in fields.of("DG1"):
        pairs: Sequence[tuple[str, str]] = [
            (one.text(3, 3), one.text(3, 1)),
            (one.text(3, 6), one.text(3, 4)),
        ]
        if one.text(6) in {"", "F"}:
            found += [terms.programmes[pair] for pair in pairs if pair in terms.programmes]
    return tuple(dict.fromkeys(found))


def _language(fields: Fields) -> str | None:
    tag = fields.text("PID", 15).lower()
    return {"en": "en", "zh": "zh-Hans"}.get({"eng": "en", "zho": "zh", "chi": "zh"}.get(tag, tag[:2]))
