"""What connectors are handed: an alert with its readings, and a sentence for each reader. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence

from cloud_bridge.alerts import Alert
from cloud_bridge.connectors.base import AlertOrder, CareContext, Copy, Gateway, ReadingOrder
from cloud_bridge.duty import Duty
from cloud_bridge.rules.base import Finding, Queue, Severity
from cloud_bridge.rules.care import CareRole
from cloud_bridge.rules.programme import care_of, common, say, say_copy
from cloud_bridge.silence_cause import Cause


def reason_line(alert: Alert, language: str, cause: Cause | None = None) -> str:
    """Return why, in one line; how often, that it came late, and why nothing came, is part of it."""
    reason = say(alert.told, language, "reason")
    if cause is not None:
        since = "" if cause.since is None else f"{cause.since:%Y-%m-%d %H:%M}"
        said = {"reason": reason, "device": cause.device, "since": since}
        reason = common(language, f"silence_{cause.kind}", said)
    if alert.folds:
        count = str(len(alert.episodes))
        reason = common(language, "repeated", {"reason": reason, "count": count})
    return common(language, "late", {"reason": reason}) if alert.late else reason


def off_duty(language: str, opens: dt.datetime, zone: dt.tzinfo, emergency: str) -> str:
    """Return what people are told while nobody is on duty; the time is of where they live."""
    when = f"{opens.astimezone(zone):%Y-%m-%d %H:%M}"
    return common(language, "off_duty", {"when": when, "emergency": emergency})


def _patient_text(alert: Alert, language: str, duty: Duty, zone: dt.tzinfo) -> str | None:
    at, text = alert.leads.raised_at, say(alert.lead, language, "patient")
    if not text or duty.on(at):
        return text
    return f"{text} {off_duty(language, duty.opens(at), zone, duty.emergency)}"


def _copies(finding: Finding, care: CareContext, language: str, said: Mapping[str, str]) -> tuple[Copy, ...]:
    """Return who is copied beside the physician, of those that this patient has."""
    return tuple(
        Copy(role, who, say_copy(finding, language, role.value, said))
        for role in care_of(finding).copied
        if role is not CareRole.PHYSICIAN and (who := care.of(role)) is not None
    )


def alert_order(  # noqa: PLR0913, PLR0917 - all that an order is made of
    alert: Alert,
    readings: Sequence[ReadingOrder],
    care: CareContext,
    gateway: Gateway | None,
    staff_language: str,
    duty: Duty,
    zone: dt.tzinfo,
    cause: Cause | None = None,
) -> AlertOrder:
    """Return an alert as an order. Staff read their language, the patient theirs, without a diagnosis.

    What came late is a work order alone: nobody is paged at night for last week, and "measure again
    now" would be about another day. What is asked of the patient alone is no work for anybody else. While
    nobody is on duty the patient is told until when; in quiet hours, where they live (`zone`), they are told
    of nothing but what is severe. Of a repeat that leads, both go by when it came itself.
    """
    finding, reason = alert.told, reason_line(alert, staff_language, cause)
    clinical, late = finding.queue is Queue.CLINICAL, alert.late or alert.leads.late
    said, named = {"reason": reason}, care_of(finding)
    asked = care_of(alert.finding).role(alert.escalation)
    return AlertOrder(
        alert=alert,
        readings=tuple(readings),
        care=care,
        gateway=gateway,
        reason=reason,
        work=say(finding, staff_language, "work") if clinical else None,
        physician_text=say_copy(finding, staff_language, "physician", said)
        if clinical and not late and CareRole.PHYSICIAN in named.copied
        else None,
        patient_text=None if late else _patient_text(alert, care.language, duty, zone),
        asked=asked if care.of(asked) is not None else CareRole.ORGANIZATION,
        copies=_copies(finding, care, staff_language, said) if clinical and not late else (),
        patient_not_before=None
        if finding.severity is Severity.SEVERE
        else duty.quiet_until(alert.leads.raised_at, zone),
    )
