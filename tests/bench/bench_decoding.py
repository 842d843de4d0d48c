"""How long one packet takes to decode, for each characteristic of the published captures."""

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from device_drivers import decoding, decoding_streams
from device_drivers.elapsed_time import ElapsedTime
from device_drivers.medfloat import MedFloat
from device_drivers.profile import Decode
from device_drivers.quantities.blood_pressure import BloodPressureMeasurement
from device_drivers.quantities.current_time import CurrentTime
from device_drivers.quantities.glucose import GlucoseMeasurementContext
from device_drivers.quantities.record_access import RecordAccess
from device_drivers.quantities.user_data import UserControl
from tests.bench.figures import repeated, section, show
from wire_format.errors import MalformedPacket

CAPTURES: Final = Path(__file__).parents[1] / "captures" / "standard.json"
PLAIN: Final = Decode()
BEURER: Final = Decode(user_always=True, tail_order="big")
COARSE: Final = Decode(mass_resolution=Decimal("0.05"))

# What has a reading of its own is decoded to components and context; the others to the specification's value.
DECODERS: Final[dict[str, Callable[[bytes], object]]] = {
    "0x2A35": partial(decoding.blood_pressure, decode=PLAIN),
    "0x2A35 (quirk)": partial(decoding.blood_pressure, decode=BEURER),
    "0x2A36": BloodPressureMeasurement.from_bytes,
    "0x2A18": partial(decoding.glucose, decode=PLAIN),
    "0x2A34": GlucoseMeasurementContext.from_bytes,
    "0x2A52": RecordAccess.from_bytes,
    "0x2A9D": partial(decoding.weight, decode=PLAIN),
    "0x2A9D (quirk: resolution 0.05 kg)": partial(decoding.weight, decode=COARSE),
    "0x2A9C": partial(decoding.body_composition, decode=PLAIN),
    "0x2A1C": partial(decoding.temperature, decode=PLAIN),
    "0x2A5E": partial(decoding.oximetry, decode=PLAIN),
    "0x2A5F": partial(decoding_streams.continuous_oximetry, decode=PLAIN),
    "0x2AA7": partial(decoding_streams.continuous_glucose, decode=PLAIN),
    "0x2B34": partial(decoding_streams.enhanced_blood_pressure, decode=PLAIN),
    "0x2A9F": UserControl.from_bytes,
    "0x2BF2 (first 9 bytes)": ElapsedTime.from_bytes,
    "0x2A2B": CurrentTime.from_bytes,
    "medfloat16": MedFloat.from_bytes,
    "medfloat32": MedFloat.from_bytes,
}


def packets() -> dict[str, list[bytes]]:
    """The captures by characteristic."""
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    captures: list[dict[str, Any]] = json.loads(CAPTURES.read_text())
    for capture in captures:
        found[capture["characteristic"]].append(bytes.fromhex(capture["hex"]))
    return dict(found)


def lenient(decode: Callable[[bytes], object], data: bytes) -> None:
    """Refusing what is malformed is part of the work."""
    with suppress(MalformedPacket):
        decode(data)


def run(rounds: int) -> dict[str, list[float]]:
    """Microseconds of each decoding of every capture."""
    return {
        name: repeated(partial(lenient, DECODERS[name]), found, rounds) for name, found in packets().items()
    }


def test_decoding() -> None:
    """The ratio is to 0x2A35, a blood pressure."""
    times = run(200)
    assert set(times) == set(DECODERS)
    section("Decoding one packet (ratio: to 0x2A35)")
    first = show("0x2A35", times.pop("0x2A35"), unit="us")
    for name, each in times.items():
        show(name, each, unit="us", against=first)
