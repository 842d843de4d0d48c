"""Profiles: what is wrong in one is named; two that fit alike are refused; clocks are compared and set."""

import datetime as dt
from hashlib import sha256

import pytest

from device_drivers.bundle import files_of
from device_drivers.catalogue import Catalogue
from device_drivers.clock_sync import compare_clock
from device_drivers.decoding import DECODERS
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
from wire_format.measurement import Measurement
from wire_format.statements import DeviceEvent, DeviceEventKind

from gatt_link import Kept, ScriptedDevice, visit_of

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
CURRENT_TIME = uuid16(0x2A2B)
GOOD = b"""
title = "x"
driver = "gatt_push"
evidence = "captured"
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
        (GOOD.replace(b'"captured"', b'"hearsay"'), "evidence"),
        (GOOD.replace(b'["1810"]', b"[]"), "match: .*name services"),
    ],
)
def test_what_is_wrong_in_a_profile_is_named(content: bytes, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        parse_profile("x/y", content)


@pytest.mark.parametrize(
    ("name", "services", "data", "expected"),
    [
        ("MI SCALE2", (0x181D,), 0x181D, "xiaomi/mi_scale"),
        (None, (0x181D,), 0x181D, "xiaomi/mi_scale"),
        ("MIBFS", (0x181B,), 0x181B, "xiaomi/mi_body_composition_scale"),
        ("MIBFS", (0x181B,), None, "xiaomi/mi_body_composition_scale_gatt"),
        ("Xiaomi Scale S400 0001", (), 0xFE95, "xiaomi/s400"),
        ("Xiaomi lamp", (), 0xFE95, None),
    ],
)
def test_what_a_scale_advertises_beside_its_service_makes_a_profile_narrower(
    name: str | None, services: tuple[int, ...], data: int | None, expected: str | None
) -> None:
    heard = sighting(name, *services)
    if data is not None:
        heard.service_data[uuid16(data)] = b"\x01"
    found = Catalogue(enabled=["xiaomi/s400"]).match(heard)
    assert (found and found.name) == expected


def test_an_unknown_driver_or_name_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"'magic' for any device\. There are: .*gatt_push"):
        Catalogue({"x": parse_profile("x", GOOD.replace(b"gatt_push", b"magic"))})
    with pytest.raises(Misconfigured, match="standard/glucose"):
        Catalogue().named("standard/sugar")


def test_a_profiles_hash_is_that_of_its_file() -> None:
    profiles, content = load_profiles(), files_of()
    assert len({p.content_hash for p in profiles.values()}) == len(profiles)
    for name, profile in profiles.items():
        assert profile.content_hash == sha256(content[f"{name}.toml"]).hexdigest()
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
    with pytest.raises(Misconfigured, match="offers none of 2B34, 2A35"):
        await GattPush().collect(ScriptedDevice(), visit_of(profile, Kept(), now))


def test_what_was_never_seen_on_a_device_is_off_until_it_is_named() -> None:
    unseen = parse_profile("x/y", GOOD.replace(b'"captured"', b'"specification"'))
    assert Catalogue({"x/y": unseen}).match(sighting("x", 0x1810)) is None
    assert Catalogue({"x/y": unseen}, ["x/y"]).match(sighting("x", 0x1810)) is unseen
    with pytest.raises(Misconfigured, match="x/z"):
        Catalogue({"x/y": unseen}, ["x/z"])


NARROW = GOOD.replace(
    b"[records]", b'models = ["BP-2*"]\nfirmware = { least = "1.9", most = "2" }\n[records]'
)


@pytest.mark.parametrize(
    ("model", "firmware", "expected"),
    [
        ("BP-2A", "1.10", "a/narrow"),
        ("BP-2A", "V2", "a/narrow"),
        ("BP-2A", "1.8", "a/wide"),
        ("BP-2A", "2.1", "a/wide"),
        ("BP-2A", None, "a/wide"),
        ("BP-3", "1.10", "a/wide"),
    ],
)
def test_a_model_and_its_firmware_are_narrower(model: str, firmware: str | None, expected: str) -> None:
    both = Catalogue({n: parse_profile(n, c) for n, c in (("a/wide", GOOD), ("a/narrow", NARROW))})
    known = Information(None, model, None, firmware, None)
    assert [p.name for p in (both.match(sighting("x", 0x1810)),) if p] == ["a/wide"]
    found = both.match(sighting("x", 0x1810), known)
    assert found is not None
    assert found.name == expected


def test_a_profile_that_needs_a_connection_is_used_alone_until_the_device_was_asked() -> None:
    alone = Catalogue({"a/narrow": parse_profile("a/narrow", NARROW)})
    found = alone.match(sighting("x", 0x1810))
    assert found is not None
    assert alone.match(sighting("x", 0x1810), Information(None, "other", None, None, None)) is None
    other = parse_profile("a/b", NARROW.replace(b"[records]", b'[link]\nbond = "never"\n[records]'))
    assert Catalogue({"a/narrow": found, "a/b": other}).match(sighting("x", 0x1810)) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[match]\nusb = ["067b:2303"]\nservices = ["1810"]', "match: .*usb of a cable"),
        (b'[match]\nusb = ["Prolific"]', "match.usb.0"),
        (b'[match]\nservices = ["1810"]\n[link]\npasskey = "fixed"\nagent = "KeyboardOnly"', "fixed_passkey"),
        (b'[match]\nservices = ["1810"]\n[link]\npasskey = "device_label"', "agent that can ask"),
        (b'[match]\nservices = ["1810"]\n[[steps]]\ndo = "wait"', "how many `ms`"),
        (b'[match]\nservices = ["1810"]\n[[steps]]\ndo = "write"\non = "2A52"', "says `hex`"),
        (b'[match]\nservices = ["1810"]\n[[steps]]\ndo = "write"\non = "2A52"\nhex = "0g"', "steps.0.hex"),
    ],
)
def test_parts_of_a_profile_that_do_not_fit_together_are_named(content: bytes, said: str) -> None:
    head, _, tail = GOOD.partition(b"[match]")
    with pytest.raises(Misconfigured, match=said):
        parse_profile("x/y", head + content + tail[tail.index(b"\n[records]") :])


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (b'[clock]\nlayout = "sundial"', "sundial.*There are: .*current_time, date_time"),
        (b"[protocol]\nslots = 2", "protocol.*gatt_push does not take"),
    ],
)
def test_what_no_driver_knows_is_refused(extra: bytes, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        Catalogue({"x": parse_profile("x", GOOD + extra)})


def test_advertisements_are_matched_by_company_and_service_data_too() -> None:
    text = GOOD.replace(b'services = ["1810"]', b'company = 1553\nservice_data = ["181D"]')
    catalogue = Catalogue({"x": parse_profile("x", text)})
    data = {uuid16(0x181D): b"1"}
    whole = Sighting("00:00", None, frozenset(), {1553: b""}, data)
    assert catalogue.match(whole) is catalogue.named("x")
    assert catalogue.match(Sighting("00:00", None, frozenset(), {1: b""}, data)) is None
    assert catalogue.match(Sighting("00:00", None, frozenset(), {1553: b""}, {})) is None


def test_a_cable_is_matched_by_its_adapter_alone() -> None:
    text = GOOD.replace(b'services = ["1810"]', b'usb = ["067b:2303"]')
    catalogue = Catalogue({"x": parse_profile("x", text)})
    assert [p.name for p in catalogue.match_usb("067b:2303")] == ["x"]
    assert catalogue.match_usb("067b:2304") == ()
    assert catalogue.match(sighting("x", 0x1810)) is None


async def test_the_pressure_while_a_cuff_deflates_is_never_a_result() -> None:
    """A cuff offers 0x2A36 too, and sends it all the while: nobody listens, and nothing could decode it."""
    deflating = "2A36"
    assert deflating not in DECODERS
    assert not [p.name for p in Catalogue().profiles.values() if deflating in p.records.characteristics]
    result = bytes.fromhex("167c0056006100ea070b180c000033000000")
    cuff = ScriptedDevice([("2A35", result)], values={long_uuid(deflating): b""})
    sink, profile = Kept(), Catalogue().named("standard/blood_pressure")
    await GattPush().collect(cuff, visit_of(profile, sink, now))
    assert set(cuff.handlers) == {long_uuid("2A35")}
    sources = [r.provenance.raw[0].source for r in sink.readings if isinstance(r, Measurement)]
    assert sources == ["2A35"]
