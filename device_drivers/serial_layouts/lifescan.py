"""LifeScan's binary frames, and what an UltraEasy says in them.

Frame: STX 02, length of the whole, link control, message, ETX 03, CRC-16-CCITT (seed FFFF) little-endian.
"""

import binascii
import datetime as dt
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Component
from wire_format.nomenclature import Term, Unit

STX: Final = 0x02
ETX: Final = 0x03
EMPTY: Final = 6
"""Bytes of a frame without a message."""

LOW: Final = 0xFFFE
HIGH: Final = 0xFFFF
_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the seconds count a clock that has no zone


class Link(IntFlag):
    """The link control byte. Both sides count their messages in one bit."""

    SENT = 0x01  # the counter of what this side sends
    EXPECTED = 0x02  # the counter that this side expects next
    ACKNOWLEDGE = 0x04
    DISCONNECT = 0x08
    MORE = 0x10


def crc(data: bytes) -> int:
    """Return CRC-16-CCITT with seed FFFF."""
    return binascii.crc_hqx(data, 0xFFFF)


@dataclass(frozen=True, slots=True)
class LifeScanFrame:
    """One frame. An acknowledgement and a disconnection have no message."""

    link: int
    message: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole frame; raises `MalformedPacket` if its length, its end or its CRC is wrong."""
        if len(data) < EMPTY or data[0] != STX or data[1] != len(data) or data[-3] != ETX:
            raise MalformedPacket(f"LifeScan frame: {len(data)} bytes that are not framed as one.")
        if crc(data[:-2]) != int.from_bytes(data[-2:], "little"):
            raise MalformedPacket("LifeScan frame: the checksum is wrong.")
        return cls(data[2], bytes(data[3:-3]))

    def __bytes__(self) -> bytes:
        body = bytes([STX, EMPTY + len(self.message), self.link]) + self.message + bytes([ETX])
        return body + crc(body).to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class UltraEasyRecord:
    """A stored result: seconds of a local clock since 1970 (0: no clock), and mg/dL or a sentinel."""

    seconds: int
    value: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode what follows the status; raises `MalformedPacket`."""
        r = Reader(data, "UltraEasy record")
        record = cls(r.uint(4, "time"), r.uint(4, "value"))
        if r.rest():
            raise MalformedPacket("UltraEasy record: there are bytes after the value.")
        return record

    def __bytes__(self) -> bytes:
        return self.seconds.to_bytes(4, "little") + self.value.to_bytes(4, "little")

    @property
    def stamp(self) -> DateTime | None:
        """The digits of the meter's clock; None if it has none."""
        return clock_digits(self.seconds) if self.seconds else None

    @property
    def component(self) -> Component:
        """The concentration; HI and LO are no values."""
        if self.value in {LOW, HIGH}:
            absent = Absent.BELOW_RANGE if self.value == LOW else Absent.ABOVE_RANGE
            return Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, absent=absent)
        return Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, value=self.value)


def clock_digits(seconds: int) -> DateTime:
    """Return what a clock shows that counts `seconds` (32 bit) since 1970."""
    return DateTime.of(_EPOCH + dt.timedelta(seconds=seconds))


def clock_seconds(local: dt.datetime) -> int:
    """Return the seconds since 1970 of a local clock."""
    return (local - _EPOCH) // dt.timedelta(seconds=1)
