"""A first visit as a Task for the family doctor, and a reminder as a message to the patient. Pure."""

from collections.abc import Sequence
from typing import Final

from cloud_bridge.connectors.base import Identifier, ReminderOrder, VisitOrder, VisitState
from cloud_bridge.connectors.fhir_codes import (
    REMINDER,
    TASK,
    Resource,
    coding,
    concept,
    identifier,
    is_taken_back,
    with_status,
)
from cloud_bridge.connectors.fhir_map import Bundle, reference
from cloud_bridge.connectors.fhir_work import FAMILY_DOCTOR
from wire_format.identity import derived_id

_ENDED: Final = frozenset({"completed", "cancelled", "failed", "rejected", "entered-in-error"})
_MADE: Final = frozenset({"completed", "entered-in-error"})
_DOCTOR: Final = "family-doctor"


def visit_bundle(order: VisitOrder, existing: Sequence[Resource], *, test_data: bool) -> Resource | None:
    """Return the transaction that asks for a visit, or brings the Task up to date; None if nothing is new.

    `existing` are the Tasks that the server has of this visit. What the practice did with it stays.
    """
    bundle = Bundle(test_data)
    if not existing:
        made = _new(order)
        bundle.create(made["identifier"][0], made, derived_id("task", order.visit_id))
        return bundle.resource()
    known = existing[0]
    others = {name: value for name, value in known.items() if name != "input"}
    changed = with_status({**others, **_ours(order)}, _status(order, known))
    if _is_anothers(order, known):
        anew = _status(order, {"status": "requested"})
        kept = {name: value for name, value in changed.items() if name != "statusReason"}
        changed = with_status({**kept, "owner": {"reference": _owner(order)}}, anew)
    if _said(changed) == _said(known):
        return None
    bundle.put(changed, version=known["meta"]["versionId"])
    return bundle.resource()


def _is_anothers(order: VisitOrder, known: Resource) -> bool:
    """Tell whether another doctor was asked last, who has not made the visit.

    The owner does not tell: servers rewrite references, and a practice may give the Task to somebody.
    """
    if order.state is VisitState.DONE or known["status"] in _MADE:
        return False
    asked = [one for one in known.get("input", []) if one.get("type", {}).get("text") == _DOCTOR]
    who = _asked(order)[1]
    named = [one.get("valueIdentifier", {}) for one in asked]
    return any((one.get("system"), one.get("value")) != (who.system, who.value) for one in named)


def _asked(order: VisitOrder) -> tuple[str, Identifier]:
    """Return who is asked: the family doctor, else their practice."""
    if order.care.family_doctor is not None:
        return "Practitioner", order.care.family_doctor
    return "Organization", order.care.family_organization or order.care.organization


def _owner(order: VisitOrder) -> str:
    return reference(*_asked(order))


def _new(order: VisitOrder) -> Resource:
    care = order.care
    made = {
        "resourceType": "Task",
        "identifier": [identifier(TASK, str(order.visit_id))],
        "intent": "order",
        "priority": "urgent",
        "code": concept(coding("http://hl7.org/fhir/CodeSystem/task-code", "fulfill")),
        "for": {"reference": reference("Patient", care.patient)},
        "authoredOn": order.asked_at.isoformat(),
        "requester": {"reference": reference("Organization", care.organization)},
        "performerType": [FAMILY_DOCTOR],
        "owner": {"reference": _owner(order)},
        **_ours(order),
    }
    return with_status(made, _status(order, {"status": "requested"}))


def _ours(order: VisitOrder) -> Resource:
    """Return what the plan says, and may say otherwise later."""
    lines = [("medication", one) for one in order.medications] + [
        ("follow-up", one) for one in order.follow_up
    ]
    inputs: list[Resource] = [{"type": {"text": kind}, "valueString": line} for kind, line in lines]
    if order.care_plan is not None:
        named = identifier(order.care_plan.system, order.care_plan.value)
        plan = {"type": "CarePlan", "identifier": named}
        inputs.append({"type": {"text": "care-plan"}, "valueReference": plan})
    who = _asked(order)[1]
    inputs.append({"type": {"text": _DOCTOR}, "valueIdentifier": identifier(who.system, who.value)})
    return {
        "description": order.text,
        "restriction": {"period": {"end": order.due_at.isoformat()}},
        "input": inputs,
    }


def _status(order: VisitOrder, known: Resource) -> str:
    status: str = known["status"]
    if order.state is VisitState.WITHDRAWN and status not in _ENDED:
        return "cancelled"
    return "requested" if order.state is VisitState.ASKED and is_taken_back(known) else status


def _said(task: Resource) -> list[object]:
    return [task.get(name) for name in ("status", "description", "restriction", "input")]


def reminder_bundle(order: ReminderOrder, *, test_data: bool) -> Resource:
    """Return the transaction that has the patient told, between two moments."""
    kinds = "http://terminology.hl7.org/CodeSystem/communication-category"
    patient, bundle = reference("Patient", order.care.patient), Bundle(test_data)
    key = identifier(REMINDER, str(order.reminder_id))
    message = {
        "resourceType": "CommunicationRequest",
        "identifier": [key],
        "status": "active",
        "category": [concept(coding(kinds, "reminder"))],
        "priority": "routine",
        "subject": {"reference": patient},
        "payload": [{"contentString": order.text}],
        "occurrencePeriod": {"start": order.due_at.isoformat(), "end": order.until.isoformat()},
        "authoredOn": order.due_at.isoformat(),
        "sender": {"reference": reference("Organization", order.care.organization)},
        "recipient": [{"reference": patient}],
        "language": order.care.language,
    }
    bundle.create(key, message, derived_id("reminder", order.reminder_id))
    return bundle.resource()
