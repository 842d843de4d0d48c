"""TaiDoc TD-42xx: frames of eight bytes: 51, command, four of data, A3 to or A5 from the meter, 8-bit sum."""

import datetime as dt
from dataclasses import dataclass
from typing import Final, Self

from device_drivers.date_time import DateTime
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Component, Meal
from wire_format.nomenclature import Term, Unit

LENGTH: Final = 8
STX: Final = 0x51
TO_METER: Final = 0xA3
FROM_METER: Final = 0xA5
_DATA: Final = 4
_CENTURY: Final = 2000
_MARKS: Final = 0xC0
_CONTROL: Final = 0xC0
_MEALS: Final = {0x00: None, 0x40: Meal.PREPRANDIAL, 0x80: Meal.POSTPRANDIAL}


@dataclass(frozen=True, slots=True)
class TaiDocFrame:
    """One frame. `data` is four bytes."""

    command: int
    data: bytes = bytes(_DATA)
    direction: int = FROM_METER

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode eight bytes; raises `MalformedPacket` if they are no frame, or their sum is wrong."""
        framed = len(data) == LENGTH and data[0] == STX and data[6] in {TO_METER, FROM_METER}
        if not framed:
            raise MalformedPacket(f"TaiDoc frame: {len(data)} bytes that are not framed as one.")
        if sum(data[:-1]) & 0xFF != data[-1]:
            raise MalformedPacket("TaiDoc frame: the checksum is wrong.")
        return cls(data[1], bytes(data[2:6]), data[6])

    def __bytes__(self) -> bytes:
        body = bytes([STX, self.command]) + self.data + bytes([self.direction])
        return body + bytes([sum(body) & 0xFF])


@dataclass(frozen=True, slots=True)
class TaiDocTime:
    """Four bytes: a word of 7 bits year since 2000, 4 month, 5 day; then minutes and hours.

    The digits are kept as sent: month 13 is in no calendar, and no error of the frame.
    """

    stamp: DateTime

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode four bytes; raises `MalformedPacket`."""
        if len(data) != _DATA:
            raise MalformedPacket(f"TaiDoc time: it has {_DATA} bytes, not {len(data)}.")
        day = int.from_bytes(data[:2], "little")
        digits = (_CENTURY + (day >> 9), day >> 5 & 0x0F, day & 0x1F, data[3], data[2], 0)
        return cls(DateTime.from_digits(*digits))

    @classmethod
    def of(cls, local: dt.datetime) -> Self:
        """Encode a moment without its seconds."""
        return cls(DateTime.of(local.replace(second=0)))

    def __bytes__(self) -> bytes:
        year, month, day, hours, minutes, _ = self.stamp.digits
        word = (year - _CENTURY) << 9 | month << 5 | day
        return word.to_bytes(2, "little") + bytes([minutes, hours])


@dataclass(frozen=True, slots=True)
class TaiDocResult:
    """Four bytes: a value, a byte of unknown meaning, and marks.

    Of the marks, the two highest bits are the meal or both of them control solution; the next four are what
    was measured (0: glucose).
    """

    value: int
    unknown: int = 0
    marks: int = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode four bytes; raises `MalformedPacket`."""
        if len(data) != _DATA:
            raise MalformedPacket(f"TaiDoc result: it has {_DATA} bytes, not {len(data)}.")
        return cls(int.from_bytes(data[:2], "little"), data[2], data[3])

    def __bytes__(self) -> bytes:
        return self.value.to_bytes(2, "little") + bytes([self.unknown, self.marks])

    @property
    def kind(self) -> int:
        """What was measured: 0 glucose, 6 haematocrit, 7 ketone; others exist."""
        return self.marks >> 2 & 0x0F

    @property
    def control(self) -> bool:
        """Whether this is a check of the meter and nobody's blood."""
        return self.marks & _MARKS == _CONTROL

    @property
    def meal_mark(self) -> Meal | None:
        """The meal; None if none was marked."""
        return None if self.control else _MEALS[self.marks & _MARKS]

    def component(self, low: int, high: int) -> Component:
        """Return the concentration in mg/dL; beyond what the meter measures its display shows LO or HI."""
        if low <= self.value <= high:
            return Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, value=self.value)
        absent = Absent.BELOW_RANGE if self.value < low else Absent.ABOVE_RANGE
        return Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, absent=absent)
