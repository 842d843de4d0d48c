"""Any bytes at all: a vendor's decoder says a value that gives them back, or that they are malformed."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device_drivers.clock_layouts import CLOCK_LAYOUTS
from device_drivers.decoding import Decoded
from device_drivers.profile import Decode
from device_drivers.vendors.lifescan import LifeScanFrame, VerioRecord
from device_drivers.vendors.transtek import TranstekWeight
from device_drivers.vendors.xiaomi import Layout, MiBeacon, WeighInFrame, WeighInObject
from wire_format.errors import MalformedPacket

Decoder = Callable[[bytes], tuple[bytes, Decoded | None]]


def weigh_in(layout: Layout) -> Decoder:
    def decode(data: bytes) -> tuple[bytes, Decoded | None]:
        found = WeighInFrame.from_bytes(data, layout)
        return bytes(found), found.decoded(Decode())

    return decode


def s400(data: bytes) -> tuple[bytes, Decoded | None]:
    found = WeighInObject.from_bytes(data)
    return bytes(found), found.decoded(found, Decode())


def beacon(data: bytes) -> tuple[bytes, Decoded | None]:
    found = MiBeacon.from_bytes(data)
    with pytest.raises(MalformedPacket):
        found.opened(bytes(16), bytes(6))
    return bytes(found), None


def transtek(data: bytes) -> tuple[bytes, Decoded | None]:
    found = TranstekWeight.from_bytes(data)
    return bytes(found), found.decoded(Decode())


def verio(data: bytes) -> tuple[bytes, Decoded | None]:
    found = VerioRecord.from_bytes(data)
    return bytes(found), found.decoded(1, Decode())


def lifescan(data: bytes) -> tuple[bytes, Decoded | None]:
    return bytes(LifeScanFrame.from_bytes(data)), None


DECODERS: tuple[Decoder, ...] = (
    weigh_in(Layout.WEIGHT),
    weigh_in(Layout.COMPOSITION),
    s400,
    beacon,
    transtek,
    verio,
    lifescan,
)


@given(st.binary(max_size=40))
@example(bytes.fromhex("1f681f00fe652ab21e000000006a1500ff011900"))
@example(bytes.fromhex("0226b2070103131a15e601604a"))
@example(bytes.fromhex("166e09ffffffffffffffffff"))
@example(b"\xff" * 11)
@example(b"\xff" * 21)
@example(bytes(11))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    for decoder in DECODERS:
        try:
            back, decoded = decoder(data)
        except MalformedPacket:
            continue
        assert back == data
        assert decoded is None or all(c.value is None or c.value.is_finite() for c in decoded.components)


@given(st.sampled_from(("contour", "isens")), st.binary(max_size=14))
def test_any_bytes_are_a_clock_or_malformed(layout: str, data: bytes) -> None:
    try:
        CLOCK_LAYOUTS[layout].decode(data)
    except MalformedPacket:
        return
