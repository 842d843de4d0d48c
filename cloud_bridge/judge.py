"""Judging a subject: findings of its rules over what is stored now, against the alerts there are.

New findings open an item. One that came true more than a day ago opens it as late: it is shown and due, but
as routine, whatever its severity; one from before the window is history and opens nothing. What is found of
a problem that has a live item is folded into that one. Changed findings revise their item; those that late
data undid, and those that are over, are closed in sight.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

from cloud_bridge.alerts import (
    LIVE,
    WINDOW,
    Actor,
    Alert,
    AlertState,
    Move,
    Terms,
    Timeliness,
    after,
    opened,
    opens_again,
    timeliness,
)
from cloud_bridge.asking import revised, rose
from cloud_bridge.duty import Duty
from cloud_bridge.folding import (
    asked_again,
    folded,
    item_for,
    on_its_own,
    repeated,
    together,
    told_too,
    without,
)
from cloud_bridge.rules.base import GATEWAY, Finding, Reading, Settings, Standing
from cloud_bridge.rules.catalogue import LASTING, AnyReadingRule
from cloud_bridge.rules.episodes import soonest
from cloud_bridge.rules.programme import TECHNICAL, care_of, programme, rules_of
from cloud_bridge.rules.technical import Sign
from wire_format.identity import content_hash

Contents = tuple[tuple[UUID, bytes], ...]
RulesBy = Callable[[Settings], tuple[AnyReadingRule, ...]]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a finding stood on beside what it names, to find it again. `contents` pairs ids and hashes."""

    rule_set: bytes
    settings: Settings
    contents: Contents


class JudgingTransaction(Protocol):
    """What judging needs of the store, within the transaction that stored the readings."""

    @property
    def duty(self) -> Duty:
        """When somebody is on duty here."""
        ...

    def readings_of(self, subject: str, since: dt.datetime) -> list[Reading]:
        """Return a subject's readings."""
        ...

    def last_before(self, subject: str, since: dt.datetime) -> list[Reading]:
        """Return a subject's newest reading of each quantity before a moment."""
        ...

    def signs_of(self, gateway: str, since: dt.datetime) -> list[Sign]:
        """Return the signs from a home's equipment, and the last one before `since` that it was heard."""
        ...

    def settings_of(self, subject: str) -> Settings:
        """Return what is agreed for a subject."""
        ...

    def alerts_of(self, subject: str) -> list[Alert]:
        """Return every alert there ever was of a subject."""
        ...

    def earliest(self, readings: Collection[UUID], subject: str) -> dt.datetime | None:
        """Return when the first of some readings was, of those that are the subject's; None if none is."""
        ...

    def save_alert(self, alert: Alert, what: str, now: dt.datetime, basis: Basis | None = None) -> None:
        """Write a revision of an alert."""
        ...

    def set_timer(self, subject: str, due_at: dt.datetime | None) -> None:
        """Judge again at a moment."""
        ...


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found of a subject, by what, and which alerts this decides upon."""

    found: dict[UUID, Finding]
    live: list[Alert]
    wakes: dt.datetime | None
    settings: Settings
    contents: dict[UUID, bytes]


def judge(
    transaction: JudgingTransaction,
    subject: str,
    now: dt.datetime,
    touched: AbstractSet[UUID] = frozenset(),
    rules_by: RulesBy = rules_of,
) -> None:
    """Bring a subject's alerts up to what the rules find now; `touched` are readings that were changed.

    An alert of which nothing changed is never withdrawn for its age alone. `rules_by` gives the rules of a
    subject over readings: the installed ones, but for a rehearsal of others.
    """
    known = together(transaction.alerts_of(subject))
    if subject.startswith(GATEWAY):
        look = _at_signs(transaction, subject, now, known)
    else:
        look = _at_readings(transaction, subject, now, known, touched, rules_by)
    book = _Book(transaction, known, look, now)
    # First what is gone: nothing is folded into it.
    for alert in look.live:
        if alert.alert_id not in look.found:
            book.withdraw(alert.alert_id, alert.finding, "withdrawn")
    for finding in sorted(look.found.values(), key=lambda f: (f.since, f.finding_id)):
        book.take(finding)
    book.release()
    transaction.set_timer(subject, look.wakes)


class _Book:
    """The alerts of a subject while they are brought up to date: each change is saved as it is made."""

    def __init__(
        self, transaction: JudgingTransaction, known: dict[UUID, Alert], look: _Look, now: dt.datetime
    ) -> None:
        self._transaction, self._alerts, self._look, self._now = transaction, known, look, now
        self._orphans: list[UUID] = []

    def take(self, finding: Finding) -> None:
        """Bring the alert of a finding up to date, or the item that tells of it."""
        before = self._alerts.get(finding.finding_id)
        terms = Terms(care_of(finding), self._transaction.duty)
        if before is not None and before.state is AlertState.FOLDED:
            self._take_folded(before, finding, terms)
            return
        changed = _changed(finding, before, self._now, terms)
        if changed is None:
            return
        if changed.state is AlertState.WITHDRAWN:
            self.withdraw(finding.finding_id, finding, _what(before, changed))
            return
        begins = before is None or before.state is AlertState.WITHDRAWN
        item = item_for(finding, self._alerts.values()) if begins else None
        if item is not None:
            self._fold(folded(finding, item, before, self._now, terms), item)
            return
        self._save(changed, _what(before, changed), finding)

    def withdraw(self, alert_id: UUID, finding: Finding, what: str) -> None:
        """Close an alert in sight; what was folded into it, and nobody ended, is placed anew."""
        alert = self._alerts[alert_id]
        gone = _withdrawn(alert, finding)
        if alert.state in LIVE:
            self._orphans += [one.finding.finding_id for one in alert.folds]
        self._save(replace(gone, folded_into=None, folds=()), what, None if what == "withdrawn" else finding)
        item = self._item_of(alert)
        if item is not None and item.state is not AlertState.WITHDRAWN:
            self._save(without(item, alert_id), "unfolded")

    def release(self) -> None:
        """Place what was folded into an item that is gone: into another one, or as an item of its own."""
        for one in (self._alerts[i] for i in self._orphans):
            if one.state is AlertState.FOLDED:
                self._place(one)

    def _take_folded(self, before: Alert, finding: Finding, terms: Terms) -> None:
        if before.finding == finding:
            return
        if finding.standing is Standing.RESOLVED:
            self.withdraw(finding.finding_id, finding, "over")
            return
        row, item = revised(before, finding, self._now, terms), self._item_of(before)
        # It was ended with the item, whatever became of the item since.
        then = None if item is None else item.moved_at
        again = opens_again(replace(before, state=AlertState.RESOLVED, moved_at=then), finding, self._now)
        if item is not None and item.state in {*LIVE, AlertState.RESOLVED}:
            self._save(row, finding.standing.value, finding)
            self._retell(item, before, row, again=again and item.state is AlertState.RESOLVED)
        elif again:
            late = timeliness(finding, self._now) is not Timeliness.IN_TIME
            self._place(replace(row, revision=before.revision, late=late), finding)
        else:
            self._save(row, finding.standing.value, finding)

    def _retell(self, item: Alert, before: Alert, row: Alert, *, again: bool) -> None:
        """Let an item tell of what changed of an episode; without a sound if the data came late."""
        if again:
            self._save(asked_again(told_too(item, row.own), self._now, self._terms(item)), "reopened")
        elif timeliness(row.finding, self._now) is Timeliness.IN_TIME:
            self._tell(item, row, row.finding.standing.value, new=rose(before, row))
        else:
            self._save(told_too(item, row.own), row.finding.standing.value)

    def _place(self, row: Alert, finding: Finding | None = None) -> None:
        """Let another item tell of what is folded, or let it be an item of its own, of this `finding`."""
        item = item_for(row.finding, self._alerts.values())
        terms = self._terms(row)
        if item is None:
            self._save(on_its_own(row, self._now, terms), "released", finding)
        else:
            self._fold(folded(row.finding, item, row, self._now, terms), item)

    def _fold(self, row: Alert, item: Alert) -> None:
        self._save(row, "folded", row.finding)
        self._tell(item, row)

    def _tell(self, item: Alert, row: Alert, what: str = "repeated", *, new: bool = True) -> None:
        """Let an item tell of an episode; `what` says in a word what happened to it."""
        told = repeated(item, row.own, self._now, self._terms(item), new=new)
        if told.reopened > item.reopened:
            what = "asked_again" if what == "repeated" else "reopened"
        self._save(told, what)

    def _terms(self, row: Alert) -> Terms:
        return Terms(care_of(row.finding), self._transaction.duty)

    def _item_of(self, row: Alert) -> Alert | None:
        return None if row.folded_into is None else self._alerts.get(row.folded_into)

    def _save(self, alert: Alert, what: str, finding: Finding | None = None) -> None:
        self._alerts[alert.alert_id] = alert
        basis = None if finding is None else _basis(finding, self._look)
        self._transaction.save_alert(alert, what, self._now, basis)


def _at_readings(  # noqa: PLR0913, PLR0917 - all that a look depends on
    transaction: JudgingTransaction,
    subject: str,
    now: dt.datetime,
    known: dict[UUID, Alert],
    touched: AbstractSet[UUID],
    rules_by: RulesBy,
) -> _Look:
    settings = transaction.settings_of(subject)
    rules = rules_by(settings)
    # What is decided upon began within the window; to find it, rules look back further.
    reach = now - WINDOW - max((rule.reach(settings) for rule in rules), default=dt.timedelta())
    readings, live = _in_sight(transaction, subject, (reach, now - WINDOW), known.values(), touched)
    first = min((_moment(r) for r in readings), default=reach)
    if settings.programmes:
        readings += transaction.last_before(subject, min(first, reach))
    found: dict[UUID, Finding] = {}
    wakes: dt.datetime | None = None
    for rule in rules:
        findings, due = rule.look(readings, settings, now)
        wakes = soonest(wakes, due)
        for finding in findings:
            found.setdefault(finding.finding_id, finding)
    contents = {r.id: content_hash(r.measurement) for r in readings} if found else {}
    return _Look(found, live, wakes, settings, contents)


def _at_signs(
    transaction: JudgingTransaction, subject: str, now: dt.datetime, known: dict[UUID, Alert]
) -> _Look:
    settings, rules = transaction.settings_of(subject), programme(TECHNICAL).technical
    since = now - max(rule.reach(settings) for rule in rules)
    signs = transaction.signs_of(subject.removeprefix(GATEWAY), since)
    found = {f.finding_id: f for rule in rules for f in rule.findings(signs, settings, now)}
    live = [a for a in known.values() if a.state is not AlertState.WITHDRAWN and a.finding.since >= since]
    wakes = soonest(*(rule.wakes(signs, settings, now) for rule in rules))
    return _Look(found, live, wakes, settings, {})


def _in_sight(
    transaction: JudgingTransaction,
    subject: str,
    sight: tuple[dt.datetime, dt.datetime],
    alerts: Iterable[Alert],
    touched: AbstractSet[UUID],
) -> tuple[list[Reading], list[Alert]]:
    """Return the readings to judge, and the alerts not withdrawn that they decide upon.

    These are the alerts that began within the window, or stand on a reading in it or on a touched one, or
    last until something comes. What is seen reaches back to their first reading: otherwise a run that goes
    on would lose its beginning, and with it its identity, and would be raised anew every day.
    """
    reach, since = sight
    readings = transaction.readings_of(subject, reach)
    seen = {reading.id for reading in readings if _moment(reading) >= since} | touched
    live = [
        alert
        for alert in alerts
        if alert.state is not AlertState.WITHDRAWN
        and (
            alert.finding.since >= since
            or not seen.isdisjoint(alert.finding.evidence)
            or (alert.finding.rule in LASTING and alert.state is not AlertState.RESOLVED)
        )
    ]
    first = transaction.earliest({i for alert in live for i in alert.finding.evidence}, subject)
    if first is not None and first < reach:
        readings = transaction.readings_of(subject, first)
    return readings, live


def _moment(reading: Reading) -> dt.datetime:
    return reading.measurement.time.received_at if reading.measured is None else reading.measured.utc


def _changed(finding: Finding, known: Alert | None, now: dt.datetime, terms: Terms) -> Alert | None:
    """Return the alert's next revision, or None if nothing about it is new."""
    over = finding.standing is Standing.RESOLVED
    if known is None:
        history = timeliness(finding, now) is Timeliness.HISTORY
        return None if over or history else opened(finding, now, terms)
    if known.state is AlertState.WITHDRAWN:
        return None if over else _again(finding, known, now, terms)
    if known.finding == finding:
        return None
    if over:
        return _withdrawn(known, finding)
    if opens_again(known, finding, now):
        return _again(finding, known, now, terms)
    return revised(known, finding, now, terms)


def _withdrawn(known: Alert, finding: Finding) -> Alert:
    state = after(known.state, Move.WITHDRAW, Actor.RULES)
    return replace(known, finding=finding, state=state, revision=known.revision + 1)


def _again(finding: Finding, known: Alert, now: dt.datetime, terms: Terms) -> Alert:
    """Return what came back as work again, from now on. Who saw it before stays in its history."""
    anew = opened(finding, now, terms)
    state = after(known.state, Move.REOPEN, Actor.RULES)
    return replace(
        anew,
        state=state,
        revision=known.revision + 1,
        raised_at=known.raised_at,
        reopened=known.reopened + 1,
        folds=known.folds,
    )


def _basis(finding: Finding, look: _Look) -> Basis | None:
    if finding.programme == TECHNICAL:
        return None  # signs are looked up where they are kept, not replayed
    contents = tuple((i, look.contents[i]) for i in finding.evidence)
    return Basis(programme(finding.programme).digest, look.settings, contents)


def _what(before: Alert | None, alert: Alert) -> str:
    if before is None:
        return "raised_late" if alert.late else "raised"
    if alert.reopened > before.reopened:
        return "reopened"
    over = alert.finding.standing is Standing.RESOLVED
    return "over" if over else alert.finding.standing.value
