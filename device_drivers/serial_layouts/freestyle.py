"""Abbott FreeStyle Lite, Freedom and Optium: a memory that comes as one text, summed up at its end.

The text: serial number, version, clock, number of records, one line a record, then "0xHHHH  END". The sum is
of all bytes before "0x". June and July have four letters, other months three and a space.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Self

from device_drivers.date_time import DateTime
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Component
from wire_format.nomenclature import Term, Unit

END: Final = b" END"
"""How the text ends; no line before has a space and these letters."""

_MONTHS: Final = (
    "Jan ",
    "Feb ",
    "Mar ",
    "Apr ",
    "May ",
    "June",
    "July",
    "Aug ",
    "Sep ",
    "Oct ",
    "Nov ",
    "Dec ",
)
# The answer to $colq shortens June and July as well.
_NUMBERS: Final = {name: n for n, name in enumerate(_MONTHS, start=1)} | {"Jun ": 6, "Jul ": 7}
_DATE: Final = r"([A-Z][a-z]{2}[ ey]) ([0-9]{2}) ([0-9]{4})"
_CLOCK: Final = re.compile(f"(?:Clock:\t)?{_DATE}[\t ]([0-9]{{2}}):([0-9]{{2}}):([0-9]{{2}})")
_RECORD: Final = re.compile(
    f"([0-9]{{3}}|HI |LO )  {_DATE} ([0-9]{{2}}):([0-9]{{2}}) ([GK]|[0-9A-F]{{2}}) 0x([0-9A-F]{{2}})"
)
_SERIAL: Final = re.compile(r"[0-9A-Z][0-9A-Z-]{7,15}")
_TRAILER: Final = re.compile(rb"0x([0-9A-F]{4})  END")
_EMPTY: Final = b"Log Empty END"
_BEYOND: Final = {"HI ": Absent.ABOVE_RANGE, "LO ": Absent.BELOW_RANGE}
_HEAD: Final = 4
_CONTROL: Final = 0x01
_TIME_LOST: Final = 0x02

KETONE_STEPS: Final = 18
"""A ketone of 1 mmol/L is stored as 18; the display rounds to tenths, which the stored number gives back."""


def _month(name: str) -> int:
    try:
        return _NUMBERS[name]
    except KeyError:
        raise MalformedPacket(f"FreeStyle: {name!r} is no month.") from None


@dataclass(frozen=True, slots=True)
class FreeStyleClock:
    """A clock with seconds, as the head of a memory or the answer to $colq gives it."""

    stamp: DateTime

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a line without its end; raises `MalformedPacket`."""
        found = _CLOCK.fullmatch(_ascii(data))
        if found is None:
            raise MalformedPacket("FreeStyle: the line is no clock.")
        day, year, hours, minutes, seconds = (int(found[n]) for n in range(2, 7))
        return cls(DateTime.from_digits(year, _month(found[1]), day, hours, minutes, seconds))

    def __bytes__(self) -> bytes:
        year, month, day, hours, minutes, seconds = self.stamp.digits
        return f"{_MONTHS[month - 1]} {day:02} {year:04} {hours:02}:{minutes:02}:{seconds:02}".encode()


@dataclass(frozen=True, slots=True)
class FreeStyleRecord:
    """One line: three digits, "HI " or "LO ", digits of a clock in minutes, a kind and status bits.

    An Optium's `kind` is G (glucose) or K (ketone); other meters give two hex digits. Status bit 0 is control
    solution, bit 1 a clock that had lost the time.
    """

    value: str
    digits: DateTime
    kind: str
    status: int = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a line without its end; raises `MalformedPacket`."""
        found = _RECORD.fullmatch(_ascii(data))
        if found is None:
            raise MalformedPacket("FreeStyle: the line is no record.")
        day, year, hours, minutes = (int(found[n]) for n in range(3, 7))
        stamp = DateTime.from_digits(year, _month(found[2]), day, hours, minutes, 0)
        return cls(found[1], stamp, found[7], int(found[8], 16))

    def __bytes__(self) -> bytes:
        year, month, day, hours, minutes, _ = self.digits.digits
        date = f"{_MONTHS[month - 1]} {day:02} {year:04} {hours:02}:{minutes:02}"
        return f"{self.value}  {date} {self.kind} 0x{self.status:02X}".encode()

    @property
    def stamp(self) -> DateTime:
        """The digits; without their year, hence unknown, if the meter says that it had lost the time."""
        _, month, day, hours, minutes, _ = self.digits.digits
        lost = DateTime.from_digits(0, month, day, hours, minutes, 0)
        return lost if self.status & _TIME_LOST else self.digits

    @property
    def control(self) -> bool:
        """Whether this is a check of the meter and nobody's blood."""
        return bool(self.status & _CONTROL)

    @property
    def reserved_bits(self) -> bool:
        """Whether status bits are set whose meaning is not known."""
        return bool(self.status & ~(_CONTROL | _TIME_LOST))

    @property
    def component(self) -> Component:
        """Glucose in mg/dL or ketone in mmol/L, or why there is none."""
        ketone = self.kind == "K"
        term, unit = (Term.KETONE, Unit.MMOL_PER_L) if ketone else (Term.GLUCOSE, Unit.MG_PER_DL)
        if self.value in _BEYOND:
            return Component(term=term, unit=unit, absent=_BEYOND[self.value])
        number = Decimal(int(self.value))
        if ketone:
            number = (number / KETONE_STEPS).quantize(Decimal("0.1"), ROUND_HALF_EVEN)
        return Component(term=term, unit=unit, value=number)


@dataclass(frozen=True, slots=True)
class FreeStyleMemory:
    """The whole memory, its sum verified. `lines` are the records as sent, decoded one by one."""

    serial: str
    version: str
    clock: FreeStyleClock
    lines: tuple[bytes, ...] = ()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the text up to and with END; raises `MalformedPacket` if its sum or count is wrong."""
        body = _summed(data)
        lines = [line for part in body.split(b"\r\n") if (line := part.strip(b"\r\n"))]
        if len(lines) < _HEAD or not _SERIAL.fullmatch(_ascii(lines[0])):
            raise MalformedPacket("FreeStyle memory: it does not begin with a serial number and a version.")
        records = tuple(lines[_HEAD:])
        count = _ascii(lines[3]).strip()
        if not (count.isdecimal() and int(count) == len(records)):
            raise MalformedPacket(f"FreeStyle memory: it has {len(records)} records, and announced others.")
        return cls(_ascii(lines[0]), _ascii(lines[1]), FreeStyleClock.from_bytes(lines[2]), records)

    def __bytes__(self) -> bytes:
        head = [b"", self.serial.encode(), self.version.encode(), bytes(self.clock)]
        body = b"\r\n".join([*head, b"%03d" % len(self.lines), *self.lines, b""])
        return body + b"0x%04X  END" % (sum(body) & 0xFFFF)


def _summed(data: bytes) -> bytes:
    """Return what is before the sum, which must be right; an empty log has none."""
    if data.endswith(_EMPTY):
        return data.removesuffix(_EMPTY) + b"000"
    found = _TRAILER.fullmatch(data[-len(b"0xHHHH  END") :])
    if found is None:
        raise MalformedPacket("FreeStyle memory: it does not end in a checksum.")
    body = data[: -len(found[0])]
    if sum(body) & 0xFFFF != int(found[1], 16):
        raise MalformedPacket("FreeStyle memory: the checksum is wrong.")
    return body


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedPacket("FreeStyle: there are bytes that are no ASCII.") from None
