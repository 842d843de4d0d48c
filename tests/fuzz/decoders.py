"""Every decoder from bytes, over random packets and over captures that were damaged. `make fuzz`.

What may happen to bytes: a value, or `MalformedPacket`. Nothing else is raised, and nothing hangs. A value
that was decoded is the same value after it was encoded and decoded again.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from device_drivers.catalogue import Catalogue
from device_drivers.decoding import DECODERS
from device_drivers.quantities.blood_pressure import BloodPressureMeasurement
from device_drivers.quantities.body import BodyCompositionMeasurement, WeightMeasurement, WeightScaleFeature
from device_drivers.quantities.current_time import CurrentTime
from device_drivers.quantities.glucose import GlucoseFeature, GlucoseMeasurement, GlucoseMeasurementContext
from device_drivers.quantities.oximetry import PlxSpotCheck
from device_drivers.quantities.record_access import RecordAccess
from device_drivers.quantities.temperature import TemperatureMeasurement
from device_drivers.serial_layouts.codefree import CodeFreeCount, CodeFreeFrame, CodeFreeRecord
from device_drivers.serial_layouts.freestyle import FreeStyleClock, FreeStyleMemory, FreeStyleRecord
from device_drivers.serial_layouts.lifescan import LifeScanFrame, UltraEasyRecord
from device_drivers.serial_layouts.taidoc import TaiDocFrame, TaiDocResult, TaiDocTime
from device_drivers.serial_layouts.ultra2 import Ultra2Line, Ultra2Record
from device_drivers.vendors.microlife import MicrolifeFrame, MicrolifeRecord, records_of
from device_drivers.vendors.omron_frames import Frame
from device_drivers.vendors.omron_records import CLOCK_BLOCKS, RECORD_LAYOUTS, OmronRecord
from device_drivers.vendors.yonker import YonkerResult
from wire_format.errors import MalformedPacket

SHAPES: Final[tuple[type[Any], ...]] = (
    BloodPressureMeasurement,
    GlucoseMeasurement,
    GlucoseMeasurementContext,
    GlucoseFeature,
    WeightMeasurement,
    WeightScaleFeature,
    BodyCompositionMeasurement,
    TemperatureMeasurement,
    PlxSpotCheck,
    CurrentTime,
    RecordAccess,
    LifeScanFrame,
    UltraEasyRecord,
    Ultra2Line,
    Ultra2Record,
    FreeStyleClock,
    FreeStyleRecord,
    FreeStyleMemory,
    CodeFreeFrame,
    CodeFreeCount,
    CodeFreeRecord,
    TaiDocFrame,
    TaiDocTime,
    TaiDocResult,
    Frame,
    MicrolifeFrame,
    YonkerResult,
)
READERS: Final[tuple[Callable[[bytes], object], ...]] = (
    *(lambda data, row=row: OmronRecord(row, data).decoded() for row in RECORD_LAYOUTS.values()),
    *(row.digits for row in CLOCK_BLOCKS.values()),
    lambda data: MicrolifeRecord(data).decoded(0),
    records_of,
)
"""What takes bytes and is no shape of its own."""

LONGEST: Final = 80
CAPTURES: Final = Path(__file__).parents[1] / "captures"


def seeds() -> list[bytes]:
    """Return the packets of the captures."""
    captures = [c for path in sorted(CAPTURES.glob("*.json")) for c in json.loads(path.read_text())]
    return [bytes.fromhex(c["hex"]) if c.get("hex") else c["ascii"].encode() for c in captures]


def damaged(packet: bytes, chance: random.Random) -> bytes:
    """Return a packet with some of its bytes changed, cut off, repeated or added."""
    data = bytearray(packet)
    for _ in range(chance.randrange(1, 4)):
        match chance.randrange(4):
            case 0 if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
            case 1:
                del data[chance.randrange(len(data) + 1) :]
            case 2:
                data += chance.randbytes(chance.randrange(4))
            case _:
                place = chance.randrange(len(data) + 1)
                data[place:place] = data[:place][:8]
    return bytes(data[:LONGEST])


def targets() -> list[Callable[[bytes], object]]:
    """Return everything that takes bytes: shapes, and decoders under the rules of every profile."""

    def whole(shape: type[Any]) -> Callable[[bytes], object]:
        def decode(data: bytes) -> object:
            found = shape.from_bytes(data)
            if shape.from_bytes(bytes(found)) != found:
                raise AssertionError(f"{shape.__name__} is another value after {data.hex()}")
            return found

        return decode

    rules = [profile.decode for profile in Catalogue().profiles.values()]
    return [
        *(whole(shape) for shape in SHAPES),
        *READERS,
        *(lambda data, d=decoder, r=rule: d(data, r) for decoder in DECODERS.values() for rule in rules),
    ]


def fuzz(count: int, seed: int) -> Counter[str]:
    """Try `count` inputs; return how many were values and how many malformed; raise at anything else."""
    chance, known, doors = random.Random(seed), seeds(), targets()  # noqa: S311 - damage, no secret
    found: Counter[str] = Counter()
    for _ in range(count):
        if chance.random() < 0.3:
            data = chance.randbytes(chance.randrange(LONGEST))
        else:
            data = damaged(chance.choice(known), chance)
        try:
            chance.choice(doors)(data)
        except MalformedPacket:
            found["malformed"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data.hex()} raised {type(error).__name__}") from error
        else:
            found["values"] += 1
    return found


def main() -> int:
    """Fuzz in several processes; print one JSON object with what was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began, found = time.monotonic(), Counter[str]()
    share = asked.count // asked.workers
    with ProcessPoolExecutor(asked.workers) as pool:
        seeds_of = range(asked.seed, asked.seed + asked.workers)
        for part in pool.map(fuzz, [share] * asked.workers, seeds_of):
            found += part
    report = {
        "inputs": sum(found.values()),
        **found,
        "seconds": round(time.monotonic() - began),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }
    print(json.dumps(report))  # noqa: T201 - a report
    return 0


if __name__ == "__main__":
    sys.exit(main())
