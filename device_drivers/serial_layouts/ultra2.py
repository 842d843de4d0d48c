"""OneTouch Ultra2: lines of ASCII, each ended by a space, the sum of the bytes before it, and CR."""

import re
from dataclasses import dataclass
from typing import Final, Self

from device_drivers.date_time import DateTime
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Component, Failure, Meal
from wire_format.nomenclature import Term, Unit

_LINE: Final = re.compile(rb"([\x20-\x7E]+) ([0-9A-F]{4})\r")
_HEADER: Final = re.compile(r'P ([0-9]{3}),"([0-9A-Z]{9})","(MG/DL |MMOL/L)"')
_SERIAL: Final = re.compile(r'@ "([0-9A-Z]{8}Y)"')
_CLOCK: Final = r'"([A-Z]{3})","([0-9]{2})/([0-9]{2})/([0-9]{2})","([0-9]{2}):([0-9]{2}):([0-9]{2})   "'
_SHOWN: Final = re.compile(f"[FT] {_CLOCK}")
_RECORD: Final = re.compile(f'P {_CLOCK},"([C ]) ([0-9]{{3}}|HI |LO )([? ])","([NBA])","([0-9]{{2}})", 00')
_MEALS: Final = {"N": None, "B": Meal.PREPRANDIAL, "A": Meal.POSTPRANDIAL}
_BEYOND: Final = {"HI ": Absent.ABOVE_RANGE, "LO ": Absent.BELOW_RANGE}
_CENTURY: Final = 2000


def line_sum(data: bytes) -> int:
    """Return the 16-bit sum of bytes."""
    return sum(data) & 0xFFFF


@dataclass(frozen=True, slots=True)
class Ultra2Line:
    """One line without its sum."""

    text: str

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a line up to and with CR; raises `MalformedPacket` if its sum is wrong or missing."""
        found = _LINE.fullmatch(data)
        if found is None:
            raise MalformedPacket("Ultra2 line: it does not end in a checksum.")
        if line_sum(found[1]) != int(found[2], 16):
            raise MalformedPacket("Ultra2 line: the checksum is wrong.")
        return cls(found[1].decode())

    def __bytes__(self) -> bytes:
        data = self.text.encode()
        return data + b" %04X\r" % line_sum(data)


def _digits(found: re.Match[str], first: int) -> DateTime:
    month, day, year, hours, minutes, seconds = (int(found[first + n]) for n in range(6))
    return DateTime.from_digits(_CENTURY + year, month, day, hours, minutes, seconds)


def serial_number(line: Ultra2Line) -> str:
    """Return the serial number of an answer to DM@; an Ultra2's has nine characters and ends in Y."""
    found = _SERIAL.fullmatch(line.text)
    if found is None:
        raise MalformedPacket("Ultra2: the answer is no serial number of an Ultra2.")
    return found[1]


def software_version(line: Ultra2Line) -> str:
    """Return the version of an answer to DM?."""
    if not line.text.startswith("?"):
        raise MalformedPacket("Ultra2: the answer is no version.")
    return line.text[1:].strip()


def shown_clock(line: Ultra2Line) -> DateTime:
    """Return the digits of an answer to DMF or DMT."""
    found = _SHOWN.fullmatch(line.text)
    if found is None:
        raise MalformedPacket("Ultra2: the answer is no time.")
    return _digits(found, 2)


def record_count(line: Ultra2Line) -> int:
    """Return the number of records that the first line of a dump announces.

    Its unit is what the display shows; values are mg/dL always.
    """
    found = _HEADER.fullmatch(line.text)
    if found is None:
        raise MalformedPacket("Ultra2: the dump does not begin with its header.")
    return int(found[1])


@dataclass(frozen=True, slots=True)
class Ultra2Record:
    """One line of a dump.

    `value` is three digits, "HI " or "LO "; `damaged` says that the meter itself does not trust its memory
    of it. `comment` is a code from 00 to 11.
    """

    weekday: str
    stamp: DateTime
    value: str
    meal: str = "N"
    comment: str = "00"
    control: bool = False
    damaged: bool = False

    @classmethod
    def of(cls, line: Ultra2Line) -> Self:
        """Read a line; raises `MalformedPacket` if it is no record."""
        found = _RECORD.fullmatch(line.text)
        if found is None:
            raise MalformedPacket("Ultra2: the line is no record.")
        return cls(
            found[1],
            _digits(found, 2),
            found[9],
            found[11],
            found[12],
            control=found[8] == "C",
            damaged=found[10] == "?",
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a line up to and with CR; raises `MalformedPacket`."""
        return cls.of(Ultra2Line.from_bytes(data))

    def __bytes__(self) -> bytes:
        return bytes(Ultra2Line(self.text))

    @property
    def text(self) -> str:
        """The line without its sum."""
        year, month, day, hours, minutes, seconds = self.stamp.digits
        date = f"{month:02}/{day:02}/{year % 100:02}"
        time = f"{hours:02}:{minutes:02}:{seconds:02}   "
        kind, trust = "C" if self.control else " ", "?" if self.damaged else " "
        result = f"{kind} {self.value}{trust}"
        return f'P "{self.weekday}","{date}","{time}","{result}","{self.meal}","{self.comment}", 00'

    @property
    def component(self) -> Component:
        """The concentration in mg/dL, or why there is none."""
        absent = Absent.NOT_A_NUMBER if self.damaged else _BEYOND.get(self.value)
        if absent is not None:
            return Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, absent=absent)
        return Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, value=int(self.value))

    @property
    def failure(self) -> Failure | None:
        """What the meter says of its own memory."""
        return Failure.DEVICE_FAULT if self.damaged else None

    @property
    def meal_mark(self) -> Meal | None:
        """The meal; None if none was marked."""
        return _MEALS[self.meal]
