"""The memory protocol of Omron cuffs: frames, the channels that carry them, and the unlock messages.

Public sources: userx14/omblepy (README and issues 39, 57), eigger/hass-omron (issues 7, 13). A frame is its
length, a command (2 bytes), an address (2 bytes, high byte first), a size, data, a status (0 in requests) and
a byte that makes the XOR of all bytes 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Final, Self

from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket

UNLOCK: Final = "b305b680-aee7-11e1-a730-0002a5d5c51b"
CLASSIC_TRANSMIT: Final = (
    "db5b55e0-aee7-11e1-965e-0002a5d5c51b",
    "e0b8a060-aee7-11e1-92f4-0002a5d5c51b",
    "0ae12b00-aee8-11e1-a192-0002a5d5c51b",
    "10e1ba60-aee8-11e1-89e5-0002a5d5c51b",
)
CLASSIC_RECEIVE: Final = (
    "49123040-aee8-11e1-a74d-0002a5d5c51b",
    "4d0bf320-aee8-11e1-a0d9-0002a5d5c51b",
    "5128ce60-aee8-11e1-b84b-0002a5d5c51b",
    "560f1420-aee8-11e1-8184-0002a5d5c51b",
)

READ: Final = 0x0100
WRITE: Final = 0x01C0
ANSWER: Final = 0x8000
ENDED: Final = 0x8F00
"""Answers the request to end, and any request that the cuff will not carry out."""

_OVERHEAD: Final = 8
_CHANNEL: Final = 16


@dataclass(frozen=True, slots=True)
class Frame:
    """One request or answer. `size` is how many bytes are asked for, or announced."""

    command: int
    address: int
    size: int
    data: bytes = b""
    status: int = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole frame; raises `MalformedPacket` for another length or a wrong check byte."""
        r = Reader(data, "Omron frame")
        length = r.uint(1, "length")
        if length != len(data) or length < _OVERHEAD:
            raise MalformedPacket(f"An Omron frame that says it has {length} bytes has {len(data)}.")
        if reduce(xor, data):
            raise MalformedPacket(f"The check byte of an Omron frame of {length} bytes does not fit.")
        command, address = r.uint(2, "command", "big"), r.uint(2, "address", "big")
        size = r.uint(1, "size")
        return cls(command, address, size, r.take(length - _OVERHEAD, "data"), r.uint(1, "status"))

    def __bytes__(self) -> bytes:
        head = bytes([len(self.data) + _OVERHEAD])
        where = self.command.to_bytes(2, "big") + self.address.to_bytes(2, "big")
        body = head + where + bytes([self.size]) + self.data + bytes([self.status])
        return body + bytes([reduce(xor, body)])

    @property
    def refused(self) -> bool:
        """Whether a cuff announces data, gives none, and says why in `status`."""
        return not self.data and self.size > 0 and self.status != 0


START: Final = Frame(0x0000, 0, 0x10)
END: Final = Frame(0x0F00, 0, 0)


def read_request(address: int, size: int) -> Frame:
    """Return the request for `size` bytes of the memory."""
    return Frame(READ, address, size)


def write_request(address: int, data: bytes) -> Frame:
    """Return the request to write `data` into the memory."""
    return Frame(WRITE, address, len(data), data)


def parts(frame: Frame, channels: int) -> list[bytes]:
    """Return a frame as what each channel carries: all of it on one, or 16 bytes on each of several."""
    whole = bytes(frame)
    if channels == 1:
        return [whole]
    return [whole[i : i + _CHANNEL] for i in range(0, len(whole), _CHANNEL)]


@dataclass(frozen=True, slots=True)
class Assembled:
    """The bytes of one frame. `torn`: parts are missing or too short, whatever the check byte says."""

    raw: bytes
    torn: bool = False


@dataclass(slots=True)
class Assembler:
    """Puts frames together that come in parts on several channels (each part padded to 16 bytes)."""

    channels: int
    _parts: dict[int, bytes] = field(default_factory=dict)

    def add(self, channel: int, data: bytes) -> list[Assembled]:
        """Return what is complete now; before it what is left of a frame whose other parts did not come."""
        done = self.rest() if channel in self._parts else []
        self._parts[channel] = bytes(data)
        frame = self._whole()
        if frame is not None:
            self._parts = {}
            done.append(frame)
        return done

    def rest(self) -> list[Assembled]:
        """Return the parts that wait for others, and forget them."""
        left = b"".join(self._parts[n] for n in sorted(self._parts))
        self._parts = {}
        return [Assembled(left, torn=True)] if left else []

    def _whole(self) -> Assembled | None:
        first = self._parts.get(0)
        if first is None:
            return None
        if self.channels == 1:
            return Assembled(first)
        length = first[0] if first else 0
        needed = min(max(1, -(-length // _CHANNEL)), self.channels)
        if any(n not in self._parts for n in range(needed)):
            return None
        found = [self._parts[n] for n in sorted(self._parts)]
        # A part that is too short would let its neighbours fill the gap with their padding.
        if any(len(part) != _CHANNEL for part in found) or length > _CHANNEL * needed:
            return Assembled(b"".join(found), torn=True)
        return Assembled(b"".join(found)[:length])


def unlock_with_token(token: bytes) -> bytes:
    """Return the greeting of newer cuffs: four bytes of the host's choice, which the cuff repeats."""
    return b"\x11" + token.ljust(19, b"\0")


def token_accepted(answer: bytes, token: bytes) -> bool:
    """Tell whether a cuff repeated the token and said yes."""
    return answer[:6] == b"\x91\x00" + token


def unlock_with_key(key: bytes) -> bytes:
    """Return the message that unlocks an older cuff with the 16 bytes it was given while pairing."""
    return b"\x01" + key


PROGRAM_KEY: Final = b"\x02" + bytes(16)
"""Asks for the key to be replaced. A cuff agrees only while its display blinks -P-."""


def new_key(key: bytes) -> bytes:
    """Return the message that gives a cuff its key."""
    return b"\x00" + key


def accepted(answer: bytes, request: bytes) -> bool:
    """Tell whether a cuff said yes to one of the messages of the key."""
    expected: Sequence[int] = (request[0] | 0x80, 0x00)
    return list(answer[:2]) == list(expected)
