"""One item for each patient and problem: repeats fold into it, and are never silent where they are severe."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_bridge.alerts import Act, Actor, AlertState, Move, Request
from cloud_bridge.rules.base import Severity, Standing
from tests.doubles.bridge_desk import assigned, redated, told
from tests.doubles.bridge_readings import NOW, blood_pressure, glucose
from tests.doubles.bridge_ward import HOUR, QUARTER, Ward


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


def test_a_live_item_takes_what_comes_after_72_quiet_hours_too(ward: Ward) -> None:
    for hours in (0, 71, 71 + 72, 71 + 72 + 73):
        ward.measure(hours)
    (severe,) = [a for a in ward.store.alerts.open_alerts() if a.finding.rule == "BP-SEVERE"]
    assert len(severe.episodes) == 4
    assert ward.states() == ["folded", "folded", "folded", "open"]


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


def test_pressure_above_the_target_is_one_item_whichever_rule_says_so(ward: Ward) -> None:
    """Sessions in a row, then the mean of the protocol: one telephone call about the treatment."""
    for day in range(3):
        for hours in (0, 11):
            at = (day * 24 + hours) * 60
            ward.at_once((at, "146", "92"), (at + 1, "146", "92"))
    one = ward.item()
    assert {e.finding.rule for e in one.episodes} == {"BP-CONSECUTIVE", "BP-HOME"}
    assert (one.lead.rule, one.urgency, one.request) == ("BP-CONSECUTIVE", Severity.HIGH, Request())


def test_low_and_high_glucose_are_two_problems_whichever_rule_says_so(ward: Ward) -> None:
    ward.join("patient-1", "diabetes")
    for minutes, value in ((0, "3.8"), (20, "3.9"), (200, "17.0"), (230, "14.2")):
        ward.receive(ward.home, ward.home.seal(told(glucose(value, minutes=minutes))))
        ward.now += HOUR
    found = [tuple(e.finding.rule for e in a.episodes) for a in ward.store.alerts.open_alerts()]
    assert sorted(found) == [("GLU-LOW-1", "GLU-URGENT-CN"), ("GLU-URGENT-CN", "GLU-HIGH-2")]


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
