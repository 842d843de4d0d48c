"""SD CodeFree: frames 53, direction, length of the rest, message, XOR of the message, AA."""

from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import Component, Meal
from wire_format.nomenclature import Term, Unit

STX: Final = 0x53
ETX: Final = 0xAA
FROM_METER: Final = 0x20
TO_METER: Final = 0x10
HEAD: Final = 3
_TAIL: Final = 2
_CENTURY: Final = 2000
_MEALS: Final = {0x00: None, 0x10: Meal.PREPRANDIAL, 0x20: Meal.POSTPRANDIAL}


@dataclass(frozen=True, slots=True)
class CodeFreeFrame:
    """One frame of either direction."""

    direction: int
    message: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole frame; raises `MalformedPacket` if it is not framed, or its XOR is wrong."""
        framed = len(data) > HEAD + _TAIL and data[0] == STX and data[-1] == ETX
        if not framed or data[1] not in {FROM_METER, TO_METER} or data[2] != len(data) - HEAD:
            raise MalformedPacket(f"CodeFree frame: {len(data)} bytes that are not framed as one.")
        message = bytes(data[HEAD:-_TAIL])
        if reduce(xor, message) != data[-2]:
            raise MalformedPacket("CodeFree frame: the checksum is wrong.")
        return cls(data[1], message)

    def __bytes__(self) -> bytes:
        head = bytes([STX, self.direction, len(self.message) + _TAIL])
        return head + self.message + bytes([reduce(xor, self.message), ETX])


@dataclass(frozen=True, slots=True)
class CodeFreeCount:
    """How many records there are: 30, the number with its high byte first, filling."""

    count: int
    filling: bytes = b"\xaa" * 19

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a message; raises `MalformedPacket`."""
        r = Reader(data, "CodeFree count")
        if r.uint(1, "kind") != 0x30:  # noqa: PLR2004 - the first byte of this message
            raise MalformedPacket("CodeFree count: the message is another one.")
        return cls(r.uint(2, "count", "big"), r.rest())

    def __bytes__(self) -> bytes:
        return b"\x30" + self.count.to_bytes(2, "big") + self.filling


@dataclass(frozen=True, slots=True)
class CodeFreeRecord:
    """A stored result: mg/dL, and bytes before and behind whose meaning is not known."""

    stamp: DateTime
    value: int
    meal: int = 0
    before: bytes = b"\x20\x00"
    behind: bytes = bytes(7)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a message; raises `MalformedPacket`."""
        r = Reader(data, "CodeFree record")
        before = r.take(2, "its first bytes")
        year, month, day, hours, minutes = r.take(5, "time")
        stamp = DateTime.from_digits(_CENTURY + year, month, day, hours, minutes, 0)
        return cls(stamp, r.uint(2, "value", "big"), r.uint(1, "meal"), before, r.take(7, "its last bytes"))

    def __bytes__(self) -> bytes:
        year, month, day, hours, minutes, _ = self.stamp.digits
        time = bytes([year - _CENTURY, month, day, hours, minutes])
        return self.before + time + self.value.to_bytes(2, "big") + bytes([self.meal]) + self.behind

    @property
    def component(self) -> Component:
        """The concentration in mg/dL."""
        return Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, value=self.value)

    @property
    def meal_mark(self) -> Meal | None:
        """The meal; None if none was marked."""
        return _MEALS.get(self.meal, Meal.RESERVED)
