"""The life of alerts over weeks: runs that go on, items that come back, and what lies before the window."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.alerts import WINDOW, AlertState
from cloud_bridge.judge import judge
from cloud_bridge.rules.base import Reading
from cloud_bridge.store.intake import IntakeTransaction
from tests.doubles.bridge_desk import BridgeDesk, anchor, assigned, redated, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure

DAY = 24 * 60


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def states(desk: BridgeDesk) -> list[str]:
    return [row["state"] for row in desk.table("alert")]


def measure_daily(desk: BridgeDesk, home: SealingHome, first: int, last: int) -> None:
    for day in range(first, last):
        for minute in (0, 2):
            desk.now = NOW + dt.timedelta(days=day, minutes=5)
            m = blood_pressure("150", "95", minutes=day * DAY + minute)
            desk.receive(home, home.seal(told(m)))


def test_a_run_longer_than_the_window_stays_one_alert(desk: BridgeDesk) -> None:
    home = SealingHome()
    measure_daily(desk, home, 0, 20)
    (alert,) = desk.store.alerts.open_alerts()
    assert len(alert.finding.evidence) == 40
    assert states(desk) == ["open"]


def test_an_alert_is_not_withdrawn_because_time_passed(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124"))))
    for days in (13, 14, 15, 40):
        desk.now = NOW + dt.timedelta(days=days)
        desk.receive(home, home.seal(told(blood_pressure("120", minutes=days * DAY))))
        assert states(desk) == ["open"]


def test_an_old_alert_is_withdrawn_when_its_reading_was_somebody_elses(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(m)))
    desk.now = NOW + dt.timedelta(days=20)
    desk.receive(home, home.seal([assigned(m, "p-2", later=60)]))
    assert states(desk) == ["withdrawn"]


def test_what_comes_back_after_it_was_withdrawn_can_be_acknowledged_again(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(m)))
    (alert,) = desk.store.alerts.open_alerts()
    desk.store.alerts.acknowledge(alert.alert_id, "nurse-1", desk.now)
    desk.receive(home, home.seal([assigned(m, "p-2", later=60)]))
    desk.now += dt.timedelta(hours=1)
    desk.receive(home, home.seal([assigned(m, "p-1", later=120)]))
    back = desk.store.alerts.alert(alert.alert_id)
    assert back is not None
    assert (back.state, back.acknowledged_by) == (AlertState.OPEN, None)
    assert back.due_at == desk.now + dt.timedelta(minutes=15)
    assert desk.store.alerts.acknowledge(alert.alert_id, "nurse-2", desk.now)
    said = [(row["what"], row["by"]) for row in desk.table("alert_history") if row["by"]]
    assert said == [("acknowledged", "nurse-1"), ("acknowledged", "nurse-2")]
    first, second = (row["sequence"] for row in desk.table("downlink"))
    assert first < second


@pytest.mark.parametrize("seen", [True, False])
def test_finishing_the_work_of_a_withdrawn_alert_changes_nothing_of_it(desk: BridgeDesk, seen: bool) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(m)))
    (alert,) = desk.store.alerts.open_alerts()
    if seen:
        desk.store.alerts.acknowledge(alert.alert_id, "nurse-1", desk.now)
    desk.receive(home, home.seal([assigned(m, "p-2", later=60)]))
    assert desk.resolve(alert.alert_id, "nurse-1") is not seen
    now = desk.store.alerts.alert(alert.alert_id)
    assert now is not None
    assert (now.state, now.acknowledged_by) == (AlertState.WITHDRAWN, "nurse-1")


def test_the_look_back_is_as_long_as_it_must_be_and_no_longer(desk: BridgeDesk) -> None:
    home = SealingHome()
    old = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(old)))
    now = NOW + dt.timedelta(days=30)
    with desk.store.intake.transaction() as transaction:
        watched = _Watched(transaction)
        judge(watched, "patient-1", now)
        reach = now - WINDOW - dt.timedelta(days=7)  # of the deepest rule of the programme
        assert watched.since == [reach]
        judge(watched, "patient-1", now, frozenset({old.measurement_id}))
        assert watched.since[1:] == [reach, NOW]
    assert states(desk) == ["open"]


class _Watched:
    """A transaction that says how far back it was asked."""

    def __init__(self, transaction: IntakeTransaction) -> None:
        self._transaction = transaction
        self.since: list[dt.datetime] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def readings_of(self, subject: str, since: dt.datetime) -> list[Reading]:
        self.since.append(since)
        return self._transaction.readings_of(subject, since)


# --- times that no calendar goes on after ---


def test_a_time_at_the_end_of_the_calendar_blocks_nobody(desk: BridgeDesk) -> None:
    home = SealingHome()
    last = dt.datetime.max.replace(tzinfo=dt.UTC, microsecond=0)
    m = blood_pressure("192", "124")
    other = blood_pressure("120", minutes=-5)
    desk.receive(home, home.seal(told(other)), home.seal([redated(other, last)]))
    desk.receive(home, home.seal(told(m)), home.seal([redated(m, last - dt.timedelta(seconds=9))]))
    one = next(r for r in desk.readings() if r.id == other.measurement_id)
    assert one.measured is not None
    assert one.measured.utc == last
    desk.receive(home, home.seal(told(blood_pressure("120", minutes=5))))
    assert len(desk.table("envelope")) == 5
    assert desk.table("inbox") == []


@pytest.mark.parametrize("ticks", [-(2**80), 2**80])
def test_an_anchor_that_leads_out_of_the_calendar_leaves_the_time_unknown(
    desk: BridgeDesk, ticks: int
) -> None:
    home = SealingHome()
    plain = blood_pressure("130", minutes=None)
    time = plain.time.model_copy(update={"received_uncertainty_ms": None, "push_delay_ms": 2000})
    m = plain.model_copy(update={"time": time})
    desk.receive(home, home.seal([anchor(NOW, ticks)]), home.seal(told(m)))
    (one,) = desk.readings()
    assert one.measured is None
    assert {row["verdict"] for row in desk.table("envelope")} == {"stored"}
