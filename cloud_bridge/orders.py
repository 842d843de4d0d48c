"""What connectors are handed: an alert with its readings, and a sentence for each reader. Pure."""

from collections.abc import Sequence

from cloud_bridge.alerts import Alert
from cloud_bridge.connectors.base import AlertOrder, CareContext, Gateway, ReadingOrder
from cloud_bridge.rules.base import Finding
from cloud_bridge.rules.programme import sentence


def reason_line(finding: Finding, language: str) -> str:
    """Return why, in one line."""
    values = dict(finding.reason)
    return sentence(language, f"reason_{values['text']}", values)


def alert_order(
    alert: Alert,
    readings: Sequence[ReadingOrder],
    care: CareContext,
    gateway: Gateway,
    staff_language: str,
) -> AlertOrder:
    """Return an alert as an order. Staff read their language, the patient theirs, without a diagnosis."""
    family = dict(alert.finding.reason)["text"].split("_")[0]
    reason = reason_line(alert.finding, staff_language)
    said = {"reason": reason}
    return AlertOrder(
        alert=alert,
        readings=tuple(readings),
        care=care,
        gateway=gateway,
        reason=reason,
        work=sentence(staff_language, f"work_{family}", said),
        physician_text=sentence(staff_language, f"physician_{family}", said),
        patient_text=sentence(care.language, f"patient_{family}", said),
    )
