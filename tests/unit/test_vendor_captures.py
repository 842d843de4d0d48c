"""Every published packet of a vendor's layout decodes as its publication says, key by key."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from device_drivers.clock_layouts import CLOCK_LAYOUTS
from device_drivers.date_time import DateTime
from device_drivers.drivers.onetouch_ble import ONE_FRAGMENT
from device_drivers.profile import Decode
from device_drivers.vendors.lifescan import LifeScanFrame
from device_drivers.vendors.transtek import ANSWER_CHALLENGE, CHALLENGE, TranstekWeight
from device_drivers.vendors.xiaomi import Layout, MiBeacon, WeighInFrame, WeighInObject
from wire_format.errors import MalformedPacket
from wire_format.nomenclature import Unit

Said = dict[str, Any]
CAPTURES: list[Said] = json.loads(
    (Path(__file__).parents[1] / "captures" / "vendor_scales_glucose.json").read_text()
)
UNITS = {Unit.KG: "kg", Unit.POUND: "lb", Unit.JIN: "jin"}


def mi(data: bytes, layout: Layout) -> Said:
    frame = WeighInFrame.from_bytes(data, layout)
    assert bytes(frame) == data
    return {
        "unit": UNITS[frame.unit],
        "weight": frame.decoded(Decode()).components[0].value,
        "stable": frame.stable,
        "removed": frame.removed,
        "has_imp": not frame.awaits_impedance,
        "impedance_raw": frame.impedance,
        "ts": frame.stamp.text,
    }


def s400(data: bytes, args: Said) -> Said:
    beacon = MiBeacon.from_bytes(data)
    assert bytes(beacon) == data
    plain = beacon.opened(bytes.fromhex(args["key"]), bytes.fromhex(args["mac"].replace(":", ""))[::-1])
    found = WeighInObject.from_bytes(plain)
    assert bytes(found) == plain
    return {"kg": found.decoded(None, Decode()).components[0].value}


def transtek(data: bytes, _: Said) -> Said:
    frame = TranstekWeight.from_bytes(data)
    assert bytes(frame) == data
    return {"flags": frame.flags, "kg": frame.decoded(Decode()).components[0].value}


def challenge(data: bytes, _: Said) -> Said:
    assert data[0] == CHALLENGE
    return {"answer": (bytes([ANSWER_CHALLENGE]) + data[1:]).hex()}


def isens(data: bytes, _: Said) -> Said:
    shown = CLOCK_LAYOUTS["isens"].decode(data)
    assert shown.stated is not None
    assert CLOCK_LAYOUTS["isens"].encode(shown.stated, 0) == data
    return {"hdr": data[:4].hex(), "ts": shown.text}


def contour(data: bytes, _: Said) -> Said:
    minutes = int.from_bytes(data[8:], "little", signed=True)
    shown = CLOCK_LAYOUTS["contour"].decode(data)
    assert shown.stated is not None
    assert CLOCK_LAYOUTS["contour"].encode(shown.stated, minutes) == data
    return {"op": data[0], "utc": DateTime(data[1:8]).text, "tz_min": minutes}


def frame(data: bytes, _: Said) -> Said:
    try:
        found = LifeScanFrame.from_bytes(data)
    except MalformedPacket as error:
        return {"crc_ok": "checksum is wrong" not in str(error)}
    assert bytes(found) == data
    return {"len_ok": True, "link": found.link, "msg": found.message.hex(), "crc_ok": True}


def ble_frame(data: bytes, args: Said) -> Said:
    assert data[:1] == ONE_FRAGMENT
    return {"ble_hdr": data[0], **frame(data[1:], args)}


DECODERS: dict[str, Callable[[bytes, Said], Said]] = {
    "misc1": lambda data, _: mi(data, Layout.WEIGHT),
    "misc2": lambda data, _: mi(data, Layout.COMPOSITION),
    "s400": s400,
    "transtek": transtek,
    "transtek_challenge": challenge,
    "isens": isens,
    "contour_clock": contour,
    "ls_frame": frame,
    "ls_ble": ble_frame,
}


def exact(value: object) -> object:
    """A float of the JSON file as the decimal that was written there."""
    return Decimal(str(value)) if isinstance(value, float) else value


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c["id"])
def test_a_published_packet_decodes_as_published(capture: Said) -> None:
    found = DECODERS[capture["decoder"]](bytes.fromhex(capture["hex"]), capture.get("args", {}))
    assert {key: found[key] for key in capture["expect"]} == {
        key: exact(value) for key, value in capture["expect"].items()
    }


def test_the_collection_is_complete() -> None:
    assert len(CAPTURES) == len({capture["id"] for capture in CAPTURES}) == 22
    assert all(capture["source"] and capture["origin"] for capture in CAPTURES)
