"""Orders as events of a webhook: JSON that a small receiver understands. Pure.

Values are text in the device's own digits, with UCUM units. The id of an event follows from what it says: a
receiver that knows it has the event already.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.base import (
    AlertOrder,
    CareContext,
    Identifier,
    ReadingOrder,
    ReminderOrder,
    VisitOrder,
)
from cloud_bridge.connectors.fhir_observations import is_patient_data
from wire_format.identity import derived_id


class Sends(StrEnum):
    """What a receiver is told of."""

    READINGS = "readings"
    ALERTS = "alerts"
    MESSAGES = "messages"  # to people: for gateways to SMS, WeChat or Web Push


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its id, and its body as JSON values."""

    event_id: UUID
    body: dict[str, Any]


def reading_event(order: ReadingOrder) -> Event | None:
    """Return what tells of one reading; None if it is no patient's."""
    m, reading = order.reading.measurement, order.reading
    if not is_patient_data(m):
        return None
    measured = reading.measured
    body = {
        "reading": str(m.measurement_id),
        "revision": order.revision,
        "patient": _who(order.care.patient),
        "quantity": m.quantity.value,
        "components": [
            {
                "term": part.term.value,
                "unit": part.unit.value,
                **({"absent": part.absent} if part.value is None else {"value": f"{part.value:f}"}),
            }
            for part in m.components
        ],
        "failure": m.failure,
        "remarks": list(m.remarks),
        "measured_at": None if measured is None else measured.utc.isoformat(),
        "uncertainty_ms": None if measured is None else measured.uncertainty_ms,
        "envelope": f"sha256:{order.envelope_digest.hex()}",
    }
    return _event("reading", (m.measurement_id, order.revision, order.care.patient.value), body)


def withdrawn_event(reading: UUID) -> Event:
    """Return what tells that a reading is nobody's any more."""
    return _event("reading_withdrawn", (reading,), {"reading": str(reading)})


def alert_event(order: AlertOrder) -> Event:
    """Return what tells of one state of an alert, to whoever works it."""
    alert, finding = order.alert, order.alert.told
    body = {
        **_about(order),
        "rule": finding.rule,
        "rule_version": finding.version,
        "severity": finding.severity.value,
        "urgency": alert.urgency.value,
        "late": alert.late,
        "standing": finding.standing.value,
        "state": alert.state.value,
        "raised_at": alert.raised_at.isoformat(),
        "due_at": alert.due_at.isoformat(),
        "reason": order.reason,
        "work": order.work,
        "outcome": None if alert.outcome is None else alert.outcome.value,
        "asked": order.asked.value,
        "to": _who(order.owner),
        "nurse": _who(order.care.nurse),
        "readings": [str(one.reading.id) for one in order.readings],
    }
    return _event("alert", (alert.alert_id, alert.revision, order.care.patient.value), body)


def message_events(order: AlertOrder) -> list[Event]:
    """Return the messages of an alert, once of each episode that leads: a later revision has the same ids.

    What was withdrawn is taken back; a gateway that has sent it already does nothing.
    """
    care, revoked = order.care, order.alert.state is AlertState.WITHDRAWN
    readers = [
        ("physician", care.physician, None, order.physician_text),
        *((copy.role.value, copy.to, None, copy.text) for copy in order.copies),
        ("patient", care.patient, care.language, order.patient_text),
    ]
    return [
        _message(order, care, role, to, language, text, revoked=revoked)
        for role, to, language, text in readers
        if text is not None
    ]


def visit_event(order: VisitOrder) -> Event:
    """Return what asks a family doctor for a first visit."""
    doctor = order.care.family_doctor or order.care.family_organization
    body = {
        "visit": str(order.visit_id),
        "patient": _who(order.care.patient),
        "asked": "family_doctor",
        "to": None if doctor is None else _who(doctor),
        "from": _who(order.care.organization),
        "asked_at": order.asked_at.isoformat(),
        "due_at": order.due_at.isoformat(),
        "state": order.state.value,
        "text": order.text,
        "medications": list(order.medications),
        "follow_up": list(order.follow_up),
    }
    return _event("visit", (order.visit_id, content_digest(body)), body)


def reminder_event(order: ReminderOrder) -> Event:
    """Return one reminder to a patient, as the message that it is."""
    body = {
        "patient": _who(order.care.patient),
        "message": str(order.reminder_id),
        "role": "patient",
        "to": _who(order.care.patient),
        "from": _who(order.care.organization),
        "language": order.care.language,
        "text": order.text,
        "not_before": order.due_at.isoformat(),
        "not_after": order.until.isoformat(),
        "revoked": False,
    }
    return _event("message", (order.reminder_id,), body)


def content_digest(body: Mapping[str, Any]) -> str:
    """Return what changes whenever an event says something else."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _message(  # noqa: PLR0913, PLR0917 - a message has its parts
    order: AlertOrder,
    care: CareContext,
    role: str,
    to: Identifier,
    language: str | None,
    text: str,
    *,
    revoked: bool,
) -> Event:
    message = derived_id("message_to", order.alert.lead.finding_id, role)
    body = {
        **_about(order),
        "message": str(message),
        "role": role,
        "to": _who(to),
        "from": _who(care.organization),
        "language": language,
        "text": None if revoked else text,
        "not_before": _not_before(order, role),
        "revoked": revoked,
    }
    return _event("message", (message, revoked), body)


def _not_before(order: AlertOrder, role: str) -> str | None:
    at = order.patient_not_before if role == "patient" else None
    return None if at is None else at.isoformat()


def _about(order: AlertOrder) -> dict[str, Any]:
    alert = order.alert
    return {
        "alert": str(alert.alert_id),
        "revision": alert.revision,
        "patient": _who(order.care.patient),
    }


def _who(identifier: Identifier) -> dict[str, str]:
    return {"system": identifier.system, "value": identifier.value}


def _event(kind: str, key: tuple[object, ...], body: dict[str, Any]) -> Event:
    event_id = derived_id("webhook", kind, *map(str, key))
    return Event(event_id, {"id": str(event_id), "type": kind, **body})
