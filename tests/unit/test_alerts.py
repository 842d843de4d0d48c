"""The life of an alert as a table: every state, every move, every actor."""

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from cloud_bridge.alerts import (
    MAX_NOTE,
    OUTCOMES,
    REST,
    Act,
    Actor,
    Alert,
    AlertState,
    Episode,
    Move,
    Outcome,
    Request,
    Terms,
    after,
    moved,
    opens_again,
)
from cloud_bridge.asking import revised
from cloud_bridge.duty import ALWAYS
from cloud_bridge.folding import repeated
from cloud_bridge.rules.base import Finding, Queue, Severity, Standing
from cloud_bridge.rules.care import Care, CareRole
from tests.doubles.bridge_readings import NOW
from wire_format.errors import Rejected

TERMS = Terms(Care(), ALWAYS)
LATER = NOW + dt.timedelta(minutes=5)

# Written out by hand from the table in the module's description, one row a state.
MOVES = {
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
    AlertState.WITHDRAWN: {
        Move.REOPEN: AlertState.OPEN,
        Move.FOLD: AlertState.FOLDED,
        Move.ACKNOWLEDGE: AlertState.WITHDRAWN,
        Move.BEGIN: AlertState.WITHDRAWN,
        Move.RESOLVE: AlertState.WITHDRAWN,
    },
    AlertState.FOLDED: {Move.WITHDRAW: AlertState.WITHDRAWN, Move.REOPEN: AlertState.OPEN},
}
WHO = {
    Move.ACKNOWLEDGE: {Actor.PERSON, Actor.HOSPITAL},
    Move.BEGIN: {Actor.PERSON, Actor.HOSPITAL},
    Move.RESOLVE: {Actor.PERSON, Actor.HOSPITAL},
    Move.ESCALATE: {Actor.PERSON, Actor.HOSPITAL, Actor.CLOCK},
    Move.WITHDRAW: {Actor.RULES},
    Move.REOPEN: {Actor.RULES},
    Move.FOLD: {Actor.RULES},
}


def finding(**changes: Any) -> Finding:
    plain = Finding(
        UUID(int=1), "BP-LOW", "1", "p", Severity.HIGH, Standing.CONFIRMED, (UUID(int=2),), (), NOW
    )
    return replace(plain, **changes)


def alert(state: AlertState = AlertState.OPEN, **changes: Any) -> Alert:
    found = changes.pop("finding", finding())
    return replace(Alert(UUID(int=1), found, state, 3, NOW, NOW + dt.timedelta(hours=4)), **changes)


def act(move: Move, actor: Actor = Actor.PERSON, **changes: Any) -> Act:
    outcome = Outcome.CALLED if move is Move.RESOLVE else None
    return replace(Act(move, actor, LATER, "nurse-1", outcome), **changes)


@pytest.mark.parametrize("state", AlertState)
@pytest.mark.parametrize("move", Move)
@pytest.mark.parametrize("actor", Actor)
def test_every_move_of_everybody_in_every_state(state: AlertState, move: Move, actor: Actor) -> None:
    expected = MOVES[state].get(move) if actor in WHO[move] else None
    if expected is None:
        with pytest.raises(Rejected, match="cannot be moved so"):
            after(state, move, actor)
        assert moved(alert(state), act(move, actor), TERMS) is None
        return
    assert after(state, move, actor) is expected
    if actor is Actor.RULES:
        return  # judging makes these moves itself, with what was found
    changed = moved(alert(state), act(move, actor), TERMS)
    assert changed is not None
    assert (changed.state, changed.revision) == (expected, 4)
    assert (changed.moved_at, changed.moved_by) == (LATER, "nurse-1")


def test_whoever_does_anything_with_it_has_seen_it_and_the_first_one_stays() -> None:
    begun = moved(alert(), act(Move.BEGIN), TERMS)
    assert begun is not None
    assert (begun.acknowledged_by, begun.acknowledged_at) == ("nurse-1", LATER)
    done = moved(begun, act(Move.RESOLVE, by="nurse-2"), TERMS)
    assert done is not None
    assert (done.acknowledged_by, done.moved_by, done.outcome) == ("nurse-1", "nurse-2", Outcome.CALLED)
    assert moved(done, act(Move.RESOLVE, by="nurse-3"), TERMS) is None


def test_what_was_withdrawn_is_seen_once_and_stays_withdrawn() -> None:
    seen = moved(alert(AlertState.WITHDRAWN), act(Move.RESOLVE), TERMS)
    assert seen is not None
    assert (seen.state, seen.acknowledged_by, seen.outcome) == (AlertState.WITHDRAWN, "nurse-1", None)
    assert moved(seen, act(Move.ACKNOWLEDGE), TERMS) is None


def test_an_escalation_asks_the_next_role_anew_and_ends_with_the_last() -> None:
    taken = alert(AlertState.IN_PROGRESS, acknowledged_by="nurse-1", acknowledged_at=NOW)
    handed = moved(taken, act(Move.ESCALATE), TERMS)
    assert handed is not None
    assert (handed.state, handed.escalation) == (AlertState.OPEN, 1)
    assert (handed.acknowledged_by, handed.acknowledged_at) == (None, None)
    assert handed.due_at == LATER + dt.timedelta(hours=4)
    assert TERMS.care.role(handed.escalation) is CareRole.PHYSICIAN
    with pytest.raises(Rejected, match="nobody further"):
        moved(handed, act(Move.ESCALATE), TERMS)


def test_what_came_late_is_routine_for_the_next_role_too() -> None:
    handed = moved(alert(late=True), act(Move.ESCALATE, Actor.CLOCK, by=None), TERMS)
    assert handed is not None
    assert handed.due_at == LATER + dt.timedelta(days=1)
    assert handed.moved_by is None


@pytest.mark.parametrize("queue", Queue)
@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_a_person_says_what_came_of_it_in_words_of_the_queue(queue: Queue, outcome: Outcome | None) -> None:
    one = alert(finding=finding(queue=queue))
    for actor in (Actor.PERSON, Actor.HOSPITAL):
        if outcome in OUTCOMES[queue] or (outcome is None and actor is Actor.HOSPITAL):
            done = moved(one, act(Move.RESOLVE, actor, outcome=outcome), TERMS)
            assert done is not None
            assert done.outcome is outcome
        else:
            with pytest.raises(Rejected, match="Say what came of it"):
                moved(one, act(Move.RESOLVE, actor, outcome=outcome), TERMS)


def test_a_note_has_an_end() -> None:
    assert moved(alert(), act(Move.BEGIN, note="x" * MAX_NOTE), TERMS) is not None
    with pytest.raises(Rejected, match="500 characters"):
        moved(alert(), act(Move.BEGIN, note="x" * (MAX_NOTE + 1)), TERMS)


@pytest.mark.parametrize(
    ("request_", "acknowledges", "resolves"),
    [
        (None, True, True),
        (Request(1, 1), True, True),
        (Request(1, 0), False, True),  # the role before: what it finished is finished
        (Request(0, 1), False, False),  # before it was opened again: that is another story
        (Request(0, 0), False, False),
    ],
)
def test_an_answer_to_an_earlier_asking_comes_too_late(
    request_: Request | None, acknowledges: bool, resolves: bool
) -> None:
    one = alert(escalation=1, reopened=1)
    for move, holds in (
        (Move.ACKNOWLEDGE, acknowledges),
        (Move.BEGIN, acknowledges),
        (Move.RESOLVE, resolves),
    ):
        held = moved(one, act(move, Actor.HOSPITAL, request=request_), TERMS) is not None
        assert held is holds, move


MORE = finding(evidence=(UUID(int=2), UUID(int=3)))
RESTED = NOW + REST + dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("before", "found", "now", "again"),
    [
        ({}, {}, RESTED, False),
        ({}, {"evidence": MORE.evidence}, NOW + REST, False),
        ({}, {"evidence": MORE.evidence}, RESTED, True),
        ({}, {"evidence": MORE.evidence, "severity": Severity.SEVERE}, NOW, True),
        ({"severity": Severity.SEVERE}, {"evidence": MORE.evidence, "severity": Severity.SEVERE}, NOW, True),
        ({"severity": Severity.SEVERE}, {"severity": Severity.SEVERE}, RESTED, False),
        ({"severity": Severity.ROUTINE}, {}, NOW, True),
        ({"standing": Standing.UNCONFIRMED}, {}, NOW, True),
        ({"standing": Standing.UNCONFIRMED}, {"standing": Standing.DOWNGRADED}, RESTED, False),
    ],
)
def test_what_was_resolved_rests_unless_it_gets_worse(
    before: dict[str, Any], found: dict[str, Any], now: dt.datetime, again: bool
) -> None:
    done = alert(AlertState.RESOLVED, finding=finding(**before), moved_at=NOW)
    assert opens_again(done, finding(**found), now) is again
    assert not opens_again(replace(done, state=AlertState.IN_PROGRESS), finding(**found), now)


SOON = LATER + dt.timedelta(minutes=15)
SEVERE = {"severity": Severity.SEVERE, "came_true": NOW}


@pytest.mark.parametrize(
    ("state", "had", "found", "due", "request_"),
    [
        (AlertState.OPEN, {}, SEVERE, SOON, Request()),
        (AlertState.OPEN, {"due_at": LATER + dt.timedelta(minutes=1)}, SEVERE, None, Request()),
        (AlertState.OPEN, {"due_at": NOW}, SEVERE, None, Request()),  # the next role is being asked
        (AlertState.OPEN, {"due_at": NOW, "escalation": 1}, SEVERE, SOON, Request(1, 0)),
        (AlertState.ACKNOWLEDGED, {}, SEVERE, SOON, Request(1, 0)),
        (AlertState.IN_PROGRESS, {"escalation": 1}, SEVERE, SOON, Request(1, 1)),
        (AlertState.IN_PROGRESS, {"late": True}, SEVERE, SOON, Request(1, 0)),
        (AlertState.RESOLVED, {}, SEVERE, None, Request()),
        (AlertState.ACKNOWLEDGED, {}, {"standing": Standing.UNCONFIRMED}, None, Request()),
        (AlertState.ACKNOWLEDGED, {}, {"severity": Severity.ROUTINE}, None, Request()),
        (AlertState.ACKNOWLEDGED, {}, {**SEVERE, "came_true": LATER - dt.timedelta(days=2)}, None, Request()),
    ],
)
def test_what_becomes_more_urgent_asks_anew_unless_it_came_late(
    state: AlertState, had: dict[str, Any], found: dict[str, Any], due: dt.datetime | None, request_: Request
) -> None:
    known = alert(state, acknowledged_by="nurse-1", **had)
    changed = revised(known, finding(**found), LATER, TERMS)
    assert (changed.due_at, changed.request) == (due or known.due_at, request_)
    again = request_.reopened > 0
    assert changed.state is (AlertState.OPEN if again else state)
    assert changed.acknowledged_by == ("nurse-1" if not again or state is AlertState.OPEN else None)
    assert changed.revision == known.revision + 1


def test_roles_are_asked_once_each_and_in_order() -> None:
    care = Care(roles=(CareRole.NURSE, CareRole.PHYSICIAN, CareRole.ORGANIZATION))
    assert [care.role(n) for n in (0, 1, 2, 9)] == [*care.roles, CareRole.ORGANIZATION]
    assert [care.next_role(n) for n in (0, 1, 2)] == [CareRole.PHYSICIAN, CareRole.ORGANIZATION, None]
    with pytest.raises(ValueError, match="asked twice"):
        Care(roles=(CareRole.NURSE, CareRole.NURSE))


@pytest.mark.parametrize(
    ("last_hours", "now_hours", "severity", "asks"),
    [
        (60, 100, Severity.HIGH, True),  # of these days only routine was told
        (60, 100, Severity.ROUTINE, False),  # somebody acted on that one
        (60, 70, Severity.HIGH, False),  # high was told within these days
        (70, 150, Severity.ROUTINE, True),  # that somebody acted is long ago
        (70, 150, Severity.HIGH, True),
    ],
)
def test_what_was_told_long_ago_hides_nothing(
    last_hours: int, now_hours: int, severity: Severity, asks: bool
) -> None:
    """High on the first day, seen; routine after `last_hours`, seen; then one more after `now_hours`."""
    last, now = (NOW + dt.timedelta(hours=h) for h in (last_hours, now_hours))
    routine = Episode(finding(severity=Severity.ROUTINE, finding_id=UUID(int=8), since=last), last)
    known = alert(AlertState.ACKNOWLEDGED, raised_at=NOW, folds=(routine,), moved_at=last)
    one = Episode(finding(severity=severity, finding_id=UUID(int=9), since=now), now)
    told = repeated(known, one, now, TERMS, new=True)
    assert (told.reopened, len(told.episodes)) == (int(asks), 3)
    if asks:
        hours = {Severity.HIGH: 4, Severity.ROUTINE: 24}[severity]
        assert told.due_at == now + dt.timedelta(hours=hours)
