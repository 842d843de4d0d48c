"""What an UltraEasy says in LifeScan's frames (`vendors.lifescan`), and how its link counts them."""

import datetime as dt
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Component
from wire_format.nomenclature import Term, Unit

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
