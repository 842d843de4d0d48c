"""Damage: what can become of bytes on their way. Seeds are the packets of every capture there is."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
LONGEST: Final = 64


def seeds() -> list[bytes]:
    """Return the packets of all captures, of tests and of profiles, each once and in a fixed order."""
    files = [*ROOT.glob("tests/captures/*.json"), *ROOT.glob("firmware_profiles/**/*.capture.json")]
    found = {data for file in files for data in _packets(json.loads(file.read_text()))}
    return sorted(found - {b""})


def _packets(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        if isinstance(value.get("hex"), str):
            yield bytes.fromhex(value["hex"])
        if isinstance(value.get("ascii"), str):
            yield value["ascii"].encode()
        for key in ("service_data", "manufacturer_data"):
            yield from (bytes.fromhex(text) for text in value.get(key, {}).values())
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _packets(part)


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
    return bytes(data[: max(LONGEST, len(packet) + 8)])
