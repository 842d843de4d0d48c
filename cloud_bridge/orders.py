"""What connectors are handed: an alert with its readings, and a sentence for each reader. Pure."""

from collections.abc import Sequence

from cloud_bridge.alerts import Alert
from cloud_bridge.connectors.base import AlertOrder, CareContext, Gateway, ReadingOrder
from cloud_bridge.rules.base import Queue
from cloud_bridge.rules.programme import common, say


def reason_line(alert: Alert, language: str) -> str:
    """Return why, in one line; that it came late is part of it."""
    reason = say(alert.finding, language, "reason")
    return common(language, "late", {"reason": reason}) if alert.late else reason


def alert_order(
    alert: Alert,
    readings: Sequence[ReadingOrder],
    care: CareContext,
    gateway: Gateway,
    staff_language: str,
) -> AlertOrder:
    """Return an alert as an order. Staff read their language, the patient theirs, without a diagnosis.

    What came late says nothing to the patient: "measure again now" would be about another day. What is asked
    of the patient alone is no work for anybody else.
    """
    finding, reason = alert.finding, reason_line(alert, staff_language)
    clinical = finding.queue is Queue.CLINICAL
    said = {"reason": reason}
    return AlertOrder(
        alert=alert,
        readings=tuple(readings),
        care=care,
        gateway=gateway,
        reason=reason,
        work=say(finding, staff_language, "work") if clinical else None,
        physician_text=say(finding, staff_language, "physician", said) if clinical else None,
        patient_text=None if alert.late else say(finding, care.language, "patient"),
    )
