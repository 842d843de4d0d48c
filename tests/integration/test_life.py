"""Alerts in the store: exactly one move holds, timers outlive workers, and all of it is written down."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cloud_bridge.alerts import Act, Actor, Alert, AlertState, Move, Outcome, Request
from cloud_bridge.duty import Duty
from cloud_bridge.rules.base import Queue
from cloud_bridge.rules.care import CareRole
from cloud_bridge.store.base import Taken
from tests.doubles.bridge_desk import BridgeDesk, assigned, care, told
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure, glucose
from wire_format.errors import Rejected

pytestmark = pytest.mark.usefixtures("each_engine")

QUARTER = dt.timedelta(minutes=15)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def raised(desk: BridgeDesk, home: SealingHome | None = None) -> Alert:
    home = home or SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124"))))
    return desk.store.alerts.open_alerts()[0]


def now_of(desk: BridgeDesk, alert: UUID) -> Alert:
    found = desk.store.alerts.alert(alert)
    assert found is not None
    return found


def said(desk: BridgeDesk, alert: UUID) -> list[tuple[str, str | None, str | None, str | None]]:
    found = desk.store.alerts.events(alert)
    return [(e.what, e.by, e.outcome and e.outcome.value, e.reason) for e in found]


def move(desk: BridgeDesk, alert: UUID, what: Move, by: str = "nurse-1", **more: object) -> Taken:
    return desk.store.alerts.move(alert, Act(what, Actor.PERSON, desk.now, by, **more))  # type: ignore[arg-type]  # a test's


def test_every_step_is_on_record_with_who_and_why(desk: BridgeDesk) -> None:
    alert = raised(desk).alert_id
    for what, by in ((Move.ACKNOWLEDGE, "nurse-1"), (Move.BEGIN, "nurse-2")):
        desk.now += SECOND
        assert move(desk, alert, what, by).held
    desk.now += SECOND
    outcome = {"outcome": Outcome.ADMITTED, "note": "by ambulance"}
    assert move(desk, alert, Move.RESOLVE, "nurse-2", **outcome).held
    assert said(desk, alert) == [
        ("raised", None, None, None),
        ("acknowledged", "nurse-1", None, None),
        ("in_progress", "nurse-2", None, None),
        ("resolved", "nurse-2", "admitted", "by ambulance"),
    ]
    assert desk.store.alerts.open_alerts() == []
    (done,) = desk.store.alerts.resolved(NOW)
    assert (done.state, done.outcome, done.acknowledged_by) == (
        AlertState.RESOLVED,
        Outcome.ADMITTED,
        "nurse-1",
    )
    assert desk.store.alerts.resolved(desk.now + SECOND) == []
    # Each step is delivered, and the home hears once that somebody saw it.
    (delivery,) = [row for row in desk.table("delivery") if row["kind"] == "alert"]
    assert (delivery["wanted"], len(desk.table("downlink"))) == (4, 1)


def test_whoever_comes_second_is_told_who_was_first(desk: BridgeDesk) -> None:
    alert = raised(desk).alert_id
    assert desk.resolve(alert, "nurse-1", Outcome.FALSE_ALARM)
    late = move(desk, alert, Move.RESOLVE, "nurse-2", outcome=Outcome.CALLED)
    assert (late.held, late.alert.moved_by, late.alert.outcome) == (False, "nurse-1", Outcome.FALSE_ALARM)
    assert [e[1] for e in said(desk, alert) if e[1]] == ["nurse-1"]
    with pytest.raises(Rejected, match="Say what came of it"):
        move(desk, alert, Move.RESOLVE)
    with pytest.raises(Rejected, match="open the inbox again"):
        move(desk, UUID(int=5), Move.BEGIN)


def at_once(*calls: Callable[[], Taken]) -> list[Taken]:
    """Let threads call at the same moment, each over a connection of its own."""
    gate, found = threading.Barrier(len(calls)), []

    def one(call: Callable[[], Taken]) -> None:
        gate.wait(10)
        found.append(call())

    threads = [threading.Thread(target=one, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.parametrize("attempt", range(5))
def test_of_two_nurses_at_once_exactly_one_moves_it(desk: BridgeDesk, attempt: int) -> None:
    del attempt
    alert = raised(desk).alert_id
    found = at_once(
        *(
            lambda by=by, outcome=outcome: move(desk, alert, Move.RESOLVE, by, outcome=outcome)  # type: ignore[misc]  # bound now
            for by, outcome in (("a", Outcome.CALLED), ("b", Outcome.ADMITTED), ("c", Outcome.RE_MEASURED))
        )
    )
    assert sorted(one.held for one in found) == [False, False, True]
    (winner,) = [one for one in found if one.held]
    assert {one.alert.moved_by for one in found} == {winner.alert.moved_by}
    assert [e[0] for e in said(desk, alert)].count("resolved") == 1
    assert len(desk.table("downlink")) == 1


# --- nobody came ---


def test_what_nobody_saw_in_time_is_the_next_roles(desk: BridgeDesk) -> None:
    alert = raised(desk)
    assert alert.due_at == desk.now + QUARTER
    desk.wake(alert.due_at - SECOND)
    assert now_of(desk, alert.alert_id) == alert
    desk.wake(alert.due_at)
    asked = now_of(desk, alert.alert_id)
    assert (asked.state, asked.escalation, asked.revision) == (AlertState.OPEN, 1, 2)
    assert asked.due_at == desk.now + QUARTER
    what, by, _, reason = said(desk, alert.alert_id)[-1]
    assert (what, by) == ("escalated", None)
    assert reason is None
    assert [e.asked for e in desk.store.alerts.events(alert.alert_id)] == [None, CareRole.PHYSICIAN]
    order = desk.store.deliveries.load_alert_order(alert.alert_id)
    assert order is not None
    assert (order.asked.value, order.owner) == ("physician", order.care.physician)
    # The last role does not come either: that is on record once, and nobody further is asked.
    for _ in range(3):
        desk.wake(desk.now + dt.timedelta(hours=1))
    assert [e[0] for e in said(desk, alert.alert_id)] == ["raised", "escalated", "unanswered"]
    assert "due:" not in str(desk.table("timer"))
    assert move(desk, alert.alert_id, Move.ACKNOWLEDGE, "doctor-1").held


def test_what_somebody_saw_escalates_only_by_hand(desk: BridgeDesk) -> None:
    alert = raised(desk).alert_id
    assert move(desk, alert, Move.ACKNOWLEDGE).held
    desk.wake(desk.now + dt.timedelta(days=2))
    assert now_of(desk, alert).escalation == 0
    assert move(desk, alert, Move.ESCALATE, note="asks for a doctor").held
    asked = now_of(desk, alert)
    assert (asked.state, asked.escalation, asked.acknowledged_by) == (AlertState.OPEN, 1, None)
    assert said(desk, alert)[-1] == (
        "escalated",
        "nurse-1",
        None,
        "asks for a doctor",
    )
    # The clock runs again, for the physician.
    assert [t["subject"] for t in desk.table("timer") if t["subject"].startswith("due:")] == [
        f"due:{alert.hex}"
    ]


def test_a_timer_outlives_a_restart_and_two_workers_ask_once(tmp_path: Path) -> None:
    first = BridgeDesk(tmp_path)
    alert = raised(first)
    first.close()
    second, third = BridgeDesk(tmp_path), BridgeDesk(tmp_path)
    try:
        for worker in (second, third):
            worker.now = alert.due_at
        due = [worker.store.intake.timers_due(alert.due_at) for worker in (second, third)]
        assert due[0] == due[1]
        assert f"due:{alert.alert_id.hex}" in due[0]
        # Both have read that it is due, before either does anything.
        threads = [
            threading.Thread(target=worker.ingest.judge_again, args=(found,))
            for worker, found in zip((second, third), due, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [e[0] for e in said(second, alert.alert_id)].count("escalated") == 1
        assert now_of(third, alert.alert_id).escalation == 1
    finally:
        second.close()
        third.close()


def test_a_nurse_and_the_clock_at_once_leave_one_story(desk: BridgeDesk) -> None:
    """Either somebody saw it, and the clock stands; or the next role is asked, and somebody saw that."""
    alert = raised(desk)
    desk.now = alert.due_at
    due = desk.store.intake.timers_due(desk.now)
    clock = threading.Thread(target=desk.ingest.judge_again, args=(due,))
    clock.start()
    taken = move(desk, alert.alert_id, Move.ACKNOWLEDGE)
    clock.join(60)
    story = [e[0] for e in said(desk, alert.alert_id)]
    assert taken.held
    assert story in (["raised", "acknowledged"], ["raised", "escalated", "acknowledged"])
    assert now_of(desk, alert.alert_id).revision == len(story)


def test_equipment_and_what_patients_are_asked_escalate_to_nobody(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("120"))))
    desk.wake(NOW + dt.timedelta(hours=72, minutes=30))
    desk.wake(NOW + dt.timedelta(days=19))
    (silent,) = desk.store.alerts.open_alerts(Queue.INSTALLER)
    assert silent.escalation == 0
    assert [e[0] for e in said(desk, silent.alert_id)] == ["raised"]


# --- work again ---


def test_a_second_severe_reading_opens_again_what_was_closed_as_a_false_alarm(desk: BridgeDesk) -> None:
    home = SealingHome()
    alert = raised(desk, home).alert_id
    assert desk.resolve(alert, outcome=Outcome.FALSE_ALARM)
    desk.now += dt.timedelta(minutes=3)
    desk.receive(home, home.seal(told(blood_pressure("188", "122", minutes=3))))
    again = now_of(desk, alert)
    assert (again.state, again.reopened, again.outcome) == (AlertState.OPEN, 1, None)
    assert again.due_at == desk.now + QUARTER
    assert [e[0] for e in said(desk, alert)] == ["raised", "resolved", "reopened"]
    # What the hospital's system says of the work before is about the work before.
    done = Act(Move.RESOLVE, Actor.HOSPITAL, desk.now, "p", request=Request(0, 0))
    assert not desk.store.alerts.move(alert, done).held
    assert now_of(desk, alert).state is AlertState.OPEN


def test_a_run_that_goes_on_rests_for_three_days(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.join("patient-1", "hypertension")

    def measure(day: int) -> list[str]:
        for minute in (0, 2):
            desk.now = NOW + dt.timedelta(days=day, minutes=5)
            m = blood_pressure("150", "95", minutes=day * 24 * 60 + minute)
            desk.receive(home, home.seal(told(m)))
        return [rule for rule, _ in desk.queue()]

    assert [measure(day) for day in range(3)] == [[], [], ["BP-CONSECUTIVE"]]
    (alert,) = desk.store.alerts.open_alerts()
    assert desk.resolve(alert.alert_id, outcome=Outcome.MEDICATION_CHANGED)
    for day in (3, 4, 5):
        measure(day)
        assert now_of(desk, alert.alert_id).state is AlertState.RESOLVED
    measure(6)
    assert now_of(desk, alert.alert_id).state is AlertState.OPEN


def test_what_late_data_undid_is_no_longer_anybodys(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(m)))
    desk.receive(home, home.seal([assigned(m, "p-2", later=60)]))
    gone = [row for row in desk.table("alert") if row["state"] == "withdrawn"]
    timers = [row["subject"] for row in desk.table("timer")]
    assert len(gone) == 1
    assert f"due:{gone[0]['id'].hex}" not in timers


# --- service hours ---


def test_due_times_are_counted_in_the_wards_hours(tmp_path: Path) -> None:
    day = (dt.time(8), dt.time(9))
    desk = BridgeDesk(tmp_path, duty=Duty(hours=(day,) * 7, emergency="120"))
    try:
        desk.now = NOW.replace(hour=8, minute=50)
        alert = raised(desk)
        tomorrow = (desk.now + dt.timedelta(days=1)).replace(hour=8, minute=5)
        assert alert.due_at == tomorrow
        desk.wake(desk.now + dt.timedelta(hours=12))
        assert now_of(desk, alert.alert_id).escalation == 0
        desk.wake(tomorrow)
        asked = now_of(desk, alert.alert_id)
        assert (asked.escalation, asked.due_at) == (1, tomorrow + QUARTER)
    finally:
        desk.close()


@pytest.mark.parametrize(
    ("hour", "severe", "says", "held_until"),
    [
        (8, True, None, None),
        (20, True, "2026-11-25 08:00", None),  # what is severe is told at once, and honestly
        (20, False, "2026-11-25 08:00", None),
        (23, True, "2026-11-25 08:00", None),
        (23, False, "2026-11-25 08:00", 7),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh-Hans"])
def test_patients_are_told_when_nobody_is_on_duty_and_not_disturbed_at_night(  # noqa: PLR0917 - a case has these parts
    tmp_path: Path, hour: int, severe: bool, says: str | None, held_until: int | None, language: str
) -> None:
    day = (dt.time(8), dt.time(9))
    duty = Duty(hours=(day,) * 7, quiet=(dt.time(22), dt.time(7)), emergency="120")
    desk = BridgeDesk(tmp_path, duty=duty)
    try:
        who = replace(care("1"), language=language)
        desk.store.registry.enrol_person(GATEWAY, "p-1", "patient-1", who)
        desk.now = NOW.replace(hour=hour, minute=30)
        home, minutes = SealingHome(), (desk.now - NOW).total_seconds() / 60
        pressure = ("192", "124") if severe else ("84", "52")
        for n in (0, 1):
            desk.receive(home, home.seal(told(blood_pressure(*pressure, minutes=minutes - n))))
        alert = desk.store.alerts.open_alerts()[0]
        order = desk.store.deliveries.load_alert_order(alert.alert_id)
        assert order is not None
        assert order.patient_text is not None
        if says is None:
            assert "120" not in order.patient_text
        else:
            sentence = {
                "en": f"Nobody of your care team is on duty until {says}.",
                "zh-Hans": f"{says} 前没有医护人员值班",
            }[language]
            assert sentence in order.patient_text
            assert "120" in order.patient_text
        tomorrow = (NOW + dt.timedelta(days=1)).replace(hour=held_until or 0, minute=0)
        assert order.patient_not_before == (tomorrow if held_until else None)
    finally:
        desk.close()


@pytest.mark.parametrize(("hour", "held_until", "says"), [(23, 7, True), (12, None, True), (8, None, False)])
def test_a_repeat_that_leads_goes_by_when_it_came_itself(
    tmp_path: Path, hour: int, held_until: int | None, says: bool
) -> None:
    """The first one came by day, while somebody was on duty; the next one when it came."""
    duty = Duty(hours=((dt.time(8), dt.time(9)),) * 7, quiet=(dt.time(22), dt.time(7)), emergency="120")
    desk = BridgeDesk(tmp_path, duty=duty)
    try:
        desk.join("patient-1", "diabetes")
        home, later = SealingHome(), NOW + dt.timedelta(days=2)
        for now in (NOW.replace(minute=5), later.replace(hour=hour, minute=5)):
            desk.now = now
            # The home kept it for a quarter of an hour.
            minutes = (now - QUARTER - NOW).total_seconds() / 60
            desk.receive(home, home.seal(told(glucose("3.5", minutes=minutes))))
        (alert,) = (a for a in desk.store.alerts.open_alerts() if a.finding.rule == "GLU-LOW-1")
        assert (len(alert.episodes), alert.leads.raised_at) == (2, desk.now)
        order = desk.store.deliveries.load_alert_order(alert.alert_id)
        assert order is not None
        assert order.patient_text is not None
        assert ("Nobody of your care team is on duty until" in order.patient_text) is says
        morning = (later + dt.timedelta(days=1)).replace(hour=held_until or 0)
        assert order.patient_not_before == (morning if held_until else None)
    finally:
        desk.close()
