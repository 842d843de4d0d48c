"""Who had an item is asked again: of what is severe, gets worse or comes long after; never of late data."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from cloud_bridge.alerts import Act, Actor, Alert, AlertState, Move, Request
from cloud_bridge.rules.base import Severity, Standing
from tests.doubles.bridge_desk import assigned, told
from tests.doubles.bridge_readings import NOW, blood_pressure, glucose
from tests.doubles.bridge_ward import HOUR, QUARTER, Ward


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    made = Ward(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("move", [Move.ACKNOWLEDGE, Move.BEGIN])
def test_a_severe_repeat_asks_whoever_had_the_item_again(ward: Ward, move: Move) -> None:
    ward.measure(0)
    assert ward.move(move)
    ward.measure(20)
    asked = ward.item()
    assert (asked.state, asked.request) == (AlertState.OPEN, Request(1, 0))
    assert (asked.acknowledged_by, asked.due_at) == (None, ward.now + QUARTER)
    assert ward.said(asked.alert_id)[-1] == "asked_again"
    assert ward.clocks() == [asked.due_at]
    # What the hospital says of the asking before settles nothing, and nobody is left out.
    assert not ward.move(Move.ACKNOWLEDGE, Actor.HOSPITAL, Request(0, 0))
    ward.wake(asked.due_at)
    assert ward.item().request == Request(1, 1)
    assert ward.move(Move.ACKNOWLEDGE)
    assert len(ward.table("downlink")) == 2  # the home hears of both


def test_the_role_that_has_it_is_asked_again(ward: Ward) -> None:
    ward.measure(0)
    assert ward.move(Move.ESCALATE)
    assert ward.move(Move.ACKNOWLEDGE)
    ward.measure(5)
    assert ward.item().request == Request(1, 1)
    order = ward.store.deliveries.load_alert_order(ward.item().alert_id)
    assert order is not None
    assert order.asked.value == "physician"


@pytest.mark.parametrize("move", [Move.ACKNOWLEDGE, Move.BEGIN])
def test_a_repeat_that_was_calmed_at_once_and_becomes_severe_asks_again(ward: Ward, move: Move) -> None:
    ward.measure(0)
    assert ward.move(move)
    day = 24 * 60
    ward.at_once((day, "192", "100"), (day + 2, "150", "90"))
    calmed = ward.item()
    assert (calmed.state is AlertState.OPEN, len(calmed.episodes)) == (False, 2)
    assert ward.said(calmed.alert_id)[-1] == "repeated"
    ward.at_once((day + 5, "205", "125"), (day + 7, "207", "126"))
    asked = ward.item()
    assert (asked.state, asked.request, asked.told.standing) == (
        AlertState.OPEN,
        Request(1, 0),
        Standing.CONFIRMED,
    )
    assert (ward.clocks(), asked.acknowledged_by) == ([ward.now + QUARTER], None)
    assert ward.said(asked.alert_id)[-1] == "reopened"


@pytest.mark.parametrize("move", [None, Move.ACKNOWLEDGE])
def test_an_item_that_began_calmed_and_becomes_severe_is_due_as_severe(ward: Ward, move: Move | None) -> None:
    ward.at_once((0, "192", "100"), (2, "150", "90"))
    assert ward.item().urgency is Severity.ROUTINE
    assert move is None or ward.move(move)
    ward.at_once((5, "205", "125"), (7, "207", "126"))
    one = ward.item()
    assert (one.state, one.urgency, one.reopened) == (
        AlertState.OPEN,
        Severity.SEVERE,
        0 if move is None else 1,
    )
    assert ward.clocks() == [one.due_at] == [ward.now + QUARTER]
    assert ward.said(one.alert_id)[-1] == ("confirmed" if move is None else "reopened")
    # Sooner than it is due it does not become: one more reading leaves the time as it is.
    ward.measure(0, "209", minutes=9)
    assert ward.item().due_at == one.due_at


def test_a_severe_repeat_in_an_item_that_nobody_came_for_asks_from_the_first_role_on(ward: Ward) -> None:
    ward.measure(0)
    for _ in range(3):
        ward.wake(ward.now + HOUR)
    left = ward.item()
    assert (left.state, left.request, ward.clocks()) == (AlertState.OPEN, Request(0, 1), [])
    assert ward.said(left.alert_id) == ["raised", "escalated", "unanswered"]
    ward.measure(20)
    asked = ward.item()
    assert (asked.state, asked.request, asked.due_at) == (AlertState.OPEN, Request(1, 0), ward.now + QUARTER)
    assert ward.clocks() == [asked.due_at]
    for _ in range(3):
        ward.wake(ward.now + HOUR)
    assert ward.said(left.alert_id)[3:] == ["asked_again", "escalated", "unanswered"]


def test_a_severe_repeat_after_the_due_time_takes_no_role_out_of_turn(ward: Ward) -> None:
    """The clock is a moment late: the next role is asked all the same, as early as it would have been."""
    ward.measure(0)
    due = ward.item().due_at
    ward.measure(0, "201", minutes=16)
    assert (ward.item().request, ward.clocks()) == (Request(), [due])
    ward.wake()
    assert ward.item().request == Request(0, 1)


def test_what_is_no_graver_asks_again_when_what_was_done_is_long_ago(ward: Ward) -> None:
    """Fifteen low sugars of a month do not all hide behind one tick of the first day."""
    ward.join("patient-1", "diabetes")

    def low(hours: float, value: str = "3.5") -> Alert:
        ward.now = NOW + dt.timedelta(hours=hours, minutes=1)
        ward.receive(ward.home, ward.home.seal(told(glucose(value, minutes=hours * 60))))
        return next(a for a in ward.store.alerts.open_alerts() if a.finding.rule.startswith("GLU-LOW"))

    def taken(one: Alert) -> None:
        act = Act(Move.ACKNOWLEDGE, Actor.PERSON, ward.now, "nurse-1")
        assert ward.store.alerts.move(one.alert_id, act).held

    taken(low(0))
    assert [low(h).request for h in (36, 71)] == [Request()] * 2
    asked = low(107)
    assert (asked.state, asked.request, len(asked.episodes)) == (AlertState.OPEN, Request(1, 0), 4)
    assert asked.due_at == ward.now + 4 * HOUR
    assert asked.due_at in ward.clocks()
    taken(asked)
    assert ward.said(asked.alert_id)[-2:] == ["asked_again", "acknowledged"]
    # What was done counts from then on.
    assert low(143).request == Request(1, 0)
    # What is lighter than what the item says asks as any other, as soon as it demands itself.
    graver = low(150, "2.6")
    assert graver.request == Request(2, 0)
    taken(graver)
    light = low(200)
    assert (light.state, light.request) == (AlertState.ACKNOWLEDGED, Request(2, 0))
    light = low(236)
    assert (light.state, light.request, light.due_at) == (
        AlertState.OPEN,
        Request(3, 0),
        ward.now + 4 * HOUR,
    )
    # What was told long ago does not hide that it gets worse again: a week later 2.6 would be news.
    taken(light)
    assert low(260, "2.6").request == Request(4, 0)


def test_what_comes_after_72_quiet_hours_asks_though_somebody_just_worked_on_the_item(ward: Ward) -> None:
    """It is no second item, and no repeat either: whoever works on it does not know of it yet."""
    ward.join("patient-1", "diabetes")

    def low(hours: float) -> Alert:
        ward.now = NOW + dt.timedelta(hours=hours, minutes=1)
        ward.receive(ward.home, ward.home.seal(told(glucose("3.5", minutes=hours * 60))))
        return ward.item()

    low(0)
    for hours, move in ((1, Move.ACKNOWLEDGE), (70, Move.BEGIN)):
        ward.now = NOW + dt.timedelta(hours=hours)
        assert ward.move(move)
    asked = low(74)
    assert (asked.state, asked.request, len(asked.episodes)) == (AlertState.OPEN, Request(1, 0), 2)
    assert ward.move(Move.BEGIN)
    assert low(80).state is AlertState.IN_PROGRESS


def test_any_repeat_in_an_item_that_nobody_came_for_asks_from_the_first_role_on(ward: Ward) -> None:
    """No more than once for each time that all were asked: while somebody is, a repeat is counted alone."""
    ward.join("patient-1", "diabetes")

    def sugar(hours: float, value: str) -> Alert:
        ward.now = NOW + dt.timedelta(hours=hours, minutes=1)
        ward.receive(ward.home, ward.home.seal(told(glucose(value, minutes=hours * 60))))
        return next(a for a in ward.store.alerts.open_alerts() if a.finding.rule == "GLU-HIGH-2")

    first = sugar(0, "14.5")
    ward.wake(first.due_at)
    assert sugar(5, "16.9").request == Request(0, 1)
    ward.wake(NOW + 9 * HOUR)
    left = first.alert_id
    assert ward.said(left) == ["raised", "escalated", "repeated", "unanswered"]
    assert ward.clocks() == []
    asked = sugar(30, "15.0")
    assert (asked.alert_id, asked.state, asked.request) == (left, AlertState.OPEN, Request(1, 0))
    assert (asked.due_at, ward.clocks()) == (ward.now + 4 * HOUR, [asked.due_at])
    assert sugar(31, "17.5").request == Request(1, 0)
    for _ in range(3):
        ward.wake(ward.now + 4 * HOUR)
    assert ward.said(left)[-4:] == ["asked_again", "repeated", "escalated", "unanswered"]
    # A lighter one too: of its own it would have asked.
    assert sugar(60, "11.0").request == Request(2, 0)


def ended_and_undone(ward: Ward) -> tuple[UUID, UUID]:
    """An item that somebody ended, and whose own reading was nobody's after all; what was folded into it."""
    first = ward.measure(0)
    ward.measure(20)
    item = ward.item().alert_id
    assert ward.resolve(item)
    ward.receive(ward.home, ward.home.seal([assigned(first, None, later=60)]))
    assert [a.finding.subject[:5] for a in ward.store.alerts.open_alerts()] == ["home:"]
    return item, ward.folded()


def test_what_somebody_ended_stays_ended_when_its_first_reading_is_undone(ward: Ward) -> None:
    item, folded = ended_and_undone(ward)
    ward.measure(20, "150", minutes=4)  # it gets no worse
    assert ward.said(folded) == ["folded", "downgraded"]
    assert (ward.folded(), ward.said(item)[-1], len(ward.clocks())) == (folded, "withdrawn", 1)


def test_what_was_ended_gets_worse_and_asks_though_its_item_was_undone(ward: Ward) -> None:
    _, folded = ended_and_undone(ward)
    ward.measure(20, "210", minutes=4)
    (mine,) = [a for a in ward.store.alerts.open_alerts() if a.finding.subject == "patient-1"]
    assert (mine.alert_id, mine.state, mine.urgency) == (folded, AlertState.OPEN, Severity.SEVERE)
    assert mine.due_at == ward.now + QUARTER
    assert mine.due_at in ward.clocks()
    assert ward.said(folded) == ["folded", "released"]
    assert [j.revision for j in ward.store.judgements.of_alert(folded)] == [1, 2]
    ward.measure(20, "230", minutes=6)
    assert ward.said(folded)[2:] == ["confirmed"]
    assert mine.due_at in ward.clocks()


def test_what_was_ended_gets_worse_and_is_told_by_the_item_that_there_is(ward: Ward) -> None:
    _, before = ended_and_undone(ward)
    ward.measure(40)
    (other,) = [a for a in ward.store.alerts.open_alerts() if a.finding.subject == "patient-1"]
    act = Act(Move.ACKNOWLEDGE, Actor.PERSON, ward.now, "nurse-1")
    assert ward.store.alerts.move(other.alert_id, act).held
    # The home had kept it for twenty hours: that is not late.
    kept = blood_pressure("210", "100", minutes=20 * 60 + 4)
    ward.receive(ward.home, ward.home.seal(told(kept)))
    asked = ward.store.alerts.alert(other.alert_id)
    assert asked is not None
    assert (asked.state, asked.request, len(asked.episodes)) == (AlertState.OPEN, Request(1, 0), 2)
    assert (ward.folded(), ward.said(before)) == (before, ["folded", "folded"])


def test_what_was_ended_gets_worse_by_late_data_and_is_shown_without_a_sound(ward: Ward) -> None:
    _, folded = ended_and_undone(ward)
    ward.now = NOW + 60 * HOUR
    late = blood_pressure("210", "100", minutes=20 * 60 + 4)
    ward.receive(ward.home, ward.home.seal(told(late)))
    (mine,) = [a for a in ward.store.alerts.open_alerts() if a.finding.subject == "patient-1"]
    assert (mine.alert_id, mine.late, mine.urgency) == (folded, True, Severity.ROUTINE)
    assert mine.due_at == ward.now + 24 * HOUR


def test_late_data_make_what_was_calmed_severe_without_a_sound(ward: Ward) -> None:
    ward.measure(0)
    ward.at_once((60 * 20, "192", "100"), (60 * 20 + 2, "150", "90"))
    assert ward.move(Move.ACKNOWLEDGE)
    ward.now = NOW + 60 * HOUR
    ward.receive(ward.home, ward.home.seal(told(blood_pressure("205", "125", minutes=20 * 60 + 5))))
    one = ward.item()
    assert (one.state, one.request, one.told.standing) == (
        AlertState.ACKNOWLEDGED,
        Request(),
        Standing.CONFIRMED,
    )
    assert ward.said(one.alert_id)[-1] == "confirmed"
