"""Record keepers beside glucose meters: new sessions, lost segments, and streams that are thinned."""

import datetime as dt

import pytest

from device_drivers.capture import Exchange, Kind, Origin, Session
from device_drivers.catalogue import Catalogue, driver_of
from device_drivers.date_time import DateTime
from device_drivers.driver import GatewayTime, RecordCursor
from device_drivers.elapsed_time import EPOCH_2000, ElapsedTime
from device_drivers.link import LinkLost, uuid16
from device_drivers.medfloat import MedFloat
from device_drivers.profile import DeviceProfile
from device_drivers.quantities.continuous_glucose import CgmMeasurement, SessionStart
from device_drivers.quantities.health_sensor import NumericValue, Observation, segmented
from device_drivers.quantities.record_access import RecordAccess
from device_drivers.replay import GattReplay
from wire_format.errors import MalformedPacket, Misconfigured, Rejected
from wire_format.measurement import Measurement
from wire_format.statements import DeviceEvent, DeviceEventKind, Undecodable

from gatt_link import Kept, ScriptedDevice, visit_of
from virtual_time import virtually

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
PROFILES = Catalogue().profiles
START = dt.datetime(2026, 11, 20, 9, 0)  # noqa: DTZ001 - a device clock has no zone
START_MINUTES = (START - EPOCH_2000) // dt.timedelta(minutes=1)


def one(kind: Kind, on: str, data: bytes | str | None = None) -> Exchange:
    text = data.hex() if isinstance(data, bytes) else data
    return Exchange.model_validate({"kind": kind, "on": on, "hex": text})


def run(
    name: str, *exchange: Exchange, cursor: RecordCursor | None = None, sink: Kept | None = None
) -> tuple[Kept, GattReplay]:
    sink = sink or Kept()
    session = Session(id="s", origin=Origin.SYNTHETIC, source="made up", exchange=exchange)

    async def visit() -> GattReplay:
        link = GattReplay(session)
        profile = PROFILES[name]
        now = GatewayTime(NOW, 50, 1)
        await driver_of(profile).collect(link, visit_of(profile, sink, lambda: now, cursor=cursor))
        return link

    return sink, virtually(visit())


def started(at: dt.datetime | None = START, zone_quarters: int = 32) -> Exchange:
    stamp = DateTime(bytes(7)) if at is None else DateTime.of(at)
    return one(Kind.READ, "2AAA", bytes(SessionStart(stamp, zone_quarters, 0)))


def counted(count: int, length: int = 2) -> tuple[Exchange, Exchange]:
    answer = b"\x05\x00" + count.to_bytes(length, "little")
    return one(Kind.WRITE, "2A52", "0401"), one(Kind.NOTIFY, "2A52", answer)


def sugar(offset: int) -> bytes:
    return bytes(CgmMeasurement(0, MedFloat(98, 2), offset))


def measured(sink: Kept) -> list[Measurement]:
    return [r for r in sink.readings if isinstance(r, Measurement)]


DONE = one(Kind.NOTIFY, "2A52", "06000101")


def test_only_what_is_newer_of_a_session_is_asked_for() -> None:
    sink, link = run(
        "standard/continuous_glucose",
        started(),
        *counted(3),
        one(Kind.WRITE, "2A52", "0103010b00"),
        one(Kind.NOTIFY, "2AA7", sugar(15)),
        DONE,
        cursor=RecordCursor(sequence=START_MINUTES + 10, count=2),
    )
    assert link.unrecorded == []
    (found,) = measured(sink)
    assert found.time.stated == START + dt.timedelta(minutes=15)
    assert found.time.zone_offset_minutes == 480
    assert sink.cursors[-1] == RecordCursor(sequence=START_MINUTES + 15, count=3)


def test_a_new_session_is_read_from_its_start_although_its_numbers_are_lower() -> None:
    later = START + dt.timedelta(days=10)
    sink, link = run(
        "standard/continuous_glucose",
        started(later),
        *counted(9),
        one(Kind.WRITE, "2A52", "0103010000"),
        one(Kind.NOTIFY, "2AA7", sugar(5)),
        DONE,
        cursor=RecordCursor(sequence=START_MINUTES + 5000, count=9),
    )
    assert link.unrecorded == []
    assert [m.record and m.record.base_time for m in measured(sink)] == [later.isoformat()]


def test_a_sensor_without_a_session_is_said_to_be() -> None:
    with pytest.raises(Rejected, match="when its session began"):
        run("standard/continuous_glucose", started(None), *counted(1))
    with pytest.raises(Rejected, match="cannot be read"):
        run("standard/continuous_glucose", one(Kind.READ, "2AAA", "00"), *counted(1))


def test_a_live_value_beside_the_stored_ones_is_no_stored_one_and_bad_records_are_kept_whole() -> None:
    broken = sugar(25) + b"\x09\x00"
    sink, _ = run(
        "standard/continuous_glucose",
        started(),
        one(Kind.WRITE, "2A52", "0401"),
        one(Kind.NOTIFY, "2AA7", sugar(20)),
        one(Kind.NOTIFY, "2AA7", broken),
        one(Kind.NOTIFY, "2AA7", ""),
        one(Kind.NOTIFY, "2A52", "06000406"),
    )
    assert [m.remarks for m in measured(sink)] == [(), ()]
    assert [r.raw.data for r in sink.readings if isinstance(r, Undecodable)] == [broken, b""]


def test_a_live_value_before_the_stored_ones_were_read_moves_no_cursor() -> None:
    sink = Kept()
    with pytest.raises(LinkLost):
        run(
            "standard/continuous_glucose",
            started(),
            one(Kind.WRITE, "2A52", "0401"),
            one(Kind.NOTIFY, "2AA7", sugar(500)),
            Exchange(kind=Kind.CLOSED),
            sink=sink,
        )
    assert len(measured(sink)) == 1
    assert sink.cursors == [None]


@pytest.mark.parametrize(("quarters", "minutes"), [(32, 480), (4, 60), (-128, 480)])
def test_a_session_is_dated_in_its_own_zone_and_in_the_homes_if_it_says_none(
    quarters: int, minutes: int
) -> None:
    sink, _ = run(
        "standard/continuous_glucose",
        started(zone_quarters=quarters),
        *counted(1),
        one(Kind.WRITE, "2A52", "0101"),
        one(Kind.NOTIFY, "2AA7", sugar(0)),
        DONE,
    )
    (found,) = measured(sink)
    assert found.time.zone_offset_minutes == minutes
    assert found.time.measured is not None
    assert found.time.measured.utc == START.replace(tzinfo=dt.UTC) - dt.timedelta(minutes=minutes)


@pytest.mark.parametrize(("data", "zone"), [("42780050006400{}", 0), ("60780050006400{}", 480)])
def test_a_time_stamp_counts_utc_and_the_users_time_is_the_homes(data: str, zone: int) -> None:
    seconds = (START - EPOCH_2000) // dt.timedelta(seconds=1)
    packet = data.format(seconds.to_bytes(4, "little").hex())
    sink, _ = run("standard/blood_pressure", one(Kind.NOTIFY, "2B34", packet))
    (found,) = measured(sink)
    assert (found.time.stated, found.time.zone_offset_minutes) == (START, zone)
    assert found.time.measured is not None
    assert found.time.measured.utc == START.replace(tzinfo=dt.UTC) - dt.timedelta(minutes=zone)


def test_a_stream_is_of_the_moment_and_a_spot_check_without_a_time_is_of_none() -> None:
    sink, _ = run(
        "standard/pulse_oximeter", one(Kind.NOTIFY, "2A5F", SETTLED), one(Kind.NOTIFY, "2A5E", "0062004800")
    )
    live, spot = measured(sink)
    assert live.time.measured is not None
    assert (live.time.measured.utc, live.time.measured.uncertainty_ms) == (NOW, 30_050)
    assert spot.time.measured is None


AT = ElapsedTime(0x22, 849_000_000, 6, 0)
PULSE = bytes(Observation(1, 3, 149546, (NumericValue(149546, 2720, MedFloat(72, 4)),), AT))
NONE_STORED = (*counted(0, 4),)


def test_an_observation_in_segments_is_whole_or_kept_as_bytes() -> None:
    a, b, c = segmented(PULSE, 12)[:3]
    rest = segmented(PULSE, 12)[3:]
    whole = [one(Kind.NOTIFY, "2B8B", packet) for packet in (a, b, b, c, *rest)]
    sink, _ = run("standard/health_sensor", *NONE_STORED, *whole)
    (found,) = measured(sink)
    assert [raw.data for raw in found.provenance.raw] == [a, b, c, *rest]
    lost = [one(Kind.NOTIFY, "2B8B", packet) for packet in (a, c, a, *segmented(PULSE, 100), b, a)]
    sink, _ = run("standard/health_sensor", *NONE_STORED, *lost)
    assert len(measured(sink)) == 1
    assert [r.raw.data for r in sink.readings if isinstance(r, Undecodable)] == [a, c, a, b, a]


def test_a_combined_report_may_be_followed_by_a_count_that_nobody_asked_for() -> None:
    record = b"\x08\0\0\0" + PULSE
    sink, link = run(
        "standard/health_sensor",
        *counted(3, 4),
        one(Kind.WRITE, "2A52", "07030106000000"),
        one(Kind.NOTIFY, "2A52", "05000000"),
        *(one(Kind.NOTIFY, "2BDD", packet) for packet in segmented(record, 40)),
        one(Kind.NOTIFY, "2A52", "080001000000"),
        cursor=RecordCursor(sequence=5, count=2),
    )
    assert link.unrecorded == []
    assert [m.record for m in measured(sink)] == [None]
    assert sink.cursors[-1] == RecordCursor(sequence=8, count=3)


def test_a_profile_must_name_what_it_reads_first() -> None:
    wrong = PROFILES["standard/glucose"].model_copy(
        update={"records": PROFILES["standard/weight_scale"].records}
    )

    async def visit() -> None:
        await driver_of(wrong).collect(
            ScriptedDevice(), visit_of(wrong, Kept(), lambda: GatewayTime(NOW, 50, 1))
        )

    with pytest.raises(Misconfigured, match="2A18, 2AA7, 2BDD"):
        virtually(visit())


@pytest.mark.parametrize("data", ["050001", "0500010000", "080001", "0600"])
def test_a_count_has_its_length(data: str) -> None:
    if data == "050001":
        assert RecordAccess.from_bytes(bytes.fromhex(data)).count == 1
        return
    if data == "080001":
        assert RecordAccess.from_bytes(bytes.fromhex(data)).count == 1
        return
    with pytest.raises(MalformedPacket):
        RecordAccess.from_bytes(bytes.fromhex(data))


# --- streams ---


def oximeter(every_s: int | None) -> DeviceProfile:
    profile = PROFILES["standard/pulse_oximeter"]
    records = profile.records.model_copy(update={"every_s": every_s, "idle_s": 0.05, "first_s": 0.2})
    return profile.model_copy(update={"records": records})


async def streamed(profile: DeviceProfile, packets: list[bytes], step_s: int = 1) -> Kept:
    sink, now_ns = Kept(), [0]

    def now() -> GatewayTime:
        return GatewayTime(NOW, 50, now_ns[0])

    class Ticking(ScriptedDevice):
        def _send(self, packets: object) -> bool:  # noqa: ARG002 - it sends all, each at its own time
            for packet in self.packets:
                now_ns[0] += step_s * 1_000_000_000
                super()._send([packet])
            return True

    device = Ticking(packets=[("2A5F", packet) for packet in packets])
    await driver_of(profile).collect(device, visit_of(profile, sink, now))
    return sink


SETTLED, EARLY, CUT = bytes.fromhex("04620048002001"), bytes.fromhex("04620048004000"), b"\x04\x62"


async def test_of_a_stream_one_settled_reading_in_a_minute_is_kept() -> None:
    sink = await streamed(oximeter(60), [EARLY] * 5 + [SETTLED] * 150)
    assert len(measured(sink)) == 3
    (event,) = [r for r in sink.readings if isinstance(r, DeviceEvent)]
    assert event.kind is DeviceEventKind.STREAM_THINNED
    assert event.detail == "155 readings were heard, 3 kept: one in 60 s."


async def test_a_broken_stream_does_not_flood_and_a_slow_one_is_kept_whole() -> None:
    sink = await streamed(oximeter(60), [CUT] * 100)
    assert len(sink.readings) == 2
    assert all(isinstance(r, Undecodable) for r in sink.readings)
    sink = await streamed(oximeter(60), [SETTLED] * 4, step_s=60)
    assert len(sink.readings) == 4
    sink = await streamed(oximeter(None), [SETTLED, EARLY, CUT])
    assert len(sink.readings) == 3


def test_a_live_sensor_that_never_falls_silent_is_left_in_time() -> None:
    profile = PROFILES["standard/health_sensor"]
    records = profile.records.model_copy(update={"overall_s": 2, "idle_s": 60})
    busy = profile.model_copy(update={"records": records})

    async def visit() -> ScriptedDevice:
        device = ScriptedDevice(values={uuid16(0x2A52): b"", uuid16(0x2BDD): b"", uuid16(0x2B8B): b""})
        await driver_of(busy).collect(device, visit_of(busy, Kept(), lambda: GatewayTime(NOW, 50, 1)))
        return device

    assert virtually(visit()).written[-1] == (uuid16(0x2A52), b"\x03\x00")
