"""Life of an alert: its states, which move may follow which, who may make it, and what came of it.

Pure; rows live in the store. Nothing changes an alert's state but a move of this table.

| from, by     | acknowledge  | begin       | resolve  | escalate   | withdraw  | reopen | fold   |
|--------------|--------------|-------------|----------|------------|-----------|--------|--------|
| open         | acknowledged | in progress | resolved | open, next | withdrawn |        |        |
| acknowledged |              | in progress | resolved | open, next | withdrawn | open   |        |
| in progress  |              |             | resolved | open, next | withdrawn | open   |        |
| resolved     |              |             |          |            | withdrawn | open   |        |
| withdrawn    | (seen)       | (seen)      | (seen)   |            |           | open   | folded |
| folded       |              |             |          |            | withdrawn | open   |        |

What is found while an item of the same problem is live begins as folded: see `cloud_bridge.folding`.
"""

import datetime as dt
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from cloud_bridge.duty import Duty
from cloud_bridge.rules.base import Finding, Queue, Severity, Standing
from cloud_bridge.rules.care import Care
from wire_format.errors import Rejected


class AlertState(StrEnum):
    """Where an alert is in its life."""

    OPEN = "open"  # nobody of the role that is asked has said that they saw it
    ACKNOWLEDGED = "acknowledged"  # a person of the care team saw it
    IN_PROGRESS = "in_progress"  # somebody works on it
    RESOLVED = "resolved"  # it is done; what came of it is the outcome
    WITHDRAWN = "withdrawn"  # late data undid the finding, or it is over; it stays visible
    FOLDED = "folded"  # an item of the same problem tells of it; it is none of its own


LIVE: Final = (AlertState.OPEN, AlertState.ACKNOWLEDGED, AlertState.IN_PROGRESS)
"""What is in a queue."""


class Move(StrEnum):
    """What may be done with an alert."""

    ACKNOWLEDGE = "acknowledge"
    BEGIN = "begin"
    RESOLVE = "resolve"
    ESCALATE = "escalate"  # the next role is asked
    WITHDRAW = "withdraw"
    REOPEN = "reopen"
    FOLD = "fold"  # an item of the same problem tells of it


class Actor(StrEnum):
    """Who makes a move."""

    PERSON = "person"  # somebody at our page or command line
    HOSPITAL = "hospital"  # somebody in the hospital's own system, as it was read back
    CLOCK = "clock"  # the due time passed
    RULES = "rules"  # what is stored changed


class Outcome(StrEnum):
    """What came of an alert."""

    RE_MEASURED = "re_measured"
    CALLED = "called"
    MEDICATION_CHANGED = "medication_changed"
    ADMITTED = "admitted"
    FALSE_ALARM = "false_alarm"
    REPAIRED = "repaired"


OUTCOMES: Final = {
    Queue.CLINICAL: tuple(o for o in Outcome if o is not Outcome.REPAIRED),
    Queue.PATIENT: tuple(o for o in Outcome if o is not Outcome.REPAIRED),
    Queue.INSTALLER: (Outcome.REPAIRED, Outcome.FALSE_ALARM),
}
MAX_NOTE: Final = 500
GIVEN_BACK: Final = "given back in the hospital's system"
"""The note of what somebody refused or cancelled there."""

_REQUEST: Final = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})")
_WORK: Final = frozenset({Actor.PERSON, Actor.HOSPITAL})
MAY: Final[dict[Move, frozenset[Actor]]] = {
    Move.ACKNOWLEDGE: _WORK,
    Move.BEGIN: _WORK,
    Move.RESOLVE: _WORK,
    Move.ESCALATE: _WORK | {Actor.CLOCK},
    Move.WITHDRAW: frozenset({Actor.RULES}),
    Move.REOPEN: frozenset({Actor.RULES}),
    Move.FOLD: frozenset({Actor.RULES}),
}
_SEEN_LATE: Final = dict.fromkeys((Move.ACKNOWLEDGE, Move.BEGIN, Move.RESOLVE), AlertState.WITHDRAWN)
_NEXT: Final[dict[AlertState, dict[Move, AlertState]]] = {
    AlertState.OPEN: {
        Move.ACKNOWLEDGE: AlertState.ACKNOWLEDGED,
        Move.BEGIN: AlertState.IN_PROGRESS,
        Move.RESOLVE: AlertState.RESOLVED,
        Move.ESCALATE: AlertState.OPEN,
        Move.WITHDRAW: AlertState.WITHDRAWN,
    },
    AlertState.ACKNOWLEDGED: {
        Move.BEGIN: AlertState.IN_PROGRESS,
        Move.RESOLVE: AlertState.RESOLVED,
        Move.ESCALATE: AlertState.OPEN,
        Move.WITHDRAW: AlertState.WITHDRAWN,
        Move.REOPEN: AlertState.OPEN,
    },
    AlertState.IN_PROGRESS: {
        Move.RESOLVE: AlertState.RESOLVED,
        Move.ESCALATE: AlertState.OPEN,
        Move.WITHDRAW: AlertState.WITHDRAWN,
        Move.REOPEN: AlertState.OPEN,
    },
    AlertState.RESOLVED: {Move.WITHDRAW: AlertState.WITHDRAWN, Move.REOPEN: AlertState.OPEN},
    # What late data withdrew stays withdrawn; that somebody saw it is recorded all the same.
    AlertState.WITHDRAWN: {Move.REOPEN: AlertState.OPEN, Move.FOLD: AlertState.FOLDED, **_SEEN_LATE},
    AlertState.FOLDED: {Move.WITHDRAW: AlertState.WITHDRAWN, Move.REOPEN: AlertState.OPEN},
}


def after(current: AlertState, move: Move, actor: Actor) -> AlertState:
    """Return the state that a move leads to; `Rejected` if it cannot follow, or is not for this actor."""
    to = _NEXT[current].get(move)
    if to is None or actor not in MAY[move]:
        raise Rejected(f"An alert that is {current} cannot be moved so by the {actor}: {move}.")
    return to


class Request(NamedTuple):
    """Which asking of an alert something answers: opened again so often, the next role asked so often."""

    reopened: int = 0
    escalation: int = 0

    def __str__(self) -> str:
        """Return it as work orders and forms carry it."""
        return f"{self.reopened}.{self.escalation}"

    @classmethod
    def parse(cls, text: str) -> "Request | None":
        """Return what a work order or a form carries; None if it is none of ours."""
        found = _REQUEST.fullmatch(text)
        return None if found is None else cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Act:
    """One move as somebody makes it. `by` is None for the clock and the rules.

    `request` says what it answers, as far as that is known: an answer to an earlier asking comes too late;
    but what the role before has finished meanwhile is finished.
    """

    move: Move
    actor: Actor
    at: dt.datetime
    by: str | None = None
    outcome: Outcome | None = None
    note: str = ""
    request: Request | None = None


IN_TIME: Final = dt.timedelta(hours=24)
WINDOW: Final = dt.timedelta(days=14)
"""How far back something may have come true that still opens an item."""
REST: Final = dt.timedelta(hours=72)
"""How far apart episodes of one item are at most, and how long what somebody did about one holds."""


class Timeliness(StrEnum):
    """When something came true, seen from now."""

    IN_TIME = "in_time"  # within the last day, or it may be: nobody knows when
    LATE = "late"  # surely before; the data came late. It is shown, and pages nobody
    HISTORY = "history"  # before the window: it opens nothing


def timeliness(finding: Finding, now: dt.datetime) -> Timeliness:
    """Return how a finding that is new at `now` is to be taken."""
    if finding.came_true is None or now - finding.came_true <= IN_TIME:
        return Timeliness.IN_TIME
    return Timeliness.LATE if now - finding.came_true <= WINDOW else Timeliness.HISTORY


@dataclass(frozen=True, slots=True)
class Terms:
    """By when items of a programme are due, and who is asked in turn."""

    care: Care
    duty: Duty

    def due(self, severity: Severity, now: dt.datetime) -> dt.datetime:
        """Return until when something of `now` must be seen."""
        return self.duty.due(self.care, severity, now)


RANK: Final = {Severity.ROUTINE: 0, Severity.HIGH: 1, Severity.SEVERE: 2}
"""Severities by weight."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One finding that an item tells of, and since when; `late`: it came so late that it pages nobody."""

    finding: Finding
    raised_at: dt.datetime
    late: bool = False

    @property
    def urgency(self) -> Severity:
        """How soon somebody must look."""
        return Severity.ROUTINE if self.late else self.finding.severity


@dataclass(frozen=True, slots=True)
class Alert:
    """One open item about one finding, and what was folded into it. `alert_id` is the finding's id.

    `revision` counts changes that the hospital's system must hear of (confirmed, withdrawn, acknowledged).
    `late` says that the data came so late that nobody is paged for it. `escalation` counts how often the next
    role was asked since it was opened (again, `reopened` times); `moved_by` and `moved_at` are of the last
    move that somebody made. `outcome` is None of what is not resolved, and of what was finished in a system
    that did not say it. `folds` are the other episodes of the problem that it tells of; of what is folded
    itself, `folded_into` is the item that tells of it.
    """

    alert_id: UUID
    finding: Finding
    state: AlertState
    revision: int
    raised_at: dt.datetime
    due_at: dt.datetime
    acknowledged_at: dt.datetime | None = None
    acknowledged_by: str | None = None
    late: bool = False
    escalation: int = 0
    moved_at: dt.datetime | None = None
    moved_by: str | None = None
    outcome: Outcome | None = None
    reopened: int = 0
    folded_into: UUID | None = None
    folds: tuple[Episode, ...] = ()

    @property
    def own(self) -> Episode:
        """The episode that it is the row of."""
        return Episode(self.finding, self.raised_at, self.late)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All that it tells of, in the order of measuring."""
        every = (self.own, *self.folds)
        return tuple(sorted(every, key=lambda one: (one.finding.since, one.finding.finding_id)))

    @property
    def leads(self) -> Episode:
        """The gravest of its episodes; of these the newest one."""
        return max(enumerate(self.episodes), key=lambda one: (RANK[one[1].urgency], one[0]))[1]

    @property
    def lead(self) -> Finding:
        """What was found in the episode that leads."""
        return self.leads.finding

    @property
    def told(self) -> Finding:
        """What is said of it: its lead with all evidence, confirmed as soon as one of the gravest is."""
        if not self.folds:
            return self.finding
        every, lead = self.episodes, self.lead
        confirmed = any(
            one.finding.standing is Standing.CONFIRMED and RANK[one.urgency] >= RANK[self.urgency]
            for one in every
        )
        return replace(
            lead,
            standing=Standing.CONFIRMED if confirmed else lead.standing,
            evidence=tuple(dict.fromkeys(i for one in every for i in one.finding.evidence)),
            statements=tuple(dict.fromkeys(i for one in every for i in one.finding.statements)),
            since=every[0].finding.since,
        )

    @property
    def request(self) -> Request:
        """What somebody is asked for now."""
        return Request(self.reopened, self.escalation)

    @property
    def urgency(self) -> Severity:
        """How soon somebody must look: of what came late, whenever they next do."""
        return Severity.ROUTINE if self.late else self.lead.severity

    @property
    def waits_for_somebody(self) -> bool:
        """Whether the clock runs: it is open, and clinicians' work."""
        return self.state is AlertState.OPEN and self.finding.queue is Queue.CLINICAL


def opened(finding: Finding, now: dt.datetime, terms: Terms) -> Alert:
    """Return a new item about a finding."""
    late = timeliness(finding, now) is not Timeliness.IN_TIME
    due = terms.due(Severity.ROUTINE if late else finding.severity, now)
    return Alert(finding.finding_id, finding, AlertState.OPEN, 1, now, due, late=late)


def opens_again(known: Alert, finding: Finding, now: dt.datetime) -> bool:
    """Tell whether what is found now of a resolved item is work again."""
    if known.state is not AlertState.RESOLVED or finding.standing is Standing.DOWNGRADED:
        return False
    before = known.finding
    confirmed = (before.standing, finding.standing) == (Standing.UNCONFIRMED, Standing.CONFIRMED)
    if confirmed or RANK[finding.severity] > RANK[before.severity]:
        return True
    more = not set(finding.evidence) <= set(before.evidence)
    rested = known.moved_at is None or now - known.moved_at > REST
    return more and (rested or finding.severity is Severity.SEVERE)


def moved(alert: Alert, act: Act, terms: Terms) -> Alert | None:
    """Return an alert after a move; None if it does not hold: somebody was first, or it is over.

    `Rejected` if what is said of the move is wrong, whatever the state: an outcome that there is not for
    this queue, or none from a person; nobody further to ask.
    """
    _check(alert, act, terms)
    to = _NEXT[alert.state].get(act.move)
    if to is None or act.actor not in MAY[act.move] or _too_late(alert, act):
        return None
    seen = act.actor in _WORK and act.move is not Move.ESCALATE and alert.acknowledged_at is None
    if to is AlertState.WITHDRAWN and not seen:
        return None
    next_ = replace(alert, state=to, revision=alert.revision + 1, moved_at=act.at, moved_by=act.by)
    if seen:
        next_ = replace(next_, acknowledged_at=act.at, acknowledged_by=act.by)
    if to is AlertState.RESOLVED:
        next_ = replace(next_, outcome=act.outcome)
    if act.move is Move.ESCALATE:
        due = terms.due(alert.urgency, act.at)
        fresh = replace(next_, acknowledged_at=None, acknowledged_by=None)
        next_ = replace(fresh, escalation=alert.escalation + 1, due_at=due)
    return next_


def _check(alert: Alert, act: Act, terms: Terms) -> None:
    if len(act.note) > MAX_NOTE:
        raise Rejected(f"A note has {MAX_NOTE} characters at most.")
    allowed = OUTCOMES[alert.finding.queue]
    if act.move is Move.RESOLVE and act.outcome not in (
        allowed if act.actor is Actor.PERSON else (*allowed, None)
    ):
        raise Rejected(f"Say what came of it: {', '.join(allowed)}.")
    if act.move is Move.ESCALATE and terms.care.next_role(alert.escalation) is None:
        raise Rejected("There is nobody further to ask: the last role has it.")


def _too_late(alert: Alert, act: Act) -> bool:
    """Tell whether a move answers an asking that is over."""
    if act.request is None:
        return False
    if act.move is Move.RESOLVE:
        return act.request.reopened != alert.reopened
    return act.request != alert.request
