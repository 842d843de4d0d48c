"""One item for each patient and problem: repeats fold into it, and are never silent where they are severe."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from cloud_bridge.alerts import Act, Actor, Alert, AlertState, Move, Request
from cloud_bridge.rules.base import Severity, Standing
from tests.doubles.bridge_desk import BridgeDesk, assigned, redated, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure, glucose
from wire_format.measurement import Measurement

HOUR = dt.timedelta(hours=1)
QUARTER = dt.timedelta(minutes=15)


class Ward(BridgeDesk):
    """One home, whose readings come when they are measured."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.home = SealingHome()

    def measure(self, hours: float, systolic: str = "192", *, minutes: float = 0) -> Measurement:
        """A pressure so many hours after NOW; the bridge has it half a minute later."""
        m = blood_pressure(systolic, "100", minutes=hours * 60 + minutes)
        self.now = NOW + dt.timedelta(hours=hours, minutes=minutes, seconds=30)
        self.receive(self.home, self.home.seal(told(m)))
        return m

    def at_once(self, *readings: tuple[float, str, str]) -> None:
        """Pressures at minutes after NOW, in one envelope that comes half a minute after the last."""
        made = [blood_pressure(high, low, minutes=at) for at, high, low in readings]
        self.now = NOW + dt.timedelta(minutes=readings[-1][0], seconds=30)
        self.receive(self.home, self.home.seal([one for m in made for one in told(m)]))

    def item(self) -> Alert:
        """The only item there is."""
        (one,) = self.store.alerts.open_alerts()
        return one

    def move(self, move: Move, actor: Actor = Actor.PERSON, request: Request | None = None) -> bool:
        act = Act(move, actor, self.now, "nurse-1", request=request)
        return self.store.alerts.move(self.item().alert_id, act).held

    def said(self, alert: UUID) -> list[str]:
        return [e.what for e in self.store.alerts.events(alert)]

    def clocks(self) -> list[dt.datetime]:
        """When each item that waits for somebody is looked at again."""
        return [t["due_at"] for t in self.table("timer") if t["subject"].startswith("due:")]

    def states(self) -> list[str]:
        return sorted(r["state"] for r in self.table("alert") if r["rule"] in {"BP-SEVERE", "GLU-LOW-2"})

    def folded(self) -> UUID:
        (one,) = [row for row in self.table("alert") if row["state"] == "folded"]
        found: UUID = one["id"]
        return found


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    made = Ward(tmp_path)
    yield made
    made.close()


def test_a_severe_reading_of_the_next_day_is_the_same_item(ward: Ward) -> None:
    first = ward.measure(0)
    before = ward.item()
    second = ward.measure(20)
    after = ward.item()
    assert (after.alert_id, after.due_at, after.reopened) == (before.alert_id, before.due_at, 0)
    assert after.told.evidence == (first.measurement_id, second.measurement_id)
    assert (after.told.since, len(after.episodes), after.urgency) == (NOW, 2, Severity.SEVERE)
    assert ward.states() == ["folded", "open"]
    assert ward.said(after.alert_id) == ["raised", "repeated"]
    assert ward.said(ward.folded()) == ["folded"]
    # The work order is brought up to date; there is no second one.
    (row,) = [r for r in ward.table("delivery") if r["kind"] == "alert"]
    assert (row["subject"], row["wanted"]) == (after.alert_id, 2)
    order = ward.store.deliveries.load_alert_order(after.alert_id)
    assert order is not None
    assert order.reason.endswith("; 2 episodes in this item")
    assert [r.reading.id for r in order.readings] == list(after.told.evidence)
    # Nobody is asked twice when it is due.
    assert [t["subject"] for t in ward.table("timer") if "due:" in t["subject"]] == [
        f"due:{after.alert_id.hex}"
    ]


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


def test_a_second_reading_of_the_episode_confirms_and_asks_nobody_again(ward: Ward) -> None:
    ward.measure(0)
    ward.measure(20)
    assert ward.move(Move.ACKNOWLEDGE)
    ward.measure(20, "188", minutes=4)
    one = ward.item()
    assert (one.state, one.told.standing, len(one.told.evidence)) == (
        AlertState.ACKNOWLEDGED,
        Standing.CONFIRMED,
        3,
    )
    assert ward.said(one.alert_id) == ["raised", "repeated", "acknowledged", "confirmed"]


def test_a_repeat_that_turned_out_lower_is_no_longer_what_the_item_says_first(ward: Ward) -> None:
    first = ward.measure(0, "199")
    ward.measure(20)
    ward.measure(20, "130", minutes=4)
    one = ward.item()
    assert one.lead.evidence == (first.measurement_id,)
    assert (one.urgency, one.told.standing) == (Severity.SEVERE, Standing.UNCONFIRMED)


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
    assert ward.said(asked.alert_id)[-1] == "asked_again"


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
    assert ward.said(one.alert_id)[-1] == ("confirmed" if move is None else "asked_again")
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


def test_after_72_quiet_hours_it_is_another_item(ward: Ward) -> None:
    ward.measure(0)
    ward.measure(71)
    ward.measure(71 + 72)
    assert len(ward.item().episodes) == 3  # counted from the newest episode on
    ward.measure(71 + 72 + 73)
    assert ward.states() == ["folded", "folded", "open", "open"]


def test_what_was_resolved_takes_nothing_in(ward: Ward) -> None:
    ward.measure(0)
    assert ward.resolve(ward.item().alert_id)
    ward.measure(20)
    assert ward.states() == ["open", "resolved"]
    assert len(ward.item().episodes) == 1
    assert ward.said(ward.item().alert_id) == ["raised"]


def test_what_was_folded_and_resolved_gets_worse_and_is_work_again(ward: Ward) -> None:
    ward.measure(0)
    ward.measure(20)
    item = ward.item().alert_id
    assert ward.resolve(item)
    ward.measure(20, "188", minutes=4)
    again = ward.item()
    assert (again.alert_id, again.request, again.outcome) == (item, Request(1, 0), None)
    assert again.due_at == ward.now + QUARTER
    assert len(again.told.evidence) == 3
    assert ward.said(item) == ["raised", "repeated", "resolved", "reopened"]


def test_late_data_are_added_without_a_sound(ward: Ward) -> None:
    ward.measure(0)
    assert ward.move(Move.ACKNOWLEDGE)
    late = blood_pressure("201", "130", minutes=-40 * 60)
    ward.receive(ward.home, ward.home.seal(told(late)))
    one = ward.item()
    assert (one.state, one.request, one.late) == (AlertState.ACKNOWLEDGED, Request(), False)
    assert late.measurement_id in one.told.evidence
    assert late.measurement_id not in one.lead.evidence
    assert ward.said(one.alert_id)[-1] == "repeated"
    # What makes it worse comes as late.
    worse = blood_pressure("203", "131", minutes=-40 * 60 + 5)
    ward.receive(ward.home, ward.home.seal(told(worse)))
    assert (ward.item().state, ward.item().request) == (AlertState.ACKNOWLEDGED, Request())


def test_what_happens_today_wakes_an_item_that_came_late(ward: Ward) -> None:
    ward.receive(ward.home, ward.home.seal(told(blood_pressure("192", "124", minutes=-40 * 60))))
    assert (ward.item().late, ward.move(Move.ACKNOWLEDGE)) == (True, True)
    ward.measure(0)
    one = ward.item()
    assert (one.state, one.late, one.urgency) == (AlertState.OPEN, False, Severity.SEVERE)
    assert one.due_at == ward.now + QUARTER


def test_a_graver_problem_of_the_kind_makes_the_item_graver(ward: Ward) -> None:
    ward.join("patient-1", "diabetes")
    ward.receive(ward.home, ward.home.seal(told(glucose("3.5", minutes=0))))
    assert (ward.item().urgency, ward.move(Move.BEGIN)) == (Severity.HIGH, True)
    ward.now = NOW + 5 * HOUR
    ward.receive(ward.home, ward.home.seal(told(glucose("2.6", minutes=290))))
    one = ward.item()
    assert (one.state, one.urgency, one.lead.rule) == (AlertState.OPEN, Severity.SEVERE, "GLU-LOW-2")
    assert {row["rank"] for row in ward.table("alert") if row["state"] == "open"} == {0}
    # A lighter one after it is counted, and disturbs nobody.
    assert ward.move(Move.ACKNOWLEDGE)
    ward.now = NOW + 40 * HOUR
    ward.receive(ward.home, ward.home.seal(told(glucose("3.6", minutes=40 * 60 - 1))))
    assert (ward.item().state, len(ward.item().episodes)) == (AlertState.ACKNOWLEDGED, 3)


def test_problems_and_people_are_kept_apart(ward: Ward) -> None:
    ward.measure(0)
    ward.receive(ward.home, ward.home.seal(told(glucose("2.6", minutes=30))))
    other = blood_pressure("191", "100", minutes=31)
    ward.receive(ward.home, ward.home.seal(told(other, "p-2")))
    assert ward.states() == ["open"] * 3
    # Of somebody unknown two readings may be two people's.
    for minutes in (40, 90):
        ward.receive(ward.home, ward.home.seal([blood_pressure("190", "100", minutes=minutes)]))
    assert ward.states() == ["open"] * 5


# --- what late data undo ---


def test_an_episode_that_was_somebody_elses_leaves_the_item(ward: Ward) -> None:
    ward.measure(0)
    second = ward.measure(20)
    ward.receive(ward.home, ward.home.seal([assigned(second, "p-2", later=60)]))
    mine = next(a for a in ward.store.alerts.open_alerts() if a.finding.subject == "patient-1")
    assert (len(mine.episodes), ward.said(mine.alert_id)) == (1, ["raised", "repeated", "unfolded"])
    assert ward.states() == ["open", "open", "withdrawn"]
    # It comes back: the row that was folded is folded again.
    ward.receive(ward.home, ward.home.seal([assigned(second, "p-1", later=120)]))
    assert len(ward.item().episodes) == 2
    assert ward.said(ward.folded()) == ["folded", "withdrawn", "folded"]


def test_when_the_item_itself_is_undone_the_rest_is_an_item_and_asks(ward: Ward) -> None:
    first = ward.measure(0)
    ward.measure(20)
    ward.measure(40)
    item = ward.item().alert_id
    assert ward.move(Move.BEGIN)
    ward.receive(ward.home, ward.home.seal([assigned(first, "p-2", later=60)]))
    (rest,) = [a for a in ward.store.alerts.open_alerts() if a.finding.subject == "patient-1"]
    assert rest.alert_id != item
    assert (rest.state, len(rest.episodes), rest.due_at) == (AlertState.OPEN, 2, ward.now + QUARTER)
    assert ward.said(rest.alert_id) == ["folded", "released", "repeated"]
    wanted = {r["subject"]: r["wanted"] for r in ward.table("delivery") if r["kind"] == "alert"}
    assert wanted[rest.alert_id] == 2
    # The first one comes back: it is told by the item that there is now.
    ward.receive(ward.home, ward.home.seal([assigned(first, "p-1", later=120)]))
    assert (ward.item().alert_id, len(ward.item().episodes)) == (rest.alert_id, 3)
    order = ward.store.deliveries.load_alert_order(item)  # what was its work order is taken back
    assert order is not None
    assert order.alert.state is AlertState.WITHDRAWN


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


def test_an_episode_may_move_away_by_its_date(ward: Ward) -> None:
    """A row that is folded follows the finding, wherever it is dated."""
    ward.measure(0)
    second = ward.measure(20)
    ward.receive(ward.home, ward.home.seal([redated(second, NOW - 5 * HOUR)]))
    one = ward.item()
    assert (one.told.since, len(one.episodes)) == (NOW - 5 * HOUR, 2)


# --- for whoever looks back ---


def test_each_episode_is_found_again_and_an_item_counts_once(ward: Ward) -> None:
    ward.measure(0)
    ward.measure(20)
    ward.measure(20, "188", minutes=4)
    item, folded = ward.item().alert_id, ward.folded()
    assert [j.revision for j in ward.store.judgements.of_alert(item)] == [1]
    assert [j.revision for j in ward.store.judgements.of_alert(folded)] == [1, 2]
    (raised,) = ward.store.alerts.yields(NOW - HOUR)
    assert (raised.rule, raised.state) == ("BP-SEVERE", AlertState.OPEN)
    assert ward.store.alerts.delivered_alerts() == []
    act = Act(Move.ACKNOWLEDGE, Actor.PERSON, ward.now, "nurse-1")
    taken = ward.store.alerts.move(folded, act)
    assert (taken.held, taken.alert.state) == (False, AlertState.FOLDED)
    assert json.loads(ward.table("judgement")[0]["contents"])
