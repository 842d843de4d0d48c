"""Programmes, own parameters, timers, the installer's queue and replay, over a real store."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from cloud_bridge.alerts import AlertState, Outcome
from cloud_bridge.orders import reason_line
from cloud_bridge.replay import found_again
from cloud_bridge.rules.base import Queue, Severity, Standing
from cloud_bridge.silence_cause import CauseKind
from cloud_bridge.store import schema
from tests.doubles.bridge_desk import BridgeDesk, assigned, redated, told
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import BOOT, CUFF, NOW, blood_pressure, glucose, weight
from tests.doubles.story_kit import DAY
from wire_format.errors import Rejected
from wire_format.measurement import Absent, Failure, Measurement, Remark
from wire_format.statements import DeviceEvent, DeviceEventKind, GatewayEvent, GatewayEventKind

SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    made.now = NOW
    yield made
    made.close()


def send(desk: BridgeDesk, home: SealingHome, *measured: Measurement, person: str | None = "p-1") -> None:
    for m in measured:
        desk.now = max(desk.now, m.time.received_at)
        desk.receive(home, home.seal(told(m, person)))


# --- whose rules ---


def test_a_patient_has_the_rules_of_their_programmes_and_what_protects_everybody(desk: BridgeDesk) -> None:
    home = SealingHome()
    send(desk, home, glucose("12.0"), glucose("2.5", minutes=5))
    assert desk.queue() == [("GLU-LOW-2", "")]
    desk.join("patient-1", "diabetes")
    assert desk.queue() == [("GLU-HIGH-1", ""), ("GLU-LOW-2", "")]
    desk.join("patient-1", "heart_failure")
    assert desk.queue() == [("GLU-LOW-2", "")]


def test_the_first_programme_decides_and_joining_again_changes_nothing(desk: BridgeDesk) -> None:
    desk.join("patient-1", "heart_failure", "hypertension")
    before = desk.table("membership")
    desk.now += SECOND
    desk.join("patient-1", "heart_failure", "hypertension")
    assert desk.table("membership") == before
    send(desk, SealingHome(), *(blood_pressure("85", minutes=m) for m in (1, 2)))
    (alert,) = desk.store.alerts.open_alerts()
    assert (alert.finding.rule, alert.finding.programme) == ("BP-LOW", "heart_failure")
    desk.now += SECOND
    desk.join("patient-1", "hypertension", "heart_failure")
    (alert,) = desk.store.alerts.open_alerts()
    assert alert.finding.programme == "hypertension"
    with pytest.raises(Rejected, match="enrol the patient first"):
        desk.join("patient-9", "hypertension")


def test_a_severe_glucose_of_nobody_asks_who_it_was(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(
        home, home.seal([low := glucose(Absent.BELOW_RANGE)]), home.seal([glucose("20.1", minutes=1)])
    )
    assert desk.queue() == [("GLU-LOW-2", "unassigned"), ("GLU-URGENT-CN", "unassigned")]
    desk.receive(home, home.seal([glucose("12.0", minutes=2)]))
    assert len(desk.queue()) == 2
    desk.receive(home, home.seal([assigned(low, "p-2", later=60)]))
    assert {(a.finding.subject, a.finding.rule) for a in desk.store.alerts.open_alerts()} == {
        ("patient-2", "GLU-LOW-2"),
        (f"home:{GATEWAY}", "GLU-URGENT-CN"),
    }


@pytest.mark.parametrize(
    "refused",
    [
        glucose("2.0", control=True),
        glucose("2.0", failure=Failure.DEVICE_FAULT),
        glucose("2.0", remarks=(Remark.IMPLAUSIBLE,)),
    ],
)
def test_what_is_refused_raises_nothing(desk: BridgeDesk, refused: Measurement) -> None:
    desk.join("patient-1", "diabetes")
    send(desk, SealingHome(), refused)
    assert desk.queue() == []
    assert len(desk.readings()) == 1


# --- own parameters ---


def test_an_own_parameter_changes_what_is_found_and_is_named(desk: BridgeDesk) -> None:
    home = SealingHome()
    send(desk, home, *(blood_pressure("82", minutes=m) for m in (1, 2)))
    (before,) = desk.store.alerts.open_alerts()
    assert desk.agree("patient-1", "BP-LOW", "systolic", '{"mmhg": "80", "kpa": "10.7"}')
    assert desk.queue() == []
    withdrawn = desk.store.alerts.alert(before.alert_id)
    assert withdrawn is not None
    assert withdrawn.state is AlertState.WITHDRAWN
    desk.now += SECOND
    assert desk.agree("patient-1", "BP-LOW", "systolic", '{"mmhg": "85", "kpa": "11.3"}')
    assert not desk.agree("patient-1", "BP-LOW", "systolic", '{"mmhg": "85", "kpa": "11.3"}')
    (again,) = desk.store.alerts.open_alerts()
    assert again.alert_id == before.alert_id
    assert dict(again.finding.reason)["limit"] == "85/60"
    latest = max(desk.table("setting"), key=lambda row: row["stated_at"])
    assert latest["id"] in again.finding.statements
    desk.now += SECOND
    desk.agree("patient-1", "BP-LOW", "systolic", "null")
    (default,) = desk.store.alerts.open_alerts()
    assert default.finding.statements == before.finding.statements
    assert len(desk.table("setting")) == 3
    assert [s.value for s in desk.store.registry.own_parameters()] == ["null"]


# --- the timer ---


def test_silence_is_found_by_time_alone_and_ends_when_something_comes(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.join("patient-1", "hypertension")
    send(desk, home, blood_pressure("120", minutes=60))
    silent_at = NOW + dt.timedelta(minutes=60, days=2)
    desk.wake(silent_at - SECOND)
    assert desk.queue() == []
    desk.wake(silent_at)
    assert desk.queue() == [("SILENCE", "missing")]
    send(desk, home, blood_pressure("121", minutes=3 * DAY))
    assert desk.queue() == []
    (row,) = [r for r in desk.table("alert") if r["rule"] == "SILENCE"]
    assert (row["state"], row["standing"]) == ("withdrawn", "resolved")
    assert [h["what"] for h in desk.table("alert_history")] == ["raised", "over"]
    # And when it turns out that there never was a silence, the finding is gone altogether.
    send(desk, home, blood_pressure("122", minutes=DAY))
    assert [r["standing"] for r in desk.table("alert") if r["rule"] == "SILENCE"] == ["resolved"]


def test_whoever_never_measured_is_silent_too(desk: BridgeDesk) -> None:
    desk.join("patient-1", "heart_failure")
    desk.wake(NOW + dt.timedelta(days=2))
    (alert,) = desk.store.alerts.open_alerts()
    assert (alert.finding.evidence, alert.finding.since) == ((), NOW)
    order = desk.store.deliveries.load_alert_order(alert.alert_id)
    assert order is not None
    assert order.reason.startswith("No weight for 2 days; nothing else came from the home either")
    send(desk, SealingHome(), weight("80.0", minutes=3 * DAY))
    assert desk.queue() == []


def test_a_long_silence_stays_one_item(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.join("patient-1", "hypertension")
    send(desk, home, blood_pressure("120"))
    for day in (2, 9, 30, 80):
        desk.wake(NOW + dt.timedelta(days=day, minutes=day))
    assert desk.queue() == [("SILENCE", "missing")]
    send(desk, home, blood_pressure("120", minutes=90 * DAY))
    assert desk.queue() == []
    assert [r["state"] for r in desk.table("alert") if r["rule"] == "SILENCE"] == ["withdrawn"]


def test_a_third_reading_is_asked_of_the_patient_alone(desk: BridgeDesk) -> None:
    home = SealingHome()
    send(desk, home, blood_pressure("140"), blood_pressure("125", minutes=1))
    assert desk.queue() == []
    assert desk.queue(Queue.PATIENT) == [("BP-THIRD", "")]
    (alert,) = desk.store.alerts.open_alerts(Queue.PATIENT)
    order = desk.store.deliveries.load_alert_order(alert.alert_id)
    assert order is not None
    assert (order.work, order.physician_text) == (None, None)
    assert order.patient_text is not None
    assert desk.store.alerts.delivered_alerts() == []
    send(desk, home, blood_pressure("130", minutes=2))
    assert desk.queue(Queue.PATIENT) == []


# --- late ---


def test_late_data_find_the_same_and_are_marked_late(tmp_path: Path) -> None:
    found = []
    for name, receive_at in (("in_time", 0), ("late", 5)):
        (tmp_path / name).mkdir()
        desk, home = BridgeDesk(tmp_path / name), SealingHome()
        desk.join("patient-1", "heart_failure")
        desk.now = NOW + dt.timedelta(days=receive_at)
        desk.receive(
            home, *(home.seal(told(weight(v, minutes=at))) for v, at in (("80.0", -DAY), ("82.5", 0)))
        )
        desk.wake(NOW + dt.timedelta(days=5))
        alerts = desk.store.alerts.open_alerts()
        found.append({a.finding for a in alerts if a.finding.rule == "WEIGHT-HF"})
        (alert,) = [a for a in alerts if a.finding.rule == "WEIGHT-HF"]
        assert alert.late is (name == "late")
        assert alert.urgency is (Severity.ROUTINE if alert.late else Severity.HIGH)
        desk.close()
    assert found[0] == found[1]


def test_what_came_late_and_goes_on_today_is_no_longer_late(desk: BridgeDesk) -> None:
    home = SealingHome()
    for day in (-4, -3, -2):
        send(desk, home, *(blood_pressure("150", minutes=day * DAY + m) for m in (0, 1)))
    (late,) = desk.store.alerts.open_alerts()
    assert late.late
    send(desk, home, *(blood_pressure("150", minutes=m) for m in (0, 1)))
    (alert,) = desk.store.alerts.open_alerts()
    assert (alert.alert_id, alert.late) == (late.alert_id, False)
    assert alert.due_at == desk.now + dt.timedelta(hours=4)


def test_what_is_dated_again_to_another_day_is_withdrawn_in_sight(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.join("patient-1", "heart_failure")
    heavy = weight("82.5")
    send(desk, home, weight("80.0", minutes=-DAY), heavy)
    assert desk.queue() == [("WEIGHT-HF", "gain")]
    desk.receive(home, home.seal([redated(heavy, NOW + dt.timedelta(days=9))]))
    assert ("WEIGHT-HF", "gain") not in desk.queue()
    assert [h["what"] for h in desk.table("alert_history")][:2] == ["raised", "withdrawn"]


# --- why nothing comes ---


def trouble(kind: DeviceEventKind, days: float) -> DeviceEvent:
    at = NOW + dt.timedelta(days=days)
    return DeviceEvent(event_id=UUID(int=int(days * 100) + 1), device=CUFF, kind=kind, at=at)


def adapter(kind: GatewayEventKind, days: float) -> GatewayEvent:
    at = NOW + dt.timedelta(days=days)
    return GatewayEvent(event_id=UUID(int=int(days * 100) + 1), kind=kind, at=at, boot_id=BOOT)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], "nothing else came from the home either: the gateway may be off"),
        ([weight("80", minutes=DAY)], "the gateway is heard, and nothing was measured"),
        ([trouble(DeviceEventKind.VISIT_FAILED, 1)], "the gateway is heard, and has trouble with"),
        ([trouble(DeviceEventKind.BATTERY_LOW, 1)], f"trouble with {CUFF.maker} {CUFF.model}"),
        ([trouble(DeviceEventKind.PAIRED, 1)], "the gateway is heard, and nothing was measured"),
        ([adapter(GatewayEventKind.ADAPTER_DEAD, 1)], "trouble with Bluetooth"),
        (
            [adapter(GatewayEventKind.ADAPTER_DEAD, 1), adapter(GatewayEventKind.ADAPTER_BACK, 1.5)],
            "the gateway is heard, and nothing was measured",
        ),
    ],
    ids=["gateway", "person", "device", "battery", "paired", "adapter", "adapter-back"],
)
@pytest.mark.parametrize("measured_before", [True, False])
def test_silence_is_split_into_gateway_device_and_person(
    desk: BridgeDesk, said: list[Any], reason: str, measured_before: bool
) -> None:
    home = SealingHome()
    desk.join("patient-1", "hypertension")
    if measured_before:
        send(desk, home, blood_pressure("120"))
    for item in said:
        at = item.time.received_at if isinstance(item, Measurement) else item.at
        desk.now = max(desk.now, at)
        desk.receive(home, home.seal(told(item) if isinstance(item, Measurement) else [item]))
    desk.wake(NOW + dt.timedelta(days=2, hours=1))
    (silent,) = desk.store.alerts.open_alerts()
    order = desk.store.deliveries.load_alert_order(silent.alert_id)
    assert order is not None
    assert order.reason.startswith("No blood pressure for 2 days; ")
    assert reason in order.reason
    chinese = reason_line(silent, "zh-Hans", desk.store.alerts.cause_of(silent.finding))
    assert "网关" in chinese
    # What is over, and what is no silence, has no such cause.
    over = replace(silent.finding, reason=(("text", "over"),))
    assert desk.store.alerts.cause_of(over) is None


def test_trouble_of_another_device_is_not_the_cause(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.join("patient-1", "hypertension")
    send(desk, home, blood_pressure("120"))
    desk.now = NOW + dt.timedelta(days=1)
    other = trouble(DeviceEventKind.VISIT_FAILED, 1)
    scale = CUFF.model_copy(update={"device_id": UUID(int=99), "model": "scale"})
    desk.receive(home, home.seal([other.model_copy(update={"device": scale})]))
    desk.wake(NOW + dt.timedelta(days=2, hours=1))
    (silent,) = desk.store.alerts.open_alerts()
    found = desk.store.alerts.cause_of(silent.finding)
    assert found is not None
    assert found.kind is CauseKind.PERSON


# --- equipment ---


def event(kind: DeviceEventKind, minutes: float = 0) -> DeviceEvent:
    at = NOW + dt.timedelta(minutes=minutes)
    return DeviceEvent(event_id=UUID(int=int(minutes) + 1), device=CUFF, kind=kind, at=at)


def test_equipment_is_the_installers_and_never_a_clinicians(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal([event(DeviceEventKind.BATTERY_LOW)]))
    desk.receive(home, home.seal([event(DeviceEventKind.VISIT_FAILED, 1)]))
    send(desk, home, blood_pressure("120", minutes=2, remarks=(Remark.CLOCK_AHEAD,)))
    assert desk.queue() == []
    assert desk.queue(Queue.INSTALLER) == [("TECHNICAL", "battery_low"), ("TECHNICAL", "clock_wrong")]
    assert [row["kind"] for row in desk.table("delivery")] == ["reading"]
    send(desk, home, blood_pressure("121", minutes=3))
    assert desk.queue(Queue.INSTALLER) == [("TECHNICAL", "battery_low")]
    (alert,) = desk.store.alerts.open_alerts(Queue.INSTALLER)
    assert desk.resolve(alert.alert_id, "installer-1", Outcome.REPAIRED)
    assert desk.table("downlink") == []  # nobody at home is told that "the nurse has seen it"


def test_a_silent_gateway_is_found_by_time_alone(desk: BridgeDesk) -> None:
    home = SealingHome()
    send(desk, home, blood_pressure("120"))
    desk.wake(NOW + dt.timedelta(hours=72) - SECOND)
    assert desk.queue(Queue.INSTALLER) == []
    desk.wake(NOW + dt.timedelta(hours=72))
    assert desk.queue(Queue.INSTALLER) == [("TECHNICAL", "silent")]
    desk.wake(NOW + dt.timedelta(days=60))
    assert desk.queue(Queue.INSTALLER) == [("TECHNICAL", "silent")]
    send(desk, home, blood_pressure("121", minutes=61 * DAY))
    assert desk.queue(Queue.INSTALLER) == []
    (row,) = [r for r in desk.table("alert") if r["subject"] == f"gateway:{GATEWAY}"]
    assert (row["state"], row["standing"]) == ("withdrawn", "resolved")


# --- replay ---


def test_each_revision_of_a_finding_is_found_again_after_everything_changed(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.join("patient-1", "hypertension", "heart_failure")
    first = blood_pressure("192", minutes=1)
    send(desk, home, first, blood_pressure("190", minutes=3))
    lower = tuple(c.model_copy(update={"value": (c.value or 0) - 30}) for c in first.components)
    later = first.time.model_copy(update={"received_at": NOW + dt.timedelta(hours=1)})
    send(desk, home, first.model_copy(update={"components": lower, "time": later}))
    desk.now += SECOND
    desk.agree("patient-1", "BP-SEVERE", "systolic", '{"mmhg": "200", "kpa": "26.7"}')
    judged = [one for row in desk.table("alert") for one in desk.store.judgements.of_alert(row["id"])]
    standings = [one.finding.standing for one in judged if one.finding.rule == "BP-SEVERE"]
    assert {Standing.UNCONFIRMED, Standing.CONFIRMED} <= set(standings)
    assert all(found_again(one) for one in judged)
    assert {one.finding.version for one in judged} == {"2"}
    with pytest.raises(Rejected, match="no alert"):
        desk.store.judgements.of_alert(UUID(int=1))


@pytest.mark.parametrize("change", ["rule_set", "contents", "settings"])
def test_a_replay_from_anything_else_is_not_the_same(desk: BridgeDesk, change: str) -> None:
    home = SealingHome()
    send(desk, home, blood_pressure("185", minutes=1))
    (alert,) = desk.store.alerts.open_alerts()
    (before,) = desk.store.judgements.of_alert(alert.alert_id)
    assert found_again(before)
    own = {
        "statement_id": str(UUID(int=1)), "rule": "BP-SEVERE", "parameter": "confirm_within_minutes",
        "value": "9", "author": "x", "reason": "y", "stated_at": NOW.isoformat(),
    }  # fmt: skip
    changed = {
        "rule_set": update(schema.rule_set).values(
            body=before.rule_set.replace('version = "2"', 'version = "3"')
        ),
        "contents": update(schema.judgement).values(contents="[]"),
        "settings": update(schema.judgement).values(settings=json.dumps({"own": [own]})),
    }
    with desk.store.engine.begin() as connection:
        connection.execute(changed[change])
    (after,) = desk.store.judgements.of_alert(alert.alert_id)
    assert not found_again(after)
