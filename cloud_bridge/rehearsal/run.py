"""A rehearsal: the bridge's own judging over a history, at the moments at which it would have judged.

Nothing of it differs from life but the store, which is in memory, and the clock, which jumps.
"""

import bisect
import datetime as dt
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from cloud_bridge.alerts import RANK, Alert
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.judge import Basis, RulesBy, judge
from cloud_bridge.rehearsal.histories import History
from cloud_bridge.rules.base import Membership, Queue, Reading, Settings, Severity, Standing
from cloud_bridge.rules.catalogue import AnyReadingRule
from cloud_bridge.rules.catalogue import problem_of as folds_as
from cloud_bridge.rules.programme import Programme, rules_of
from cloud_bridge.rules.technical import Sign
from wire_format.identity import derived_id


class Pace(StrEnum):
    """How often a rehearsal judges."""

    SESSION = "session"  # after each session, and whenever time alone may change something: as in life
    DAY = "day"  # once a day, after its last reading: faster, and an alert is dated later, never earlier


TOGETHER: Final = {Pace.SESSION: dt.timedelta(minutes=5), Pace.DAY: dt.timedelta(hours=8)}
"""Readings so close are judged at once, after the last of them. Nobody of a cohort measures by night."""
SETTLED: Final = dt.timedelta(minutes=11)
"""After so long a session counts, also one of a single reading."""
_NOTHING: Final = dt.timedelta()
FOLD: Final = dt.timedelta(hours=72)
"""Repeats of one problem within this time are one item."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert as it was raised; `folds` is the problem of whose item it would be, None if of its own."""

    at: dt.datetime
    rule: str
    severity: Severity
    clinical: bool
    late: bool
    folds: str | None = None


@dataclass
class _Memory:
    """What judging asks of a store, for one patient."""

    settings: Settings
    readings: list[Reading] = field(default_factory=list)
    alerts: dict[UUID, Alert] = field(default_factory=dict)
    raised: list[Raised] = field(default_factory=list)
    timer: dt.datetime | None = None
    _times: list[dt.datetime] = field(default_factory=list)
    _by_id: dict[UUID, dt.datetime] = field(default_factory=dict)

    def add(self, reading: Reading, at: dt.datetime) -> None:
        self.readings.append(reading)
        self._times.append(at)
        self._by_id[reading.id] = at

    @property
    def duty(self) -> Duty:
        """In a rehearsal somebody always is on duty: it counts what is raised, not when it is seen."""
        return ALWAYS

    def readings_of(self, subject: str, since: dt.datetime) -> list[Reading]:
        del subject
        return self.readings[bisect.bisect_left(self._times, since) :]

    def last_before(self, subject: str, since: dt.datetime) -> list[Reading]:
        del subject
        found: dict[str, Reading] = {}
        for reading in self.readings[: bisect.bisect_left(self._times, since)][::-1]:
            found.setdefault(reading.measurement.quantity, reading)
        return list(found.values())

    def signs_of(self, gateway: str, since: dt.datetime) -> list[Sign]:
        del gateway, since
        return []

    def settings_of(self, subject: str) -> Settings:
        del subject
        return self.settings

    def alerts_of(self, subject: str) -> list[Alert]:
        del subject
        return list(self.alerts.values())

    def earliest(self, readings: Collection[UUID], subject: str) -> dt.datetime | None:
        del subject
        return min((self._by_id[i] for i in readings if i in self._by_id), default=None)

    def save_alert(self, alert: Alert, what: str, now: dt.datetime, basis: Basis | None = None) -> None:
        del basis
        new = alert.alert_id not in self.alerts
        self.alerts[alert.alert_id] = alert
        finding = alert.finding
        # What is folded there is folded in `items`; what comes back is told once.
        if new and what.startswith(("raised", "folded")) and finding.standing is not Standing.RESOLVED:
            clinical = finding.queue is Queue.CLINICAL
            what_of = (finding.rule, finding.severity, clinical, alert.late, folds_as(finding))
            self.raised.append(Raised(now, *what_of))

    def set_timer(self, subject: str, due_at: dt.datetime | None) -> None:
        del subject
        self.timer = due_at


def rehearse(
    history: History, programmes: Sequence[str], zone: str, rules_by: RulesBy, pace: Pace = Pace.SESSION
) -> list[Raised]:
    """Return every alert that would have been raised over a history, in order."""
    if not history.readings:
        return []
    begins = _at(history.readings[0])
    members = tuple(
        Membership(derived_id("rehearsal_member", history.patient, name), name, begins) for name in programmes
    )
    memory = _Memory(Settings(programmes=members, zone=zone, subject=history.patient))
    for group in _groups(history.readings, TOGETHER[pace]):
        first, last = _at(group[0]), _at(group[-1])
        while pace is Pace.SESSION and memory.timer is not None and memory.timer < first:
            judge(memory, history.patient, memory.timer, rules_by=rules_by)
        for reading in group:
            memory.add(reading, _at(reading))
        judge(memory, history.patient, last + (SETTLED if pace is Pace.DAY else _NOTHING), rules_by=rules_by)
    return memory.raised


def _groups(readings: Sequence[Reading], together: dt.timedelta) -> Iterator[list[Reading]]:
    group: list[Reading] = []
    for reading in readings:
        if group and _at(reading) - _at(group[-1]) > together:
            yield group
            group = []
        group.append(reading)
    if group:
        yield group


def _at(reading: Reading) -> dt.datetime:
    if reading.measured is None:
        raise ValueError("a history to rehearse on says when each reading was taken")
    return reading.measured.utc


def proposed(changed: Sequence[Programme], without: Collection[str] = ()) -> RulesBy:
    """Return the rules of a subject with some programmes replaced by others of the same name.

    Rules named in `without` are left out.
    """
    by_name = {one.name: one for one in changed}

    def rules_by(settings: Settings) -> tuple[AnyReadingRule, ...]:
        installed = rules_of(settings)
        others = tuple(rule for rule in installed if rule.programme not in by_name)
        mine = {m.programme for m in settings.programmes}
        new = [rule for one in by_name.values() for rule in one.rules if one.name in mine or rule.everybody]
        return tuple(rule for rule in (*others, *new) if rule.id not in without)

    return rules_by


# --- what an alert is about, and items that repeats fold into ---

PROBLEMS: Final[tuple[tuple[str, str], ...]] = (
    ("BP-LOW", "low pressure"),
    ("BP", "pressure"),
    ("SINGLE-BP", "pressure"),
    ("PULSE", "pulse"),
    ("GLU-LOW", "low glucose"),
    ("SINGLE-GLU-LOW", "low glucose"),
    ("GLU", "high glucose"),
    ("SINGLE-GLU", "high glucose"),
    ("WEIGHT", "weight"),
    ("SINGLE-WEIGHT", "weight"),
    ("SILENCE", "silence"),
    ("FIRST-VISIT", "first visit"),
)
"""What kind of episode a rule is about, by the beginning of its id; the first that fits."""


def problem_of(rule: str) -> str:
    """Return what kind of episode of a patient a rule is about; coarser than what folds."""
    return next((problem for start, problem in PROBLEMS if rule.startswith(start)), rule)


def items(raised: Sequence[Raised], counts: Callable[[Raised], bool]) -> list[Raised]:
    """Return how often somebody would be asked: what life folds (`Rule.problem`) is folded here.

    An item is taken to be seen at once: a repeat of its problem asks again if it is graver, or after 72 h.
    What names no problem is always an item of its own.
    """
    asked: dict[str, Raised] = {}
    found = []
    for one in raised:
        if not counts(one):
            continue
        last = None if one.folds is None else asked.get(one.folds)
        if last is not None and one.at - last.at <= FOLD and RANK[one.severity] <= RANK[last.severity]:
            continue
        if one.folds is not None:
            asked[one.folds] = one
        found.append(one)
    return found
