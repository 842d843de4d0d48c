"""Record keepers: all records once, in batches, with their contexts; cursors; meters that break off."""

import contextlib
import datetime as dt

import pytest

from device_drivers.catalogue import Catalogue, driver_of
from device_drivers.device_time import local_digits
from device_drivers.driver import GatewayTime, RecordCursor
from device_drivers.link import LinkLost
from device_drivers.profile import DeviceProfile, long_uuid
from device_drivers.quantities.current_time import CurrentTime
from wire_format.measurement import GlucoseContext, Measurement
from wire_format.statements import DeviceEvent, Undecodable

from gatt_link import Kept, Packet, ScriptedDevice, visit_of

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
PROFILES = Catalogue().profiles


def now() -> GatewayTime:
    return GatewayTime(NOW, 50, 1_000_000_000)


def sample(source: str, number: int) -> bytes:
    """A whole, valid packet of one characteristic; `number` tells packets apart."""
    at = local_digits(NOW, 480) - dt.timedelta(minutes=30 - number)
    stamp = at.year.to_bytes(2, "little") + bytes([at.month, at.day, at.hour, at.minute, at.second])
    return {
        "2A18": b"\x1b" + number.to_bytes(2, "little") + stamp + bytes.fromhex("00006fb0f80000"),
        "2A34": b"\x02" + number.to_bytes(2, "little") + b"\x01",
    }[source]


def quick(profile: DeviceProfile) -> DeviceProfile:
    """The same profile without its patience."""
    records = profile.records.model_copy(update={"first_s": 0.2, "idle_s": 0.05, "overall_s": 5})
    return profile.model_copy(update={"records": records})


def measured(sink: Kept) -> list[Measurement]:
    return [r for r in sink.readings if isinstance(r, Measurement)]


def sequences(sink: Kept) -> list[int]:
    return [r.record.sequence for r in measured(sink) if r.record]


async def collect(name: str, device: ScriptedDevice, cursor: RecordCursor | None = None) -> Kept:
    sink = Kept()
    profile = quick(PROFILES[name])
    with contextlib.suppress(LinkLost):  # what was committed before is what counts
        await driver_of(profile).collect(device, visit_of(profile, sink, now, cursor=cursor))
    return sink


def records(count: int, first: int = 1) -> list[tuple[int, list[Packet]]]:
    return [
        (n, [("2A18", sample("2A18", n)), ("2A34", sample("2A34", n))]) for n in range(first, first + count)
    ]


async def test_all_records_come_once_in_batches_with_their_context() -> None:
    device = ScriptedDevice(records=records(120))
    sink = await collect("standard/glucose", device)
    assert sink.batches == [50, 50, 20]
    assert [c.sequence for c in sink.cursors if c] == [50, 100, 120]
    assert all(isinstance(r.context, GlucoseContext) and r.context.meal for r in measured(sink))
    assert len({r.measurement_id for r in measured(sink)}) == 120
    assert all(data[0] != 2 for _, data in device.written)


async def test_the_next_visit_asks_for_what_is_newer() -> None:
    device = ScriptedDevice(records=records(5))
    sink = await collect("standard/glucose", device, RecordCursor(sequence=3, count=3))
    assert sequences(sink) == [4, 5]
    none = await collect(
        "standard/glucose", ScriptedDevice(records=records(5)), RecordCursor(sequence=5, count=5)
    )
    assert none.readings == []


@pytest.mark.parametrize("cursor", [RecordCursor(sequence=90, count=9), RecordCursor(sequence=90, count=2)])
async def test_numbers_that_began_anew_mean_a_full_reading(cursor: RecordCursor) -> None:
    sink = await collect("standard/glucose", ScriptedDevice(records=records(4)), cursor)
    assert isinstance(sink.readings[0], DeviceEvent)
    assert sequences(sink) == [1, 2, 3, 4]
    assert sink.cursors[-1] == RecordCursor(sequence=4, count=4)


async def test_a_meter_that_breaks_off_keeps_what_it_sent() -> None:
    for broken in range(1, 9):
        device = ScriptedDevice(records=records(4), break_after=broken)
        sink = await collect("standard/glucose", device)
        assert len(measured(sink)) == broken // 2  # the count's answer is the first packet, then pairs


async def test_broken_records_contexts_and_answers_are_kept() -> None:
    packets: list[Packet] = [
        ("2A18", b"\x02\x01"),
        ("2A34", b"\x02\x09\x00\x01"),
        ("2A34", b"\x02"),
        ("2A52", b"\x05\x00\x01\x02\x03"),
        ("2A18", sample("2A18", 1)),
    ]
    sink = await collect("standard/glucose", ScriptedDevice(records=[(1, packets)]))
    kept = [r for r in sink.readings if isinstance(r, Undecodable)]
    assert [(u.raw.source, u.raw.data) for u in kept] == packets[:4]
    assert len(measured(sink)) == 1


def last_cursor(sink: Kept) -> RecordCursor | None:
    return next((cursor for cursor in reversed(sink.cursors) if cursor), None)


@pytest.mark.parametrize("count", [4, 50, 120])
async def test_a_meter_that_sends_the_newest_first_and_breaks_off_loses_nothing(count: int) -> None:
    newest_first = list(reversed(records(count)))
    for broken in (2, 3, count, 2 * count - 1, 2 * count, 2 * count + 1):
        first = await collect("standard/glucose", ScriptedDevice(records=newest_first, break_after=broken))
        again = await collect("standard/glucose", ScriptedDevice(records=newest_first), last_cursor(first))
        assert {*sequences(first), *sequences(again)} == set(range(1, count + 1))
        assert last_cursor(again) == RecordCursor(sequence=count, count=count)
        assert (
            sequences(
                await collect("standard/glucose", ScriptedDevice(records=records(count)), last_cursor(again))
            )
            == []
        )


async def test_a_clock_is_set_only_when_every_record_is_committed() -> None:
    """A record that is left for the next visit is still dated by the clock under which it was stored."""
    hour_slow = local_digits(NOW, 480) - dt.timedelta(hours=1)
    clock = {long_uuid("2A2B"): bytes(CurrentTime.of(hour_slow))}
    broken = ScriptedDevice(records=records(4), values=dict(clock), break_after=4)
    first = await collect("standard/glucose", broken)
    assert [name for name, _ in broken.written if name == long_uuid("2A2B")] == []
    assert [r for r in first.readings if isinstance(r, DeviceEvent)] == []
    whole = ScriptedDevice(records=records(4), values=dict(clock))
    again = await collect("standard/glucose", whole, last_cursor(first))
    assert {m.time.clock_offset_ms for m in measured(again)} == {-3_600_000}
    assert [name for name, _ in whole.written][-1] == long_uuid("2A2B")
    assert isinstance(again.readings[-1], DeviceEvent)
