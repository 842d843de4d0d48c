"""One alert as FHIR work: DetectedIssue, Task for the nurse, copies to physician and patient. Pure."""

from typing import Final

from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.base import AlertOrder
from cloud_bridge.connectors.fhir_codes import (
    ALERT,
    ISSUE,
    PATIENT_MESSAGE,
    PHYSICIAN_COPY,
    RULE,
    SNOMED,
    TASK,
    Resource,
    coding,
    concept,
    identifier,
)
from cloud_bridge.rules.base import Severity, Standing

PRIORITIES: Final = {Severity.SEVERE: "stat", Severity.HIGH: "urgent", Severity.ROUTINE: "routine"}
_ISSUE_STATUS: Final = {
    Standing.UNCONFIRMED: "preliminary",
    Standing.CONFIRMED: "final",
    Standing.DOWNGRADED: "amended",
    Standing.RESOLVED: "final",
}
_NOT_BEGUN: Final = frozenset({"draft", "requested", "received", "ready"})
_ENDED: Final = frozenset({"completed", "cancelled", "failed", "rejected", "entered-in-error"})


def detected_issue(order: AlertOrder, patient: str, gateway: str, evidence: list[str]) -> Resource:
    """Return what was found, with every reading that it stands on."""
    alert, finding = order.alert, order.alert.finding
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
        "author": {"reference": gateway},
        "detail": order.reason,
        **_stood_on(evidence),
    }


def _stood_on(evidence: list[str]) -> Resource:
    """Return the elements that name readings; without any they are left out: FHIR has no empty list."""
    readings = [{"reference": to} for to in evidence]
    return {"implicated": readings, "evidence": [{"detail": readings}]} if readings else {}


def new_task(order: AlertOrder, patient: str, gateway: str, nurse: str, evidence: list[str]) -> Resource:
    """Return the nurse's work order as it is first sent."""
    alert = order.alert
    issue = {"reference": f"urn:uuid:{alert.alert_id}"}
    return {
        "resourceType": "Task",
        "identifier": [identifier(TASK, str(alert.alert_id))],
        "groupIdentifier": identifier(ALERT, str(alert.alert_id)),
        "status": _opening_status(alert.state),
        "intent": "order",
        "code": concept(coding("http://hl7.org/fhir/CodeSystem/task-code", "fulfill")),
        "focus": issue,
        "reasonReference": issue,
        "for": {"reference": patient},
        "authoredOn": alert.raised_at.isoformat(),
        "requester": {"reference": gateway},
        "performerType": [concept(coding(SNOMED, "106292003", "Professional nurse"))],
        "owner": {"reference": nurse},
        "restriction": {"period": {"end": alert.due_at.isoformat()}},
        **_ours(order, evidence),
    }


def changed_task(order: AlertOrder, existing: Resource, evidence: list[str]) -> Resource | None:
    """Return the work order with what is new of the alert; None if nothing is.

    What staff did in their own system stays as it is: a state that they moved on is never moved back.
    """
    ours = _ours(order, evidence)
    status = _next_status(order.alert.state, existing["status"])
    kept = {name: value for name, value in existing.items() if name != "input"}
    changed = {**kept, **ours, "status": status}
    return None if _same(changed, existing) else changed


def _ours(order: AlertOrder, evidence: list[str]) -> Resource:
    alert = order.alert
    over = alert.finding.standing is Standing.RESOLVED
    gone = alert.state is AlertState.WITHDRAWN and not over
    standing = "withdrawn" if gone else alert.finding.standing.value
    read = [{"type": {"text": "reading"}, "valueReference": {"reference": to}} for to in evidence]
    return {
        "priority": PRIORITIES[alert.urgency],
        "businessStatus": {"text": standing},
        "description": f"{order.reason}. {order.work or ''}".rstrip(),
        **({"input": read} if read else {}),
    }


def _same(changed: Resource, existing: Resource) -> bool:
    """Compare without references: a server writes its own in place of those within the bundle."""
    plain = ("priority", "businessStatus", "description", "status")
    same_count = len(changed.get("input", [])) == len(existing.get("input", []))
    return same_count and all(changed.get(name) == existing.get(name) for name in plain)


def _opening_status(state: AlertState) -> str:
    return {
        AlertState.OPEN: "requested",
        AlertState.ACKNOWLEDGED: "accepted",
        AlertState.COMPLETED: "completed",
        AlertState.WITHDRAWN: "cancelled",
    }[state]


def _next_status(state: AlertState, status: str) -> str:
    match state:
        case AlertState.ACKNOWLEDGED if status in _NOT_BEGUN:
            return "accepted"
        case AlertState.COMPLETED if status not in _ENDED:
            return "completed"
        case AlertState.WITHDRAWN if status in _NOT_BEGUN:
            return "cancelled"
        case AlertState.OPEN if status == "cancelled":
            return "requested"  # we took it back, and late data brought it again
        case _:
            return status


def physician_copy(order: AlertOrder, patient: str, physician: str, organization: str) -> Resource:
    """Return the copy that the physician is given, to judge the treatment."""
    made = _communication(order, PHYSICIAN_COPY, "alert", order.physician_text or "", patient, organization)
    return made | {"priority": "routine", "recipient": [{"reference": physician}]}


def patient_message(order: AlertOrder, patient: str, organization: str) -> Resource:
    """Return what the patient is told, in their language, without a diagnosis."""
    made = _communication(order, PATIENT_MESSAGE, "reminder", order.patient_text or "", patient, organization)
    return made | {
        "priority": "urgent",
        "recipient": [{"reference": patient}],
        "language": order.care.language,
    }


def _communication(  # noqa: PLR0913, PLR0917 - a message has these parts
    order: AlertOrder, system: str, category: str, text: str, patient: str, organization: str
) -> Resource:
    alert = order.alert
    kinds = "http://terminology.hl7.org/CodeSystem/communication-category"
    return {
        "resourceType": "CommunicationRequest",
        "identifier": [identifier(system, str(alert.alert_id))],
        "groupIdentifier": identifier(ALERT, str(alert.alert_id)),
        "status": "revoked" if alert.state is AlertState.WITHDRAWN else "active",
        "category": [concept(coding(kinds, category))],
        "subject": {"reference": patient},
        "about": [{"reference": f"urn:uuid:{alert.alert_id}"}],
        "payload": [{"contentString": text}],
        "authoredOn": alert.raised_at.isoformat(),
        "sender": {"reference": organization},
    }
