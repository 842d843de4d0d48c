"""What connectors are handed: an alert with its readings, and a sentence for each reader. Pure."""

import datetime as dt
from collections.abc import Sequence

from cloud_bridge.alerts import Alert
from cloud_bridge.connectors.base import AlertOrder, CareContext, Gateway, ReadingOrder
from cloud_bridge.duty import Duty
from cloud_bridge.rules.base import Queue, Severity
from cloud_bridge.rules.programme import care_of, common, say
from cloud_bridge.silence_cause import Cause


def reason_line(alert: Alert, language: str, cause: Cause | None = None) -> str:
    """Return why, in one line; that it came late, and why nothing came, is part of it."""
    reason = say(alert.finding, language, "reason")
    if cause is not None:
        since = "" if cause.since is None else f"{cause.since:%Y-%m-%d %H:%M}"
        said = {"reason": reason, "device": cause.device, "since": since}
        reason = common(language, f"silence_{cause.kind}", said)
    return common(language, "late", {"reason": reason}) if alert.late else reason


def off_duty(language: str, opens: dt.datetime, zone: dt.tzinfo, emergency: str) -> str:
    """Return what people are told while nobody is on duty; the time is of where they live."""
    when = f"{opens.astimezone(zone):%Y-%m-%d %H:%M}"
    return common(language, "off_duty", {"when": when, "emergency": emergency})


def _patient_text(alert: Alert, language: str, duty: Duty, zone: dt.tzinfo) -> str | None:
    if alert.late:
        return None
    text, at = say(alert.finding, language, "patient"), alert.raised_at
    if not text or duty.on(at):
        return text
    return f"{text} {off_duty(language, duty.opens(at), zone, duty.emergency)}"


def alert_order(  # noqa: PLR0913, PLR0917 - all that an order is made of
    alert: Alert,
    readings: Sequence[ReadingOrder],
    care: CareContext,
    gateway: Gateway,
    staff_language: str,
    duty: Duty,
    zone: dt.tzinfo,
    cause: Cause | None = None,
) -> AlertOrder:
    """Return an alert as an order. Staff read their language, the patient theirs, without a diagnosis.

    What came late says nothing to the patient: "measure again now" would be about another day. What is asked
    of the patient alone is no work for anybody else. While nobody is on duty the patient is told until when;
    in quiet hours, where they live (`zone`), they are told of nothing but what is severe.
    """
    finding, reason = alert.finding, reason_line(alert, staff_language, cause)
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
        patient_text=_patient_text(alert, care.language, duty, zone),
        asked=care_of(finding).role(alert.escalation),
        patient_not_before=None
        if finding.severity is Severity.SEVERE
        else duty.quiet_until(alert.raised_at, zone),
    )
