"""Scales that advertise: what is one reading of several frames, and what is none."""

import asyncio
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from device_drivers.capture import Exchange, Kind, Origin, Session, summary
from device_drivers.catalogue import Catalogue, advert_driver_of, driver_of
from device_drivers.date_time import DateTime
from device_drivers.driver import GatewayTime
from device_drivers.link import Sighting, uuid16
from device_drivers.profile import DeviceProfile
from device_drivers.replay import AdvertReplay
from device_drivers.vendors.xiaomi import Layout, MiBeacon, NotOpened, WeighInFrame, WeighInObject
from wire_format.errors import MalformedPacket, Misconfigured
from wire_format.measurement import ClockTrust, Measurement, Remark
from wire_format.nomenclature import Term, Unit
from wire_format.statements import Undecodable
from wire_format.units import convert

from gatt_link import Kept, ScriptedDevice, visit_of
from virtual_time import virtually

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
CLOCK = dt.datetime(1970, 3, 1, 12, 0)  # noqa: DTZ001 - a device clock has no zone
PROFILES = Catalogue(enabled=["xiaomi/s400"]).on
WEIGHT, COMPOSITION = PROFILES["xiaomi/mi_scale"], PROFILES["xiaomi/mi_body_composition_scale"]
S400 = PROFILES["xiaomi/s400"]
KEY, ADDRESS = bytes(range(16)), "C0:FF:EE:00:00:01"
LOWEST_FIRST = bytes.fromhex(ADDRESS.replace(":", ""))[::-1]
SETTLING, STABLE, MEASURED, GONE, GONE_MEASURED = 0x0402, 0x2402, 0x2602, 0xA402, 0xA602


def frame(control: int, weight: int = 16000, *, second: int = 0, impedance: int = 0) -> bytes:
    stamp = DateTime.of(CLOCK + dt.timedelta(seconds=second))
    layout = Layout.WEIGHT if control < 0x100 else Layout.COMPOSITION
    return bytes(WeighInFrame(layout, control, weight, stamp, impedance))


def advertised(
    profile: DeviceProfile, *packets: bytes, key: bytes | None = KEY, address: str | None = ADDRESS
) -> tuple[Kept, Exception | None]:
    name = profile.records.characteristics[0]
    heard = [Exchange(kind=Kind.ADVERT, service_data={name: packet.hex()}) for packet in packets]
    session = Session(id="x", origin=Origin.SYNTHETIC, source="here", exchange=tuple(heard))
    sink = Kept()
    visit = visit_of(profile, sink, lambda: GatewayTime(NOW, 50, 1), bind_key=key, address=address)
    try:
        virtually(advert_driver_of(profile).collect(AdvertReplay(session), visit))
    except Misconfigured as error:
        return sink, error
    return sink, None


def said(sink: Kept) -> list[Any]:
    return [
        (m.value(Term.BODY_WEIGHT), m.value(Term.IMPEDANCE)) if isinstance(m, Measurement) else m.raw.data
        for m in sink.readings
        if isinstance(m, Measurement | Undecodable)
    ]


def composition(*packets: bytes) -> list[Any]:
    return said(advertised(COMPOSITION, *packets)[0])


def test_the_frames_of_a_weigh_in_are_one_reading_with_its_impedance() -> None:
    whole = (
        frame(SETTLING, 9000),
        frame(STABLE, second=3),
        frame(MEASURED, second=3, impedance=500),
        frame(GONE_MEASURED, second=3, impedance=500),
    )
    assert composition(*whole) == [(Decimal(80), Decimal(500))]
    assert composition(*whole[:2]) == [(Decimal(80), None)]
    assert composition(*whole[:2], whole[3], whole[3]) == [(Decimal(80), Decimal(500))]


def test_an_unstable_frame_is_never_a_reading() -> None:
    empty = frame(0x82, 10)
    assert advertised(WEIGHT, frame(0x02), empty, frame(0x12), frame(0x03))[0].readings == []
    assert composition(frame(SETTLING), frame(0x8402, 12)) == []


def test_a_weight_whose_impedance_never_comes_is_a_reading_all_the_same() -> None:
    for end in (frame(GONE), frame(SETTLING, 12), frame(GONE, 9000)):
        assert composition(frame(SETTLING), frame(STABLE), end)[:1] == [(Decimal(80), None)]
    for failed in (0, 0xFFFD, 0xFFFE, 0xFFFF):
        assert composition(frame(SETTLING), frame(MEASURED, impedance=failed)) == [(Decimal(80), None)]


def test_two_people_of_one_weight_are_two_readings() -> None:
    one = (frame(0x22, second=3), frame(0xA2, second=3))
    two = (frame(0x22, second=60), frame(0xA2, second=60))
    for between in ((), (frame(0x02, 9000, second=50),)):
        sink, _ = advertised(WEIGHT, *one, *between, *two)
        assert len({m.measurement_id for m in sink.readings if isinstance(m, Measurement)}) == 2
    assert len(advertised(WEIGHT, *one, one[1], one[1])[0].readings) == 1


def test_a_weigh_in_that_is_advertised_again_is_the_same_and_is_not_dated_by_its_arrival() -> None:
    live, again = frame(0x22, second=3), frame(0xA2, second=3)
    (first,) = advertised(WEIGHT, frame(0x02), live)[0].readings
    (second,) = advertised(WEIGHT, again)[0].readings
    assert isinstance(first, Measurement)
    assert isinstance(second, Measurement)
    assert first.measurement_id == second.measurement_id
    assert first.time.measured is not None
    assert (first.time.measured.utc, first.time.trust) == (NOW, ClockTrust.NONE)
    assert second.time.measured is None
    assert Remark.STORED_RECORD in second.remarks
    assert Remark.CLOCK_UNSET in first.remarks
    blank = WeighInFrame(Layout.WEIGHT, 0x22, 100, DateTime(bytes(7)))
    assert blank.decoded(WEIGHT.decode).sequence is None


def test_the_scales_unit_is_kept_and_is_exact() -> None:
    (found,) = advertised(WEIGHT, frame(0x32, 14120))[0].readings
    assert isinstance(found, Measurement)
    (part,) = found.components
    assert (part.value, part.unit, part.unit.value) == (Decimal("141.20"), Unit.JIN, "kg/2")
    assert convert(Decimal("141.20"), Unit.JIN, Unit.KG) == Decimal("70.60")
    assert convert(Decimal("70.60"), Unit.KG, Unit.JIN) == Decimal("141.20")
    assert WeighInFrame.from_bytes(frame(0x23), Layout.WEIGHT).unit is Unit.POUND
    with pytest.raises(MalformedPacket, match="pound and jin"):
        WeighInFrame.from_bytes(frame(0x33), Layout.WEIGHT)


def test_frames_that_nobody_understands_are_kept_but_not_without_end() -> None:
    strange = [bytes([number]) for number in range(30)]
    assert len(advertised(WEIGHT, *strange)[0].readings) == 20
    assert len(advertised(S400, *strange)[0].readings) == 20
    longer = frame(0x22) + b"\x01"
    (found,) = advertised(WEIGHT, longer)[0].readings
    assert Remark.TRAILING_BYTES.value in summary(found)["remarks"]
    assert bytes(WeighInFrame.from_bytes(longer, Layout.WEIGHT)) == longer
    both = frame(MEASURED, impedance=7)
    assert bytes(WeighInFrame.from_bytes(both, Layout.COMPOSITION)) == both


class Nothing:
    """A link on which something of another service is advertised, without end."""

    def __init__(self) -> None:
        self.handler: Any = None

    def listen(self, handler: Any) -> None:
        self.handler = handler

    async def silent(self, for_s: float) -> None:
        while True:
            await asyncio.sleep(for_s)
            self.handler(Sighting(ADDRESS, None, frozenset(), service_data={uuid16(0x180F): b"\x63"}))


@pytest.mark.parametrize("profile", [WEIGHT, S400], ids=lambda p: p.name)
def test_a_scale_that_advertises_without_end_is_left(profile: DeviceProfile) -> None:
    sink = Kept()
    visit = visit_of(profile, sink, lambda: GatewayTime(NOW, 50, 1))
    virtually(advert_driver_of(profile).collect(Nothing(), visit))
    assert sink.readings == []


# --- the S400 ---

BAREFOOT = WeighInObject(profile=1, weight=699, pulse=42, impedance=5432, time=1_700_000_000)
SECOND = WeighInObject(profile=1, weight=0, pulse=0, impedance=4976, time=1_700_000_000)
OFF = WeighInObject(profile=1, weight=0, pulse=0, impedance=0, time=1_700_000_000)


def beacon(one: WeighInObject, counter: int = 1, *, key: bytes = KEY, control: int = 0x5948) -> bytes:
    head = MiBeacon(control, 0x3BD5, counter, LOWEST_FIRST if control & 0x10 else None, None, b"")
    return bytes(head.sealed(key, LOWEST_FIRST, bytes(one), b"\1\0\0"))


def test_two_packets_make_one_reading_whichever_comes_first() -> None:
    one, two = beacon(BAREFOOT, 1), beacon(SECOND, 2)
    for packets in ((one, two, one), (two, one), (beacon(BAREFOOT, 1, control=0x5958), two)):
        sink, ended = advertised(S400, *packets)
        (found,) = sink.readings
        assert ended is None
        assert isinstance(found, Measurement)
        assert [str(c.value) for c in found.components] == ["69.9", "92", "543.2", "497.6"]
        assert len(found.provenance.raw) == 2


def test_half_a_weigh_in_is_a_reading_only_if_it_is_the_half_with_the_weight() -> None:
    for end in ((), (beacon(OFF, 3),), (b"\x58",)):
        sink, _ = advertised(S400, beacon(BAREFOOT), *end)
        assert Decimal("69.9") in [
            r.value(Term.BODY_WEIGHT) for r in sink.readings if isinstance(r, Measurement)
        ]
    sink, _ = advertised(S400, beacon(SECOND))
    (kept,) = sink.readings
    assert isinstance(kept, Undecodable)
    assert "weight did not come" in kept.reason
    later = WeighInObject(1, 700, 0, 0, BAREFOOT.time + 60)
    assert len(advertised(S400, beacon(BAREFOOT), beacon(later, 2), beacon(OFF, 3))[0].readings) == 2


def test_a_scale_without_a_clock_has_readings_without_a_time() -> None:
    unset = WeighInObject(1, 700, 0, 0, 0)
    (found,) = advertised(S400, beacon(unset))[0].readings
    assert isinstance(found, Measurement)
    assert (found.record, found.time.stated) == (None, None)


@pytest.mark.parametrize(
    ("key", "advice"), [(None, "is not configured"), (b"\xff" * 16, "opens with its bind key")]
)
def test_a_missing_or_wrong_key_is_said_once_with_what_to_do_and_loses_nothing(
    key: bytes | None, advice: str
) -> None:
    packets = (beacon(BAREFOOT, 1), beacon(SECOND, 2), beacon(OFF, 3))
    sink, ended = advertised(S400, *packets, key=key)
    assert said(sink) == list(packets)
    assert ended is not None
    assert advice in str(ended)
    assert "bind_key" in str(ended)
    assert KEY.hex() not in str(ended)


def test_one_damaged_packet_does_not_make_the_key_wrong() -> None:
    damaged = beacon(SECOND, 2)[:-1] + b"\0"
    sink, ended = advertised(S400, beacon(BAREFOOT), damaged)
    assert ended is None
    assert len(said(sink)) == 2


def test_an_unknown_address_is_named() -> None:
    _, ended = advertised(S400, beacon(BAREFOOT), address=None)
    assert "address" in str(ended)


def test_beacons_that_are_not_the_scales_weigh_in_are_told_apart() -> None:
    presence = bytes(MiBeacon(0x5A30, 0x3BD5, 0, LOWEST_FIRST, 8, b""))
    assert bytes(MiBeacon.from_bytes(presence)) == presence
    assert advertised(S400, presence)[0].readings == []
    plain = bytes(MiBeacon(0x5940, 0x3BD5, 1, None, None, bytes(BAREFOOT)))
    assert len(advertised(S400, plain)[0].readings) == 1
    for strange in (
        bytes(MiBeacon(0x5940, 0x3BD5, 1, None, None, bytes(BAREFOOT) + b"\0")),
        bytes(MiBeacon(0x5940, 0x3BD5, 1, None, None, b"\x01\x10\x09" + bytes(9))),
        bytes(MiBeacon(0x5940, 0x1111, 1, None, None, bytes(BAREFOOT))),
    ):
        (kept,) = advertised(S400, strange)[0].readings
        assert isinstance(kept, Undecodable)
    with pytest.raises(MalformedPacket, match="too short"):
        MiBeacon.from_bytes(beacon(BAREFOOT)[:11]).opened(KEY, LOWEST_FIRST)
    with pytest.raises(NotOpened):
        MiBeacon.from_bytes(beacon(BAREFOOT)).opened(KEY[::-1], LOWEST_FIRST)
    assert WeighInObject.from_bytes(bytes(BAREFOOT)) == BAREFOOT


class Endless(ScriptedDevice):
    """Sends a frame that has not settled every second, and never goes."""

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        del characteristic
        handler(frame(SETTLING))
        asyncio.get_running_loop().call_later(1, lambda: asyncio.ensure_future(self.subscribe("", handler)))


def test_a_connected_scale_that_sends_without_end_is_left() -> None:
    profile, sink = PROFILES["xiaomi/mi_body_composition_scale_gatt"], Kept()

    async def visit() -> None:
        where = visit_of(profile, sink, lambda: GatewayTime(NOW, 50, 1))
        await driver_of(profile).collect(Endless(), where)

    virtually(visit())
    assert sink.readings == []
