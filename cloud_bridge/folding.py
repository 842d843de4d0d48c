"""Folding: one item for each patient and problem. Pure.

Rules find episodes; people get items. While an item of a problem is live, what is found of the same problem
is folded into it: it counts there, with its evidence. Who has the item is asked anew if it is severe, or
graver than what they were told, or if the last episode or what they did is 72 h ago; the first role is, if
none that was asked came. What came late is added without a sound.

The findings themselves stay as they are, each with a row of its own: which one became the item depends on
what came first, what is found does not.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from cloud_bridge.alerts import (
    LIVE,
    RANK,
    REST,
    Actor,
    Alert,
    AlertState,
    Episode,
    Move,
    Terms,
    after,
    opened,
)
from cloud_bridge.asking import asked_anew, left_alone
from cloud_bridge.rules.base import GATEWAY, HOME, Finding, Queue, Severity, Standing
from cloud_bridge.rules.catalogue import problem_of


def together(alerts: Iterable[Alert]) -> dict[UUID, Alert]:
    """Return alerts by id, each with what is folded into it."""
    every = {alert.alert_id: replace(alert, folds=()) for alert in alerts}
    folded = [a for a in every.values() if a.state is AlertState.FOLDED]
    for one in sorted(folded, key=lambda a: (a.finding.since, a.alert_id)):
        item = every.get(one.folded_into) if one.folded_into is not None else None
        if item is not None:
            every[item.alert_id] = replace(item, folds=(*item.folds, one.own))
    return every


def item_for(finding: Finding, alerts: Iterable[Alert]) -> Alert | None:
    """Return the live item that a finding is one more episode of; None if it is an item of its own.

    What somebody unknown measured is never folded: it may be of two people.
    """
    problem = problem_of(finding)
    if problem is None or finding.queue is not Queue.CLINICAL or finding.subject.startswith((HOME, GATEWAY)):
        return None
    clinical = (a for a in alerts if a.state in LIVE and a.finding.queue is Queue.CLINICAL)
    live = [a for a in clinical if problem_of(a.finding) == problem]
    return max(live, key=lambda a: (a.episodes[-1].finding.since, a.alert_id), default=None)


def _apart(one: Finding, other: Finding) -> dt.timedelta:
    """Return how much time lies between two findings; negative if they overlap."""
    return max(one.since - _ends(other), other.since - _ends(one))


def _ends(finding: Finding) -> dt.datetime:
    return max(finding.since, finding.came_true or finding.since)


def folded(finding: Finding, item: Alert, before: Alert | None, now: dt.datetime, terms: Terms) -> Alert:
    """Return the row of a finding that an item tells of from now on; `before` is the row it had."""
    new = replace(opened(finding, now, terms), state=AlertState.FOLDED, folded_into=item.alert_id)
    if before is None:
        return new
    late = new.late
    if before.state is AlertState.FOLDED:
        late = before.late  # it moves from one item to another: nothing came anew
    else:
        after(before.state, Move.FOLD, Actor.RULES)
    known = replace(new, revision=before.revision + 1, raised_at=before.raised_at)
    return replace(known, reopened=before.reopened, late=late)


def told_too(item: Alert, one: Episode) -> Alert:
    """Return an item that tells of an episode as it is now."""
    folds = [f for f in item.folds if f.finding.finding_id != one.finding.finding_id]
    return replace(item, folds=(*folds, one), revision=item.revision + 1)


def repeated(item: Alert, one: Episode, now: dt.datetime, terms: Terms, *, new: bool) -> Alert:
    """Return an item that tells of an episode too or, not `new`, of what changed of it.

    What became more urgent is as new. Whoever has it is asked again if the episode is new and severe, or
    graver than what they were told lately. If there was no episode or nobody did anything about the item for
    72 h, or none of the roles that were asked came, any new episode asks: as soon as it demands itself, or as
    the item does.
    """
    more = told_too(item, one)
    if one.late or item.state not in LIVE:
        return more
    severe = one.finding.severity is Severity.SEVERE
    if _graver(item, one, now) or item.late or (new and severe):
        return asked_again(more, now, terms)
    if not new or one.finding.standing is Standing.DOWNGRADED:
        return more
    if item.state is AlertState.OPEN:
        return asked_again(more, now, terms) if left_alone(item, now, terms) else more
    if now - (item.moved_at or item.raised_at) <= REST and _repeats(item, one):
        return more
    return asked_again(more, now, terms, one.urgency)


def _repeats(item: Alert, one: Episode) -> bool:
    """Tell whether an episode is within 72 h of another that the item tells of already."""
    others = (e.finding for e in item.episodes if e.finding.finding_id != one.finding.finding_id)
    return any(_apart(finding, one.finding) <= REST for finding in others)


def _graver(item: Alert, one: Episode, now: dt.datetime) -> bool:
    """Tell whether an episode is graver than what was told of an item lately, or at all, if nothing was."""
    told = [RANK[e.urgency] for e in item.episodes if now - e.raised_at <= REST]
    return RANK[one.urgency] > max(told, default=RANK[item.urgency])


def asked_again(item: Alert, now: dt.datetime, terms: Terms, urgency: Severity | None = None) -> Alert:
    """Return an item that must be looked at for an episode that is new, or got worse; see `asked_anew`."""
    return asked_anew(replace(item, late=False), now, terms, urgency)


def without(item: Alert, finding_id: UUID) -> Alert:
    """Return an item that no longer tells of an episode."""
    folds = tuple(f for f in item.folds if f.finding.finding_id != finding_id)
    return replace(item, folds=folds, revision=item.revision + 1)


def on_its_own(row: Alert, now: dt.datetime, terms: Terms) -> Alert:
    """Return what was folded as an item: the one that told of it was withdrawn before anybody ended it."""
    state = after(row.state, Move.REOPEN, Actor.RULES)
    due = terms.due(Severity.ROUTINE if row.late else row.finding.severity, now)
    return replace(row, state=state, folded_into=None, due_at=due, raised_at=now, revision=row.revision + 1)
