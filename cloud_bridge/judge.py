"""Judging a subject: findings of every rule over what is stored now, against the alerts there are."""

import datetime as dt
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from cloud_bridge.alerts import DUE_WITHIN, Alert, AlertState, raises, step
from cloud_bridge.rules.base import Finding, Reading, Settings
from cloud_bridge.rules.blood_pressure import closes_at
from cloud_bridge.rules.catalogue import RULES

WINDOW: Final = dt.timedelta(days=14)
"""How far back rules look."""


class JudgingTransaction(Protocol):
    """What judging needs of the store, within the transaction that stored the readings."""

    def readings_of(self, subject: str, since: dt.datetime) -> list[Reading]:
        """Return a subject's readings."""
        ...

    def settings_of(self, subject: str) -> Settings:
        """Return a patient's own thresholds."""
        ...

    def alerts_of(self, subject: str) -> list[Alert]:
        """Return every alert there ever was of a subject."""
        ...

    def earliest(self, readings: Collection[UUID], subject: str) -> dt.datetime | None:
        """Return when the first of some readings was, of those that are the subject's; None if none is."""
        ...

    def save_alert(self, alert: Alert, gateway: str, what: str, now: dt.datetime) -> None:
        """Write a revision of an alert."""
        ...

    def gateway_of(self, finding: Finding) -> str:
        """Return the home that a finding came from."""
        ...

    def set_timer(self, subject: str, due_at: dt.datetime | None) -> None:
        """Judge again at a moment."""
        ...


def judge(
    transaction: JudgingTransaction, subject: str, now: dt.datetime, touched: AbstractSet[UUID] = frozenset()
) -> None:
    """Bring a subject's alerts up to what the rules find now; `touched` are readings that were changed.

    New findings open an item (old ones open none), changed ones revise it, and those that late data undid
    are withdrawn, visibly. An alert of which nothing changed is never withdrawn for its age alone.
    """
    known = {alert.alert_id: alert for alert in transaction.alerts_of(subject)}
    readings, live = _in_sight(transaction, subject, now - WINDOW, known.values(), touched)
    settings = transaction.settings_of(subject)
    found = {f.finding_id: f for rule in RULES for f in rule.findings(readings, settings, now)}
    by_id = {reading.id: reading for reading in readings}
    for finding in sorted(found.values(), key=lambda f: (f.since, f.finding_id)):
        changed = _changed(finding, known.get(finding.finding_id), by_id, now)
        if changed is not None:
            transaction.save_alert(changed, transaction.gateway_of(finding), _what(changed), now)
    for alert in live:
        if alert.alert_id not in found:
            gone = replace(alert, state=step(alert.state, AlertState.WITHDRAWN), revision=alert.revision + 1)
            transaction.save_alert(gone, transaction.gateway_of(alert.finding), "withdrawn", now)
    transaction.set_timer(subject, _next(readings, settings, now))


def _in_sight(
    transaction: JudgingTransaction,
    subject: str,
    since: dt.datetime,
    alerts: Iterable[Alert],
    touched: AbstractSet[UUID],
) -> tuple[list[Reading], list[Alert]]:
    """Return the readings to judge, and the alerts not withdrawn that they decide upon.

    These are the alerts that began within the window, or stand on a reading in it or on a touched one. The
    window reaches back to their first reading: otherwise a run that goes on would lose its beginning, and
    with it its identity, and would be raised anew every day.
    """
    readings = transaction.readings_of(subject, since)
    seen = {reading.id for reading in readings} | touched
    live = [
        alert
        for alert in alerts
        if alert.state is not AlertState.WITHDRAWN
        and (alert.finding.since >= since or not seen.isdisjoint(alert.finding.evidence))
    ]
    first = transaction.earliest({i for alert in live for i in alert.finding.evidence}, subject)
    if first is not None and first < since:
        readings = transaction.readings_of(subject, first)
    return readings, live


def _changed(
    finding: Finding, known: Alert | None, readings: dict[UUID, Reading], now: dt.datetime
) -> Alert | None:
    """Return the alert's next revision, or None if nothing about it is new."""
    if known is None:
        if not raises(readings[finding.evidence[-1]], now):
            return None
        due = now + DUE_WITHIN[finding.severity]
        return Alert(finding.finding_id, finding, AlertState.OPEN, 1, now, due)
    if known.finding == finding and known.state is not AlertState.WITHDRAWN:
        return None
    changed = replace(known, finding=finding, revision=known.revision + 1)
    if known.state is not AlertState.WITHDRAWN:
        return changed
    # What came back is work again, from now on. Who saw it before stays in its history.
    return replace(
        changed,
        state=step(known.state, AlertState.OPEN),
        due_at=now + DUE_WITHIN[finding.severity],
        acknowledged_at=None,
        acknowledged_by=None,
    )


def _what(alert: Alert) -> str:
    return "raised" if alert.revision == 1 else alert.finding.standing.value


def _next(readings: list[Reading], settings: Settings, now: dt.datetime) -> dt.datetime | None:
    due = closes_at(readings, settings)
    return due if due is not None and due > now else None
