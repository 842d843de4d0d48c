"""A discharge plan from a FHIR R4 Bundle: Patient, Encounter, CarePlan, and what was ordered. Pure.

What decides about care (who, when, which programme, which threshold) must be understood whole, or the plan is
refused with each fault by name. What only people act upon stays in the hospital's words, with a remark
(docs/discharge.md says what is read from what).
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.discharge.bundle import Document, Element, Entry, read
from cloud_bridge.discharge.fhir_orders import goals, medications, services
from cloud_bridge.discharge.plan import CarePart, DischargePlan, Fault, PlanRefusedError
from cloud_bridge.discharge.terms import PROGRAMME, Terms
from cloud_bridge.discharge.timing import CUT, latest
from cloud_bridge.discharge.words import codings, day, language_of
from cloud_bridge.rules.programme import PROGRAMMES

AHEAD: Final = dt.timedelta(minutes=5)
"""How far the hospital's clocks may run before ours."""
_ENDED: Final = frozenset({"revoked", "completed", "entered-in-error"})
_DIED: Final = frozenset({"exp"})


def plan_of(document: object, terms: Terms, now: dt.datetime) -> DischargePlan:
    """Return what a Bundle says, as JSON with `Decimal` numbers. Raises `PlanRefusedError`."""
    doc = read(document)
    patient, encounter, care_plan = doc.only("Patient"), doc.only("Encounter"), doc.only("CarePlan")
    doc.check()
    if patient is None or encounter is None or care_plan is None:
        raise PlanRefusedError([Fault("Bundle", "a plan has a Patient, an Encounter and a CarePlan")])
    _of_one_patient(doc, patient)
    doctor, practice = _family_doctor(doc, patient, terms)
    stay, ended = _stay(doc, encounter, terms), _discharged_at(doc, encounter, now)
    who = _patient(doc, patient, terms)
    author = _author(doc, care_plan, encounter, terms)
    over = _status(doc, care_plan)
    programmes = _programmes(doc, care_plan, terms, needed=not over)
    doc.check()
    if who is None or stay is None or ended is None or author is None:
        raise PlanRefusedError([Fault("Bundle", "it cannot be read")])
    care = _care(doc, care_plan, programmes, (author, ended.astimezone(terms.zone).date()), terms)
    doc.check()
    return DischargePlan(
        stay=stay,
        patient=who,
        stated_at=doc.timestamp,
        discharged_at=ended,
        author=author,
        programmes=programmes,
        care=care,
        language=language_of(doc, patient),
        physician=_attending(doc, encounter, terms),
        organization=_provider(doc, encounter, terms),
        family_doctor=doctor,
        family_organization=practice,
        over=over,
        remarks=tuple(dict.fromkeys(doc.remarks)),
    )


def _care(
    doc: Document, care_plan: Entry, programmes: Sequence[str], said: tuple[str, dt.date], terms: Terms
) -> CarePart:
    author, begins = said
    until = f"{care_plan.name}.period.end"
    ends = day(doc, until, care_plan.body.get("period", {}).get("end"), terms)
    if ends is not None and ends > latest(begins):
        ends = latest(begins)
        doc.remark(until, CUT)
    identifiers = care_plan.body.get("identifier", ())
    named = [
        Identifier(one["system"], one["value"]) for one in identifiers if {"system", "value"} <= set(one)
    ]
    own, wishes = goals(doc, programmes, author, terms)
    asked = [str(care_plan.body[key]) for key in ("title", "description") if key in care_plan.body]
    return CarePart(
        own=own,
        medications=medications(doc, terms, begins, ends),
        follow_up=(*asked, *services(doc, _is_programme(terms)), *wishes),
        ends=ends,
        care_plan=named[0] if named else None,
    )


def _of_one_patient(doc: Document, patient: Entry) -> None:
    """Note what is about another patient: it must not meet this one's plan."""
    ours = {(one.get("system"), one.get("value")) for one in patient.body.get("identifier", ())}
    for one in doc.entries:
        if (subject := one.body.get("subject")) is None:
            continue
        inside = doc.find(subject) is patient
        number = subject.get("identifier", {})
        named = "value" in number and (number.get("system"), number["value"]) in ours
        if not inside and not named:
            doc.fault(f"{one.name}.subject", "it is not this Bundle's Patient: leave out what is another's")


def _patient(doc: Document, patient: Entry, terms: Terms) -> Identifier | None:
    body = patient.body
    if body.get("deceasedBoolean") or "deceasedDateTime" in body:
        doc.fault(f"{patient.name}.deceased", "the patient has died: there is nothing to follow up")
    if body.get("active") is False:
        doc.fault(f"{patient.name}.active", "this record is not in use: send the one that is")
    values = {
        one.get("value") for one in body.get("identifier", ()) if one.get("system") == terms.patient_system
    }
    values.discard(None)
    if len(values) != 1:
        what = f"write exactly one of the system {terms.patient_system} (discharge.patient_system)"
        doc.fault(f"{patient.name}.identifier", what)
        return None
    return Identifier(terms.patient_system, str(values.pop()))


def _stay(doc: Document, encounter: Entry, terms: Terms) -> Identifier | None:
    given = encounter.body.get("identifier", ())
    return doc.identifier(f"{encounter.name}.identifier", given, terms.stay_system, "discharge.stay_system")


def _discharged_at(doc: Document, encounter: Entry, now: dt.datetime) -> dt.datetime | None:
    body = encounter.body
    if body.get("status") != "finished":
        doc.fault(f"{encounter.name}.status", "the stay must be finished: a plan is taken at the discharge")
    disposition = body.get("hospitalization", {}).get("dischargeDisposition", {})
    if _DIED & {code for _, code in codings(disposition)}:
        where = f"{encounter.name}.hospitalization.dischargeDisposition"
        doc.fault(where, "the patient has died: there is nothing to follow up")
    where = f"{encounter.name}.period.end"
    ended = doc.moment(where, body.get("period", {}).get("end"))
    if ended is not None and ended > now + AHEAD:
        doc.fault(where, "it lies ahead: a plan is taken at the discharge, not before")
        return None
    return ended


def _status(doc: Document, care_plan: Entry) -> bool:
    """Return whether the plan is over."""
    status, intent = care_plan.body.get("status"), care_plan.body.get("intent")
    if status in _ENDED:
        return True
    if status != "active":
        doc.fault(f"{care_plan.name}.status", "write active; or revoked or completed for a plan that is over")
    if intent not in {"plan", "order"}:
        doc.fault(f"{care_plan.name}.intent", "write plan or order: a proposal is nothing that was agreed")
    return False


def _author(doc: Document, care_plan: Entry, encounter: Entry, terms: Terms) -> str | None:
    if "author" in care_plan.body:
        found = doc.who(f"{care_plan.name}.author", care_plan.body["author"], terms.staff_system)
        return None if found is None else found.value
    physician = _attending(doc, encounter, terms)
    if physician is None:
        doc.fault(f"{care_plan.name}.author", "nobody answers for the plan: write who made it")
        return None
    return physician.value


def _attending(doc: Document, encounter: Entry, terms: Terms) -> Identifier | None:
    for role in ("ATND", "DIS"):
        for number, one in enumerate(encounter.body.get("participant", ())):
            kinds = {code for kind in one.get("type", ()) for _, code in codings(kind)}
            if role in kinds and "individual" in one:
                where = f"{encounter.name}.participant[{number}].individual"
                return _if_known(doc, where, one["individual"], terms)
    return None


def _provider(doc: Document, encounter: Entry, terms: Terms) -> Identifier | None:
    if "serviceProvider" not in encounter.body:
        return None
    where = f"{encounter.name}.serviceProvider"
    return _if_known(doc, where, encounter.body["serviceProvider"], terms)


def _if_known(doc: Document, where: str, reference: Element, terms: Terms) -> Identifier | None:
    """Return whom a reference names; of whom the registry may know it too, not to find them is no fault."""
    before = len(doc.faults)
    found = doc.who(where, reference, terms.staff_system)
    for fault in doc.faults[before:]:
        doc.remark(fault.where, f"not used: {fault.what}")
    del doc.faults[before:]
    return found


def _family_doctor(
    doc: Document, patient: Entry, terms: Terms
) -> tuple[Identifier | None, Identifier | None]:
    """Return who is contracted, and where; each None if the patient has none."""
    doctors: list[Identifier | None] = []
    practices: list[Identifier | None] = []
    for number, one in enumerate(patient.body.get("generalPractitioner", ())):
        where = f"{patient.name}.generalPractitioner[{number}]"
        found = doc.find(one)
        kind = one.get("type") or (found and found.body["resourceType"]) or str(one.get("reference", ""))
        if found is not None and found.body["resourceType"] == "PractitionerRole":
            parts = (("practitioner", doctors), ("organization", practices))
            for part, to in parts:
                if part in found.body:
                    to.append(doc.who(f"{found.name}.{part}", found.body[part], terms.staff_system))
        else:
            to = practices if str(kind).startswith("Organization") else doctors
            to.append(doc.who(where, one, terms.staff_system))
    for several in (doctors, practices):
        if len(set(several)) > 1:
            where = f"{patient.name}.generalPractitioner"
            doc.fault(where, "it names more than one: write the one who is contracted")
    if not doctors and not practices:
        doc.remark(
            f"{patient.name}.generalPractitioner", "no family doctor: nobody is asked for a first visit"
        )
    return (doctors[0] if doctors else None), (practices[0] if practices else None)


def _programmes(doc: Document, care_plan: Entry, terms: Terms, *, needed: bool) -> tuple[str, ...]:
    found: list[str] = []
    known = _is_programme(terms)
    concepts: list[tuple[str, Any]] = [
        (f"{care_plan.name}.category", one) for one in care_plan.body.get("category", ())
    ]
    for one in doc.of("ServiceRequest"):
        live = one.body.get("status") == "active" and not one.body.get("doNotPerform")
        concepts += [(f"{one.name}.code", one.body["code"])] if live and "code" in one.body else []
    for where, concept in concepts:
        for system, code in codings(concept):
            if system == PROGRAMME and code not in PROGRAMMES:
                doc.fault(where, f"there is no programme of that code: write one of {', '.join(PROGRAMMES)}")
            elif (name := known.get((system, code))) is not None:
                found.append(name)
    if needed and not found:
        what = f"no programme is named: write a coding of {PROGRAMME}, or one of [[discharge.programme]]"
        doc.fault(f"{care_plan.name}.category", what)
    return tuple(dict.fromkeys(found))


def _is_programme(terms: Terms) -> dict[tuple[str, str], str]:
    return {**{(PROGRAMME, name): name for name in PROGRAMMES}, **terms.programmes}
