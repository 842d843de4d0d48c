"""Profiles: what is wrong in one is named; two that fit alike are refused; clocks are compared and set."""

import datetime as dt

import pytest

from device_drivers.catalogue import Catalogue
from device_drivers.clock_sync import CURRENT_TIME, compare_clock
from device_drivers.device_time import local_digits
from device_drivers.driver import GatewayTime
from device_drivers.drivers.gatt_push import GattPush
from device_drivers.information import (
    FIRMWARE,
    MANUFACTURER,
    SERIAL,
    SYSTEM_ID,
    Information,
    read_information,
)
from device_drivers.link import Sighting, uuid16
from device_drivers.profile import load_profiles, long_uuid, parse_profile
from device_drivers.quantities.current_time import CurrentTime
from wire_format.errors import Misconfigured
from wire_format.statements import DeviceEvent, DeviceEventKind

from gatt_link import Kept, ScriptedDevice, visit_of

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
GOOD = b"""
title = "x"
driver = "gatt_push"
evidence = "specification"
[match]
services = ["1810"]
[records]
characteristics = ["2A35"]
"""


def now() -> GatewayTime:
    return GatewayTime(NOW, 50, 1)


def sighting(name: str | None, *services: int) -> Sighting:
    return Sighting("00:00", name, frozenset(map(uuid16, services)))


@pytest.mark.parametrize(
    ("name", "services", "expected"),
    [
        ("Any cuff", (0x1810,), "standard/blood_pressure"),
        ("BM85 x", (0x1810,), "beurer/bm85"),
        (None, (0x1810, 0x180A), "standard/blood_pressure"),
        ("scale", (0x181D,), "standard/weight_scale"),
        ("scale", (0x181D, 0x181B), "standard/body_composition"),
        ("meter", (0x1808,), "standard/glucose"),
        ("heart", (0x180D,), None),
    ],
)
def test_the_narrowest_profile_fits(
    name: str | None, services: tuple[int, ...], expected: str | None
) -> None:
    profile = Catalogue().match(sighting(name, *services))
    assert (profile.name if profile else None) == expected


def test_two_that_fit_alike_are_refused() -> None:
    both = {name: parse_profile(name, GOOD) for name in ("a/one", "b/two")}
    with pytest.raises(Misconfigured, match="a/one, b/two alike"):
        Catalogue(both).match(sighting("x", 0x1810))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"title = ", "no TOML"),
        (b"\xff", "no TOML"),
        (GOOD + b"[colour]\n", "colour"),
        (GOOD.replace(b'"1810"', b'"18"'), "no Bluetooth UUID"),
        (GOOD.replace(b'"specification"', b'"hearsay"'), "evidence"),
        (GOOD.replace(b'["1810"]', b"[]"), "match.services"),
    ],
)
def test_what_is_wrong_in_a_profile_is_named(content: bytes, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        parse_profile("x/y", content)


def test_an_unknown_driver_or_name_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"'magic'\. There are: gatt_push, gatt_racp"):
        Catalogue({"x": parse_profile("x", GOOD.replace(b"gatt_push", b"magic"))})
    with pytest.raises(Misconfigured, match="standard/glucose"):
        Catalogue().named("standard/sugar")


def test_a_profile_is_short_and_its_hash_is_that_of_its_file() -> None:
    profiles = load_profiles()
    assert len({p.content_hash for p in profiles.values()}) == len(profiles) == 7
    assert long_uuid("00000000-0002-11E2-9E96-0800200C9A66") == "00000000-0002-11e2-9e96-0800200c9a66"


def clock(offset: dt.timedelta) -> dict[str, bytes]:
    return {CURRENT_TIME: bytes(CurrentTime.of(local_digits(NOW + offset, 480)))}


async def compared(device: ScriptedDevice, at: GatewayTime | None = None) -> tuple[int | None, Kept]:
    sink = Kept()
    visit = visit_of(load_profiles()["standard/blood_pressure"], sink, lambda: at or now())
    comparison = await compare_clock(device, visit)
    return (comparison.offset_ms if comparison else None), sink


async def test_a_right_clock_is_left_alone() -> None:
    device = ScriptedDevice(values=clock(dt.timedelta(seconds=30)))
    assert await compared(device) == (30_000, Kept())
    assert device.written == []


async def test_a_wrong_clock_is_set_and_its_old_offset_is_kept() -> None:
    device = ScriptedDevice(values=clock(dt.timedelta(hours=-3)))
    offset, sink = await compared(device)
    assert offset == -3 * 3_600_000
    assert [CurrentTime.from_bytes(data).date_time.stated for _, data in device.written] == [
        dt.datetime(2026, 11, 24, 16, 0)  # noqa: DTZ001 - 08:00 UTC in Shanghai
    ]
    assert [e.kind for e in sink.readings if isinstance(e, DeviceEvent)] == [DeviceEventKind.CLOCK_SET]


async def test_a_refused_clock_is_said() -> None:
    device = ScriptedDevice(values={CURRENT_TIME: bytes(10)}, refused_writes=frozenset({CURRENT_TIME}))
    offset, sink = await compared(device)
    assert offset is None
    assert [e.kind for e in sink.readings if isinstance(e, DeviceEvent)] == [DeviceEventKind.CLOCK_REFUSED]


async def test_without_a_clock_or_without_time_nothing_is_compared() -> None:
    assert (await compared(ScriptedDevice()))[0] is None
    unknowing = GatewayTime(NOW, None, 1)
    device = ScriptedDevice(values=clock(dt.timedelta(hours=9)))
    assert (await compared(device, unknowing))[0] is None
    assert device.written == []
    assert (await compared(ScriptedDevice(values={CURRENT_TIME: b"\1"})))[0] is None


async def test_what_a_device_says_of_itself() -> None:
    device = ScriptedDevice(
        values={
            MANUFACTURER: b"Example\0",
            SERIAL: b" SN1 ",
            FIRMWARE: b"",
            SYSTEM_ID: bytes.fromhex("b0495ffffe001071"),
        }
    )
    assert await read_information(device) == Information("Example", None, "SN1", None, "711000feff5f49b0")


async def test_a_device_without_the_characteristic_is_named() -> None:
    profile = load_profiles()["standard/blood_pressure"]
    with pytest.raises(Misconfigured, match="offers none of 2A35"):
        await GattPush().collect(ScriptedDevice(), visit_of(profile, Kept(), now))
