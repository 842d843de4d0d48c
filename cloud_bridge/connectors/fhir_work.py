"""One alert as FHIR work: DetectedIssue, Task for the nurse, copies to physician and patient. Pure."""

from typing import Any, Final

from cloud_bridge.alerts import AlertState, Outcome, Request
from cloud_bridge.connectors.base import AlertOrder, Copy
from cloud_bridge.connectors.fhir_codes import (
    ALERT,
    COPIES,
    ISSUE,
    OUTCOME,
    PATIENT_MESSAGE,
    RULE,
    SNOMED,
    TASK,
    Resource,
    coding,
    concept,
    identifier,
    is_taken_back,
    with_status,
)
from cloud_bridge.rules.base import Severity, Standing
from cloud_bridge.rules.care import CareRole

PRIORITIES: Final = {Severity.SEVERE: "stat", Severity.HIGH: "urgent", Severity.ROUTINE: "routine"}
_ISSUE_STATUS: Final = {
    Standing.UNCONFIRMED: "preliminary",
    Standing.CONFIRMED: "final",
    Standing.DOWNGRADED: "amended",
    Standing.RESOLVED: "final",
}
FAMILY_DOCTOR: Final = concept(coding(SNOMED, "62247001", "Family medicine specialist"))
_PERFORMERS: Final = {
    CareRole.NURSE: concept(coding(SNOMED, "106292003", "Professional nurse")),
    CareRole.PHYSICIAN: concept(coding(SNOMED, "309343006", "Physician")),
    CareRole.ORGANIZATION: {"text": "organization"},
    CareRole.FAMILY_DOCTOR: FAMILY_DOCTOR,
    CareRole.PHARMACIST: concept(coding(SNOMED, "46255001", "Pharmacist")),
}
_NOT_BEGUN: Final = frozenset({"draft", "requested", "received", "ready"})
_TAKEN: Final = frozenset({"accepted", "on-hold"})
_ENDED: Final = frozenset({"completed", "cancelled", "failed", "rejected", "entered-in-error"})


def detected_issue(order: AlertOrder, patient: str, gateway: str | None, evidence: list[str]) -> Resource:
    """Return what was found, with every reading that it stands on."""
    alert, finding = order.alert, order.alert.told
    withdrawn, over = alert.state is AlertState.WITHDRAWN, finding.standing is Standing.RESOLVED
    return {
        "resourceType": "DetectedIssue",
        "id": str(alert.alert_id),
        "identifier": [identifier(ISSUE, str(alert.alert_id))],
        "status": "cancelled" if withdrawn and not over else _ISSUE_STATUS[finding.standing],
        "code": concept({**coding(RULE, finding.rule), "version": finding.version}, text=order.reason),
        "severity": "moderate" if finding.severity is Severity.ROUTINE else "high",
        "patient": {"reference": patient},
        "identifiedDateTime": alert.raised_at.isoformat(),
        **({} if gateway is None else {"author": {"reference": gateway}}),
        "detail": order.reason,
        **_stood_on(evidence),
    }


def _stood_on(evidence: list[str]) -> Resource:
    """Return the elements that name readings; without any they are left out: FHIR has no empty list."""
    readings = [{"reference": to} for to in evidence]
    return {"implicated": readings, "evidence": [{"detail": readings}]} if readings else {}


def new_task(order: AlertOrder, patient: str, requester: str, owner: str, evidence: list[str]) -> Resource:
    """Return the work order as it is first sent."""
    alert = order.alert
    issue = {"reference": f"urn:uuid:{alert.alert_id}"}
    made = {
        "resourceType": "Task",
        "identifier": [identifier(TASK, str(alert.alert_id))],
        "groupIdentifier": identifier(ALERT, str(alert.alert_id)),
        "intent": "order",
        "code": concept(coding("http://hl7.org/fhir/CodeSystem/task-code", "fulfill")),
        "focus": issue,
        "reasonReference": issue,
        "for": {"reference": patient},
        "authoredOn": alert.raised_at.isoformat(),
        "requester": {"reference": requester},
        **_asked(order, owner),
        **_ours(order, evidence),
        **({} if alert.outcome is None else {"output": [_said(alert.outcome)]}),
    }
    return with_status(made, _opening_status(alert.state))


def changed_task(order: AlertOrder, existing: Resource, owner: str, evidence: list[str]) -> Resource | None:
    """Return the work order with what is new of the alert; None if nothing is.

    What staff did in their own system stays as it is: a state that they moved on is never moved back. But
    when the next role is asked, or it is work again, that is a new request, and says so.
    """
    ours = _ours(order, evidence)
    kept = {name: value for name, value in existing.items() if name != "input"}
    changed = {**kept, **ours}
    if _is_new_request(order, existing):
        # What came of the asking before is in the work order's own history.
        before = {"output", "statusReason"}
        kept = {name: value for name, value in changed.items() if name not in before}
        changed = with_status({**kept, **_asked(order, owner)}, _opening_status(order.alert.state))
    else:
        changed = with_status(changed, _next_status(order.alert.state, existing))
    outcome = order.alert.outcome
    if outcome is not None and outcome_of(changed) is None:
        changed["output"] = [*changed.get("output", []), _said(outcome)]
    return None if _same(changed, existing) else changed


def _is_new_request(order: AlertOrder, existing: Resource) -> bool:
    then, now = request_of(existing), order.alert.request
    if order.alert.state is AlertState.WITHDRAWN:
        return False
    return now.reopened > then.reopened or (
        now.escalation > then.escalation and existing["status"] != "completed"
    )


def _asked(order: AlertOrder, owner: str) -> Resource:
    return {
        "performerType": [_PERFORMERS[order.asked]],
        "owner": {"reference": owner},
        "restriction": {"period": {"end": order.alert.due_at.isoformat()}},
    }


def request_of(task: Resource) -> Request:
    """Return which asking a work order is: the first one says nothing of it."""
    for one in task.get("input", []):
        if one.get("type", {}).get("text") == "request":
            return Request.parse(str(one.get("valueString"))) or Request()
    return Request()


def outcome_of(task: Resource) -> Outcome | None:
    """Return what came of a work order; None if it does not say it in one of our words."""
    said = [word for one in task.get("output", []) for word in _words(one)]
    said += [one.get("code") for one in task.get("statusReason", {}).get("coding", [])]
    known = {outcome.value: outcome for outcome in Outcome}
    return next((known[word] for word in said if word in known), None)


def _words(output: Resource) -> list[Any]:
    coded = [one.get("code") for one in output.get("valueCodeableConcept", {}).get("coding", [])]
    return [*coded, output.get("valueCode"), output.get("valueString")]


def _ours(order: AlertOrder, evidence: list[str]) -> Resource:
    alert = order.alert
    told = alert.told.standing
    gone = alert.state is AlertState.WITHDRAWN and told is not Standing.RESOLVED
    standing = "withdrawn" if gone else told.value
    read = [{"type": {"text": "reading"}, "valueReference": {"reference": to}} for to in evidence]
    number = {"type": {"text": "request"}, "valueString": str(alert.request)}
    request = [number] if alert.request != Request() else []
    return {
        "priority": PRIORITIES[alert.urgency],
        "businessStatus": {"text": standing},
        "description": f"{order.reason}. {order.work or ''}".rstrip(),
        **({"input": [*read, *request]} if read or request else {}),
    }


def _said(outcome: Outcome) -> Resource:
    return {"type": {"text": "outcome"}, "valueCodeableConcept": concept(coding(OUTCOME, outcome.value))}


def _same(changed: Resource, existing: Resource) -> bool:
    """Compare without references: a server writes its own in place of those within the bundle."""
    plain = ("priority", "businessStatus", "description", "status", "output")
    same_count = len(changed.get("input", [])) == len(existing.get("input", []))
    same_request = request_of(changed) == request_of(existing)
    return same_count and same_request and all(changed.get(name) == existing.get(name) for name in plain)


def _opening_status(state: AlertState) -> str:
    return {
        AlertState.OPEN: "requested",
        AlertState.ACKNOWLEDGED: "accepted",
        AlertState.IN_PROGRESS: "in-progress",
        AlertState.RESOLVED: "completed",
        AlertState.WITHDRAWN: "cancelled",
    }[state]


def _next_status(state: AlertState, existing: Resource) -> str:
    status: str = existing["status"]
    match state:
        case AlertState.ACKNOWLEDGED if status in _NOT_BEGUN:
            return "accepted"
        case AlertState.IN_PROGRESS if status in _NOT_BEGUN or status in _TAKEN:
            return "in-progress"
        case AlertState.RESOLVED if status not in _ENDED:
            return "completed"
        case AlertState.WITHDRAWN if status in _NOT_BEGUN:
            return "cancelled"
        case AlertState.OPEN if is_taken_back(existing):
            return "requested"  # late data brought it again
        case _:
            return status


def staff_copy(order: AlertOrder, copy: Copy, patient: str, recipient: str, organization: str) -> Resource:
    """Return the copy that a role is given: the physician, to judge the treatment, and others.

    There is one for each episode that leads.
    """
    made = _communication(order, COPIES[copy.role], "alert", copy.text, patient, organization)
    return made | {"priority": "routine", "recipient": [{"reference": recipient}]}


def patient_message(order: AlertOrder, patient: str, organization: str) -> Resource:
    """Return what the patient is told, in their language, without a diagnosis."""
    made = _communication(order, PATIENT_MESSAGE, "reminder", order.patient_text or "", patient, organization)
    return made | {
        "priority": "urgent",
        "recipient": [{"reference": patient}],
        "language": order.care.language,
        **_not_before(order),
    }


def _not_before(order: AlertOrder) -> Resource:
    """Return when the patient may be told, if not at once."""
    at = order.patient_not_before
    return {} if at is None else {"occurrenceDateTime": at.isoformat()}


def _communication(  # noqa: PLR0913, PLR0917 - a message has these parts
    order: AlertOrder, system: str, category: str, text: str, patient: str, organization: str
) -> Resource:
    alert = order.alert
    kinds = "http://terminology.hl7.org/CodeSystem/communication-category"
    return {
        "resourceType": "CommunicationRequest",
        "identifier": [identifier(system, str(alert.lead.finding_id))],
        "groupIdentifier": identifier(ALERT, str(alert.alert_id)),
        "status": "revoked" if alert.state is AlertState.WITHDRAWN else "active",
        "category": [concept(coding(kinds, category))],
        "subject": {"reference": patient},
        "about": [{"reference": f"urn:uuid:{alert.alert_id}"}],
        "payload": [{"contentString": text}],
        "authoredOn": alert.raised_at.isoformat(),
        "sender": {"reference": organization},
    }
