"""The life of alerts over weeks: runs that go on, items that come back, and what lies before the window."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_bridge.alerts import AlertState
from tests.doubles.bridge_desk import BridgeDesk, assigned, told
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
    assert [row["sequence"] for row in desk.table("downlink")] == [1, 2]


@pytest.mark.parametrize("seen", [True, False])
def test_finishing_the_work_of_a_withdrawn_alert_changes_nothing_of_it(desk: BridgeDesk, seen: bool) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(m)))
    (alert,) = desk.store.alerts.open_alerts()
    if seen:
        desk.store.alerts.acknowledge(alert.alert_id, "nurse-1", desk.now)
    desk.receive(home, home.seal([assigned(m, "p-2", later=60)]))
    assert desk.store.alerts.complete(alert.alert_id, "nurse-1", desk.now) is not seen
    now = desk.store.alerts.alert(alert.alert_id)
    assert now is not None
    assert (now.state, now.acknowledged_by) == (AlertState.WITHDRAWN, "nurse-1")
