"""Whatever takes bytes, over random packets and over captures that were damaged. `make fuzz`.

What may happen to bytes: a value, or `MalformedPacket`. Nothing else is raised, and nothing hangs. A value
that was decoded is the same value after it was encoded and decoded again. Drivers: see `sessions`.
"""

import argparse
import importlib
import inspect
import json
import pkgutil
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import device_drivers
from device_drivers.catalogue import Catalogue
from device_drivers.decoding import DECODERS
from tests.fuzz.damage import LONGEST, damaged, seeds
from tests.fuzz.guard import HangError, bound_memory, breathe, watched
from tests.fuzz.sessions import fuzz_sessions
from wire_format.errors import MalformedPacket

Door = tuple[str, Callable[[bytes], object]]


def shapes() -> list[type[Any]]:
    """Return every value object of `device_drivers` that is made from bytes, wherever it is."""
    names = [m.name for m in pkgutil.walk_packages(device_drivers.__path__, "device_drivers.")]
    found = {kind for name in names for kind in _shapes_of(name)}
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


def _shapes_of(module: str) -> Iterator[type[Any]]:
    for value in vars(importlib.import_module(module)).values():
        own = isinstance(value, type) and value.__module__ == module and not issubclass(value, int)
        if own and hasattr(value, "from_bytes") and _takes_bytes_alone(value.from_bytes):
            yield value


def _takes_bytes_alone(made: Callable[..., object]) -> bool:
    """Tell whether bytes are enough; what needs more (a layout) is reached through its driver's sessions."""
    first, *others = inspect.signature(made).parameters.values()
    return first is not None and all(other.default is not other.empty for other in others)


def whole(shape: type[Any]) -> Callable[[bytes], object]:
    """Return a door that decodes, encodes what can be encoded, and compares."""

    def decode(data: bytes) -> object:
        found = shape.from_bytes(data)
        if hasattr(found, "__bytes__") and shape.from_bytes(bytes(found)) != found:
            raise AssertionError(f"{shape.__name__} is another value after {data.hex()}")
        return found

    return decode


def targets() -> list[Door]:
    """Return everything that takes bytes: shapes, and decoders under the rules of every profile."""
    profiles = Catalogue().profiles.values()
    rules = {profile.decode.model_dump_json(): profile.decode for profile in profiles}.values()
    return [
        *((shape.__name__, whole(shape)) for shape in shapes()),
        *(
            (name, lambda data, d=decoder, r=rule: d(data, r))
            for name, decoder in DECODERS.items()
            for rule in rules
        ),
    ]


def fuzz(count: int, seed: int) -> Counter[str]:
    """Try `count` inputs; return how many were values and how many malformed; raise at anything else."""
    chance, known, doors = random.Random(seed), seeds(), targets()  # noqa: S311 - damage, no secret
    found: Counter[str] = Counter()
    with watched():
        for _ in range(count):
            if chance.random() < 0.3:
                data = chance.randbytes(chance.randrange(LONGEST))
            else:
                data = damaged(chance.choice(known), chance)
            name, door = chance.choice(doors)
            breathe()
            try:
                door(data)
            except MalformedPacket:
                found["malformed"] += 1
            except (Exception, HangError) as error:
                said = f"seed {seed}: {name} of {data.hex()} raised {type(error).__name__}: {error}"
                raise AssertionError(said) from error
            else:
                found["values"] += 1
    return found


def main() -> int:
    """Fuzz in several processes; print one JSON object with what was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000, help="packets")
    parser.add_argument("--sessions", type=int, help="damaged sessions; default: one in a hundred of count")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    sessions = asked.count // 100 if asked.sessions is None else asked.sessions
    of = range(asked.seed, asked.seed + asked.workers)
    with ProcessPoolExecutor(asked.workers, initializer=bound_memory) as pool:
        packets = sum(pool.map(fuzz, [asked.count // asked.workers] * asked.workers, of), Counter[str]())
        visits = sum(pool.map(fuzz_sessions, [sessions // asked.workers] * asked.workers, of), Counter[str]())
    print(json.dumps(_report(packets, visits, time.monotonic() - began)))  # noqa: T201 - a report
    return 0


def _report(packets: Counter[str], visits: Counter[str], seconds: float) -> dict[str, Any]:
    ended = visits["ended well"] + visits["ended in an error"]
    return {
        "inputs": packets.total() + ended,
        "packets": dict(packets),
        "sessions": {"visits": ended, **visits},
        "doors": len(targets()),
        "seconds": round(seconds),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    sys.exit(main())
