"""`edge-agent decode`: what a packet capture says, as JSON. For support, and for whoever holds a capture."""

import json
import sys
from typing import Any

from device_drivers.catalogue import Catalogue
from device_drivers.date_time import DateTime
from device_drivers.decoded import Decoded
from device_drivers.decoding import DECODERS
from device_drivers.profile import DeviceProfile
from wire_format.base import Wire, plain
from wire_format.errors import MalformedPacket, Misconfigured


def decode(profile: str, characteristic: str, packets: list[str]) -> int:
    """Print the items of `packets` (hex, in the order they came) and return the exit status.

    0 if every packet decodes, 1 if one is malformed (it is named, the others are printed), 2 if the profile,
    the characteristic or the hex is not understood.
    """
    try:
        chosen = Catalogue().named(profile)
        source = _source(chosen, characteristic)
        data = [_bytes(text) for text in packets]
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 2
    items: list[dict[str, Any]] = []
    status = 0
    for number, packet in enumerate(data, start=1):
        try:
            items.append(_shown(DECODERS[source](packet, chosen.decode)))
        except MalformedPacket as error:
            print(f"Packet {number}: {error}", file=sys.stderr)  # noqa: T201 - as above
            status = 1
    print(json.dumps(items, ensure_ascii=False, indent=2, default=_text))  # noqa: T201 - as above
    return status


def _source(profile: DeviceProfile, characteristic: str) -> str:
    source = characteristic.upper().removeprefix("0X")
    readable = [name for name in profile.records.characteristics if name in DECODERS]
    if source not in readable:
        raise Misconfigured(
            f"The profile {profile.name} reads no result from {characteristic!r}; "
            f"it reads {', '.join(readable)}."
        )
    return source


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", "").replace("-", "").removeprefix("0x"))
    except ValueError:
        raise Misconfigured(f"{text!r} is no hex: give pairs of the digits 0-9 and a-f.") from None


def _shown(decoded: Decoded) -> dict[str, Any]:
    fields = {name: getattr(decoded, name) for name in decoded.__slots__}
    return {name: _plain(value) for name, value in fields.items() if value not in (None, (), False)}


def _plain(value: object) -> object:
    if isinstance(value, DateTime):
        return value.text
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return plain(value) if isinstance(value, Wire) else value


def _text(value: object) -> str:
    """Decimals and bytes as text: JSON has no exact form of them."""
    return value.hex() if isinstance(value, bytes) else str(value)
