"""From readings to durable envelopes: one person each, assignment beside, nothing sealed twice."""

import datetime as dt
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from device_drivers.driver import RecordCursor
from edge_agent.assignment import Pairing
from edge_agent.clock import GatewayClock, vouched
from edge_agent.outbox import Outbox
from edge_agent.outbox_file import Advance
from edge_agent.sink import GatewayVoice, OutboxSink, Sealer
from edge_agent.steps import Step
from tests.doubles.edge_readings import BOOT, CUFF, NOON, bridge_keys, gateway_keys, pressure
from wire_format.codec import Item, decode_items
from wire_format.envelope import open_sealed
from wire_format.errors import Rejected
from wire_format.measurement import DeviceTime, Measurement, RawPacket
from wire_format.statements import (
    Assignment,
    DeviceEvent,
    DeviceEventKind,
    GatewayEvent,
    GatewayEventKind,
    Redating,
    Undecodable,
)

CLOCK = GatewayClock(BOOT, uncertainty=vouched(5), utc=lambda: NOON)
SEALER = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
SINCE = NOON - dt.timedelta(days=1)


def sink(folder: Path, steps: list[Step] | None = None) -> OutboxSink:
    def observe(step: Step, _facts: object) -> None:
        if steps is not None:
            steps.append(step)

    box = Outbox(folder, "gw-1", utc=lambda: NOON, observer=observe)
    people = (Pairing(CUFF.device_id, "home-1/a", 1, SINCE), Pairing(CUFF.device_id, "home-1/b", 2, SINCE))
    return OutboxSink(box, SEALER, CLOCK, CUFF.device_id, people, observe)


def payloads(box: Outbox) -> list[tuple[Item, ...]]:
    def opened(data: bytes) -> bytes:
        return open_sealed(data, lambda _: gateway_keys().signing.public, bridge_keys().by_id).payload

    return [decode_items(opened(box.load(key) or b"")) for key in box.unsettled()]


def test_what_is_committed_is_what_the_hospital_opens(tmp_path: Path) -> None:
    steps: list[Step] = []
    one = sink(tmp_path, steps)
    one.commit([pressure(120, user=1)], cursor=RecordCursor(sequence=4, count=9))
    ((measurement, assignment),) = payloads(one.outbox)
    assert measurement == pressure(120, user=1)
    assert isinstance(assignment, Assignment)
    assert (assignment.measurement_id, assignment.person) == (
        pressure(120, user=1).measurement_id,
        "home-1/a",
    )
    assert one.outbox.advance_of(CUFF.device_id) == Advance(CUFF.device_id, 4, 9)
    assert steps == [Step.COMMIT_CALLED, Step.SEALED, Step.OUTBOX_WRITTEN, Step.OUTBOX_COMMITTED]


def test_one_envelope_is_about_one_person(tmp_path: Path) -> None:
    one = sink(tmp_path)
    one.commit(
        [pressure(120, user=1), pressure(130, user=2), pressure(140, user=1), pressure(150, user=None)]
    )
    found = [
        (
            {item.person for item in items if isinstance(item, Assignment)},
            [item.components[0].value for item in items if isinstance(item, Measurement)],
        )
        for items in payloads(one.outbox)
    ]
    assert found == [({"home-1/a"}, [120, 140]), ({"home-1/b"}, [130]), ({None}, [150])]


def test_a_device_that_sends_its_records_again_adds_nothing(tmp_path: Path) -> None:
    one = sink(tmp_path)
    one.commit([pressure(120, user=1)])
    one.commit([pressure(120, user=1), pressure(130, user=1), pressure(130, user=1)])
    values = [
        i.components[0].value for items in payloads(one.outbox) for i in items if isinstance(i, Measurement)
    ]
    assert values == [120, 130]
    one.commit([pressure(120, user=1)], cursor=RecordCursor(sequence=1, count=1))
    assert len(payloads(one.outbox)) == 2
    assert one.outbox.advance_of(CUFF.device_id) == Advance(CUFF.device_id, 1, 1)


def test_a_record_that_says_more_than_before_is_sealed_as_a_revision(tmp_path: Path) -> None:
    one = sink(tmp_path)
    first = pressure(120, user=1)
    one.commit([first])
    one.commit([first.model_copy(update={"user": 2})])
    ids = [i.measurement_id for items in payloads(one.outbox) for i in items if isinstance(i, Measurement)]
    assert ids == [first.measurement_id] * 2


def test_events_and_undecodable_bytes_travel_too(tmp_path: Path) -> None:
    one = sink(tmp_path)
    event = DeviceEvent(event_id=uuid4(), device=CUFF, kind=DeviceEventKind.BATTERY_LOW, at=NOON)
    time = DeviceTime(received_at=NOON, boot_id=BOOT, monotonic_ns=1)
    lost = Undecodable(
        item_id=UUID(int=3),
        device=CUFF,
        profile="standard/blood_pressure",
        raw=RawPacket(source="2A35", data=b"\1"),
        reason="too short",
        time=time,
    )
    one.commit([event, lost])
    one.commit([lost])
    assert payloads(one.outbox) == [(event, lost)]


def test_more_than_fifty_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="51"):
        sink(tmp_path).commit([pressure(120)] * 51)


def test_the_gateway_speaks_of_itself_and_anchors_a_boot_once(tmp_path: Path) -> None:
    box = Outbox(tmp_path, "gw-1", utc=lambda: NOON)
    unsure = GatewayClock(BOOT, uncertainty=lambda: None, utc=lambda: NOON)
    assert not GatewayVoice(box, SEALER, unsure).anchor_once()
    voice = GatewayVoice(box, SEALER, CLOCK)
    voice.tell(GatewayEventKind.STARTED)
    assert voice.anchor_once()
    assert not voice.anchor_once()
    (event,), (anchor,) = payloads(box)
    assert isinstance(event, GatewayEvent)
    assert event.kind is GatewayEventKind.STARTED
    assert isinstance(anchor, Redating)
    assert anchor.boot_id == BOOT
