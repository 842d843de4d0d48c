"""Statements, revisions and alerts: what is known now follows from all that was said, in whatever order."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_bridge.alerts import Alert, AlertState
from cloud_bridge.rules.base import Severity, Standing
from tests.doubles.bridge_desk import BridgeDesk, anchor, assigned, redated, told
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import BOOT, NOW, blood_pressure
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.downlink import SeenByCareTeam, open_downlink
from wire_format.errors import Rejected
from wire_format.measurement import ClockTrust, Measurement, RawPacket, Remark

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def alerts(desk: BridgeDesk) -> list[Alert]:
    return list(desk.store.alerts.open_alerts())


def wanted(desk: BridgeDesk, kind: str) -> list[int]:
    return sorted(row["wanted"] for row in desk.table("delivery") if row["kind"] == kind)


# --- whose, and when ---


@pytest.mark.parametrize("statement_first", [True, False])
def test_whose_it_is_may_be_said_before_or_after(desk: BridgeDesk, statement_first: bool) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    items = [[m], [assigned(m)]]
    for one in reversed(items) if statement_first else items:
        desk.receive(home, home.seal(one))
    assert [r.patient for r in desk.readings()] == ["patient-1"]
    assert wanted(desk, "reading") == [1]


def test_the_latest_word_on_whose_it_is_holds(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("190")
    desk.receive(home, home.seal(told(m)))
    assert [a.finding.subject for a in alerts(desk)] == ["patient-1"]
    desk.receive(home, home.seal([assigned(m, "p-2", later=60)]))
    assert [r.patient for r in desk.readings()] == ["patient-2"]
    assert [a.finding.subject for a in alerts(desk)] == ["patient-2"]
    states = {row["subject"]: row["state"] for row in desk.table("alert")}
    assert states == {"patient-1": "withdrawn", "patient-2": "open"}
    assert wanted(desk, "reading") == [2]
    # An older word that comes late changes nothing.
    desk.receive(home, home.seal([assigned(m, "p-1", later=30)]))
    assert [r.patient for r in desk.readings()] == ["patient-2"]
    assert wanted(desk, "reading") == [2]


def test_a_reading_is_dated_again_and_never_created_again(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    desk.receive(home, home.seal(told(m)))
    then = NOW - dt.timedelta(hours=3)
    desk.receive(home, home.seal([redated(m, then)]))
    (one,) = desk.readings()
    assert one.measured is not None
    assert one.measured.utc == then
    assert wanted(desk, "reading") == [2]
    assert len(desk.table("measurement")) == 1
    changes = [row["previous_at"] for row in desk.table("change")]
    assert changes[0] is None
    assert changes[1] is not None


def test_the_anchor_of_a_boot_dates_what_came_before_the_clock(desk: BridgeDesk) -> None:
    home = SealingHome()
    plain = blood_pressure("130", minutes=None)
    time = plain.time.model_copy(
        update={"received_uncertainty_ms": None, "push_delay_ms": 2000, "trust": ClockTrust.NONE}
    )
    m = plain.model_copy(update={"time": time})
    desk.receive(home, home.seal(told(m)))
    assert [r.measured for r in desk.readings()] == [None]
    desk.receive(home, home.seal([anchor(NOW, m.time.monotonic_ns + 60 * 10**9)]))
    (one,) = desk.readings()
    assert one.measured is not None
    assert one.measured.utc == NOW - dt.timedelta(seconds=60)
    assert one.measurement.time.boot_id == BOOT


# --- revisions ---


def revised(m: Measurement, minutes: int) -> Measurement:
    """The same record, read again later with a remark that it did not have."""
    at = m.time.received_at + dt.timedelta(minutes=minutes)
    return m.model_copy(
        update={
            "remarks": (*m.remarks, Remark.STORED_RECORD)[:minutes],
            "components": m.components[: 3 - minutes],
            "time": m.time.model_copy(update={"received_at": at}),
        }
    )


def test_another_content_is_a_revision_and_the_newest_holds_in_any_order(tmp_path: Path) -> None:
    m = blood_pressure("130")
    versions = [m, revised(m, 1), revised(m, 2)]
    ends = []
    for number, order in enumerate([(0, 1, 2), (2, 1, 0), (1, 0, 2, 1, 0)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        desk, home = BridgeDesk(folder), SealingHome()
        for index in order:
            desk.receive(home, home.seal(told(versions[index])))
        (row,) = desk.table("measurement")
        ends.append((row["content_hash"], row["body"], row["revision"]))
        assert len(desk.table("measurement_version")) == 3
        desk.close()
    assert len(set(ends)) == 1
    assert ends[0][2] == 3


def test_a_revision_is_delivered_again_and_a_late_duplicate_is_not(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    desk.receive(home, home.seal(told(m)), home.seal([revised(m, 1)]))
    assert wanted(desk, "reading") == [2]
    desk.receive(home, home.seal([m]))
    assert wanted(desk, "reading") == [2]
    order = desk.store.deliveries.load_reading_order(m.measurement_id)
    assert order is not None
    assert (order.revision, order.reading.measurement) == (2, revised(m, 1))


def test_equal_bytes_shortly_after_without_a_clock_are_a_possible_repetition(desk: BridgeDesk) -> None:
    home = SealingHome()
    first = blood_pressure("130", minutes=None)
    raw = (RawPacket(source="2A35", data=b"same bytes"),)
    told_by = first.provenance.model_copy(update={"raw": raw})
    first = first.model_copy(update={"provenance": told_by})
    later = first.model_copy(
        update={
            "measurement_id": blood_pressure("131").measurement_id,
            "time": first.time.model_copy(update={"received_at": NOW + dt.timedelta(minutes=2)}),
        }
    )
    desk.receive(home, home.seal([first]), home.seal([later]))
    repetitions = {r.measurement.measurement_id: r.repetition_of for r in desk.readings()}
    assert repetitions == {first.measurement_id: None, later.measurement_id: first.measurement_id}


# --- alerts ---


def test_the_life_of_a_severe_reading(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124", minutes=20))))
    (first,) = alerts(desk)
    assert (first.finding.standing, first.state, first.revision) == (Standing.UNCONFIRMED, AlertState.OPEN, 1)
    desk.receive(home, home.seal(told(blood_pressure("188", "122", minutes=23))))
    (second,) = alerts(desk)
    assert (second.alert_id, second.finding.standing) == (first.alert_id, Standing.CONFIRMED)
    assert len(second.finding.evidence) == 2
    assert wanted(desk, "alert") == [2]
    order = desk.store.deliveries.load_alert_order(first.alert_id)
    assert order is not None
    assert len(order.readings) == 2
    assert "192/124 mmHg" in order.reason
    assert [row["what"] for row in desk.table("alert_history")] == ["raised", "confirmed"]


def test_somebody_in_home_x_then_known(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal([m]))
    (who,) = alerts(desk)
    assert who.finding.subject == f"home:{GATEWAY}"
    assert wanted(desk, "alert") == []
    assert desk.store.deliveries.load_alert_order(who.alert_id) is None
    desk.receive(home, home.seal([assigned(m, "p-2")]))
    assert [a.finding.subject for a in alerts(desk)] == ["patient-2"]
    assert wanted(desk, "alert") == [1]


def test_what_late_data_undo_is_withdrawn_in_sight(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(m)))
    desk.receive(home, home.seal([assigned(m, None, later=60)]))
    assert {row["subject"]: row["state"] for row in desk.table("alert")} == {
        "patient-1": "withdrawn",
        f"home:{GATEWAY}": "open",
    }
    desk.receive(home, home.seal([assigned(m, "p-1", later=120)]))
    assert {row["subject"]: row["state"] for row in desk.table("alert")} == {
        "patient-1": "open",
        f"home:{GATEWAY}": "withdrawn",
    }


def test_last_weeks_severe_reading_pages_nobody(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124", minutes=-3 * 24 * 60))))
    (late,) = alerts(desk)
    assert (late.late, late.urgency, late.finding.severity) == (True, Severity.ROUTINE, Severity.SEVERE)
    assert late.due_at == desk.now + dt.timedelta(days=1)
    order = desk.store.deliveries.load_alert_order(late.alert_id)
    assert order is not None
    assert order.reason.endswith("(received late)")
    assert order.patient_text is None  # "measure again now" would be about another day
    assert [row["what"] for row in desk.table("alert_history")] == ["raised_late"]


def test_what_came_true_before_the_window_is_history(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124", minutes=-15 * 24 * 60))))
    assert alerts(desk) == []
    assert len(desk.readings()) == 1


def test_three_sessions_above_target_when_the_last_one_is_over(desk: BridgeDesk) -> None:
    home = SealingHome()
    for hours in (-48, -24, 0):
        for minute in (0, 2):
            m = blood_pressure("150", "95", minutes=hours * 60 + minute)
            desk.now = max(desk.now, NOW)
            desk.receive(home, home.seal(told(m)))
    (alert,) = alerts(desk)
    assert alert.finding.rule == "BP-CONSECUTIVE"


def test_a_single_reading_counts_as_a_session_only_when_its_time_is_over(desk: BridgeDesk) -> None:
    home = SealingHome()
    for hours in (-48, -24):
        for minute in (0, 2):
            desk.receive(home, home.seal(told(blood_pressure("150", "95", minutes=hours * 60 + minute))))
    desk.now = NOW + dt.timedelta(minutes=1)
    desk.receive(home, home.seal(told(blood_pressure("150", "95", minutes=0))))
    assert alerts(desk) == []
    assert desk.store.intake.timers_due(desk.now) == []
    desk.now = NOW + dt.timedelta(minutes=10, seconds=1)
    assert desk.store.intake.timers_due(desk.now) == ["patient-1"]
    desk.ingest.judge_again(desk.store.intake.timers_due(desk.now))
    assert [a.finding.rule for a in alerts(desk)] == ["BP-CONSECUTIVE"]
    assert desk.store.intake.timers_due(desk.now) == []


def test_an_acknowledgement_goes_home_sealed_and_once(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124"))))
    (alert,) = alerts(desk)
    assert desk.store.alerts.acknowledge(alert.alert_id, "nurse-1", desk.now)
    assert not desk.store.alerts.acknowledge(alert.alert_id, "nurse-2", desk.now)
    (due,) = desk.store.outgoing.messages_due(10, desk.now)
    delivered = open_downlink(
        due.data, GATEWAY, bridge_keys().public.messages, gateway_keys().opening, desk.now
    )
    assert delivered.header.sequence == int(desk.now.timestamp())
    assert isinstance(delivered.message, SeenByCareTeam)
    assert delivered.message.alert_id == alert.alert_id
    (now,) = alerts(desk)
    assert (now.state, now.acknowledged_by) == (AlertState.ACKNOWLEDGED, "nurse-1")
    assert desk.resolve(alert.alert_id, "nurse-1")
    assert not desk.resolve(alert.alert_id, "nurse-1")
    assert alerts(desk) == []
    assert len(desk.store.outgoing.messages_due(10, desk.now)) == 1
    assert wanted(desk, "alert") == [3]


def test_whoever_finishes_it_has_seen_it(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124"))))
    (alert,) = alerts(desk)
    assert desk.resolve(alert.alert_id, "nurse-1")
    assert len(desk.store.outgoing.messages_due(10, desk.now)) == 1
    with pytest.raises(Rejected, match="open the inbox again"):
        desk.store.alerts.acknowledge(BOOT, "nurse-1", desk.now)
