"""Steps in a profile's order; clocks in other layouts, zones and manners; links that replay."""

import datetime as dt

import pytest

from device_drivers.capture import Exchange, Kind, Origin, Session
from device_drivers.clock_sync import compare_clock
from device_drivers.date_time import DateTime
from device_drivers.driver import GatewayTime
from device_drivers.drivers.gatt_push import GattPush
from device_drivers.drivers.gatt_racp import GattRacp
from device_drivers.link import AttError, LinkLost, uuid16
from device_drivers.profile import DeviceProfile, parse_profile
from device_drivers.quantities.current_time import CurrentTime
from device_drivers.replay import GattReplay, SerialReplay
from wire_format.errors import MalformedPacket, Misconfigured
from wire_format.measurement import ClockTrust, Measurement
from wire_format.statements import DeviceEvent

from gatt_link import Kept, ScriptedDevice, visit_of
from virtual_time import virtually

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
PRESSURE = "1e800052006100ea070b180f1e004800010000"


def profile(extra: str, driver: str = "gatt_push") -> DeviceProfile:
    head = f'title = "x"\ndriver = "{driver}"\nevidence = "captured"\n'
    match = '[match]\nservices = ["1810"]\n[records]\ncharacteristics = ["2A35"]\nfirst_s = 1\n'
    return parse_profile("x", (head + match + extra).encode())


def now() -> GatewayTime:
    return GatewayTime(NOW, 50, 1)


def session(*exchange: Exchange) -> Session:
    return Session(id="s", origin=Origin.SYNTHETIC, source="made up", exchange=exchange)


def one(kind: Kind, on: str | None = None, data: str | None = None, **more: object) -> Exchange:
    return Exchange.model_validate({"kind": kind, "on": on, "hex": data, **more})


def run(chosen: DeviceProfile, *exchange: Exchange) -> tuple[Kept, GattReplay]:
    sink = Kept()

    async def visit() -> GattReplay:
        link = GattReplay(session(*exchange))
        driver = GattRacp() if chosen.driver == "gatt_racp" else GattPush()
        await driver.collect(link, visit_of(chosen, sink, now))
        return link

    return sink, virtually(visit())


STEPS = """
[[steps]]
do = "wait"
ms = 700
[[steps]]
do = "read"
on = "2A49"
[[steps]]
do = "write"
on = "FFE2"
hex = "A501"
[[steps]]
do = "clock"
[[steps]]
do = "subscribe"
on = "2A35"
"""


def test_steps_are_taken_in_the_profiles_order() -> None:
    sink, link = run(
        profile(STEPS),
        one(Kind.READ, "2A49", "0700"),
        one(Kind.WRITE, "FFE2", "a501"),
        one(Kind.NOTIFY, "2A35", PRESSURE),
    )
    assert link.written == [(uuid16(0xFFE2), b"\xa5\x01")]
    assert link.unrecorded == []
    assert [type(r) for r in sink.readings] == [Measurement]


def test_a_refused_step_ends_the_visit_unless_the_profile_says_otherwise() -> None:
    refused = (
        one(Kind.READ, "2A49", "0700"),
        one(Kind.WRITE, "FFE2", "a501"),
        one(Kind.REFUSED, code=0x80),
        one(Kind.NOTIFY, "2A35", PRESSURE),
    )
    with pytest.raises(AttError, match="0x80"):
        run(profile(STEPS), *refused)
    lenient = STEPS.replace('hex = "A501"', 'hex = "A501"\nrefusal_ends = false')
    assert len(run(profile(lenient), *refused)[0].readings) == 1


@pytest.mark.parametrize("driver", ["gatt_push", "gatt_racp"])
def test_a_step_that_a_driver_does_not_take_is_named(driver: str) -> None:
    wrong = profile('[[steps]]\ndo = "consent"\n', driver)
    if driver == "gatt_racp":
        records = wrong.records.model_copy(update={"characteristics": ("2A18",)})
        wrong = wrong.model_copy(update={"records": records})
    with pytest.raises(Misconfigured, match="consent"):
        run(wrong, one(Kind.NOTIFY, "2A35", PRESSURE))


async def set_clock(rules: str, device: ScriptedDevice) -> tuple[list[bytes], list[str], int | None]:
    sink = Kept()
    found = await compare_clock(device, visit_of(profile(f"[clock]\n{rules}"), sink, now))
    events = [e.kind.value for e in sink.readings if isinstance(e, DeviceEvent)]
    return [data for _, data in device.written], events, found.offset_ms if found else None


async def test_date_time_in_utc() -> None:
    slow = bytes(DateTime.of(dt.datetime(2026, 11, 24, 7, 0)))  # noqa: DTZ001 - a device clock has no zone
    device = ScriptedDevice(values={uuid16(0x2A08): slow})
    rules = 'characteristic = "2A08"\nlayout = "date_time"\nzone = "utc"\nwrite = "when_off"'
    written, events, offset = await set_clock(rules, device)
    assert written == [bytes(DateTime.of(dt.datetime(2026, 11, 24, 8, 0)))]  # noqa: DTZ001 - as above
    assert (events, offset) == (["clock_set"], -3_600_000)


async def test_a_clock_that_is_never_read_is_set_at_each_visit() -> None:
    device = ScriptedDevice(values={uuid16(0x2A08): b""})
    rules = 'characteristic = "2A08"\nlayout = "date_time"\nreadable = false\nwrite = "always"'
    written, events, offset = await set_clock(rules, device)
    assert (len(written), events, offset) == (1, ["clock_set"], None)
    unknowing = Kept()
    visit = visit_of(profile(f"[clock]\n{rules}"), unknowing, lambda: GatewayTime(NOW, None, 1))
    assert await compare_clock(device, visit) is None
    assert unknowing.readings == []


async def test_a_clock_that_does_not_keep_its_time_is_found_out() -> None:
    """The scripted device takes a write, and shows what it showed before."""
    for shown in (bytes(CurrentTime.of(dt.datetime(2026, 11, 24, 9, 0))), bytes(10), b"\1"):  # noqa: DTZ001 - as above
        device = ScriptedDevice(values={uuid16(0x2A2B): shown})
        rules = 'characteristic = "2A2B"\nwrite = "when_off"\nverify = true'
        _, events, _ = await set_clock(rules, device)
        assert events == ([] if shown == b"\1" else ["clock_refused"])


def test_a_clock_is_set_only_after_it_was_notified() -> None:
    rules = '[clock]\ncharacteristic = "2A2B"\nwrite = "after_notification"\nmaximum_drift_s = 600\n'
    slow = bytes(CurrentTime.of(dt.datetime(2026, 11, 24, 15, 0))).hex()  # noqa: DTZ001 - as above
    sink, link = run(
        profile(rules),
        one(Kind.SUBSCRIBE, "2A2B"),
        one(Kind.NOTIFY, "2A2B", slow),
        one(Kind.WRITE, "2A2B", varies=True),
        one(Kind.NOTIFY, "2A35", PRESSURE),
    )
    assert [name for name, _ in link.written] == [uuid16(0x2A2B)]
    (reading,) = [r for r in sink.readings if isinstance(r, Measurement)]
    assert reading.time.clock_offset_ms == -3_600_000
    silent, link = run(profile(rules), one(Kind.NOTIFY, "2A35", PRESSURE), one(Kind.SUBSCRIBE, "2A2B"))
    assert link.written == []
    assert len(silent.readings) == 1


def test_a_clock_that_is_not_believed_dates_nothing() -> None:
    sink, _ = run(profile("[clock]\nbelieved = false\n"), one(Kind.NOTIFY, "2A35", PRESSURE))
    (reading,) = [r for r in sink.readings if isinstance(r, Measurement)]
    assert (reading.time.measured, reading.time.trust) == (None, ClockTrust.NONE)
    assert reading.time.stated == dt.datetime(2026, 11, 24, 15, 30)  # noqa: DTZ001 - as above


def test_sentinels_and_plausible_bounds_are_the_profiles() -> None:
    rules = '[decode]\nabsent = { pulse_rate = ["72"] }\nplausible = { systolic = ["130", "200"] }\n'
    sink, _ = run(profile(rules), one(Kind.NOTIFY, "2A35", PRESSURE))
    (reading,) = [r for r in sink.readings if isinstance(r, Measurement)]
    assert [c.absent for c in reading.components][-1] == "not_measured"
    assert "implausible" in reading.remarks


async def test_a_replay_knows_only_what_was_recorded() -> None:
    link = GattReplay(
        session(one(Kind.READ, "2A49", "0700"), one(Kind.SUBSCRIBE, "2A35"), one(Kind.REFUSED, code=5))
    )
    with pytest.raises(AttError, match="0x0A"):
        await link.read(uuid16(0x2A35))
    assert [await link.read(uuid16(0x2A49)) for _ in range(2)] == [b"\x07\0"] * 2
    with pytest.raises(AttError, match="0x05"):
        await link.subscribe(uuid16(0x2A35), lambda _: None)
    await link.subscribe(uuid16(0x2A35), lambda _: None)
    await link.wait_closed()
    with pytest.raises(LinkLost):
        await link.read(uuid16(0x2A49))


async def test_a_serial_replay_keeps_what_did_not_suffice() -> None:
    exchange = [
        one(Kind.RECEIVED, data="0102"),
        one(Kind.SENT, data="aa"),
        one(Kind.RECEIVED, data="030d"),
        one(Kind.RECEIVED, data="04"),
        one(Kind.CLOSED),
    ]
    link = SerialReplay(session(*exchange))
    await link.line(9600)
    with pytest.raises(TimeoutError, match="3 bytes"):
        await link.exactly(3, 1)
    with pytest.raises(MalformedPacket, match="2 bytes came without"):
        await link.until(b"\r", 1, most=2)
    assert await link.exactly(2, 1) == b"\1\2"
    with pytest.raises(TimeoutError):
        await link.until(b"\r", 1)
    await link.send(b"\xbb")
    await link.send(b"\xaa")
    assert (link.unrecorded, link.sent, link.baud_rate) == ([b"\xbb"], [b"\xbb", b"\xaa"], 9600)
    assert await link.until(b"\r", 1) == b"\x03\r"
    assert await link.discard() == b"\4"
    for broken in (link.exactly(1, 1), link.until(b"\r", 1), link.send(b"")):
        with pytest.raises(LinkLost):
            await broken
    cut = SerialReplay(session(*exchange), cut_after=1)
    assert await cut.exactly(2, 1) == b"\1\2"
    with pytest.raises(LinkLost):
        await cut.send(b"\xaa")
