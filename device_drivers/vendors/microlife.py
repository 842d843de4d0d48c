"""Microlife BP3GY1-2N: commands, answers, and the list of records.

Public sources: joergmlpts/blood-pressure-monitor (bpm_bt.py) and derdilla/blood-pressure-monitor-fl. A frame
is a head (4D FF of a command, 4D 3A of an answer), the length of what follows (2 bytes, high byte first), a
payload, and the low byte of the sum of all before it. The records begin at byte 38 of the payload, ten bytes
each; the 38 bytes before them and the last two of a record are not known: they are kept.
"""

import datetime as dt
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.decoding import PLAIN, Decoded, judged, order_remarks, shape_remarks
from device_drivers.profile import Decode
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import BloodPressureContext, Component
from wire_format.nomenclature import Quantity, Term, Unit

COMMAND_HEAD: Final = b"\x4d\xff"
ANSWER_HEAD: Final = b"\x4d\x3a"
HEAD_LENGTH: Final = 4
RECORDS_AT: Final = 38
RECORD_LENGTH: Final = 10
CENTURY: Final = 2000
DONE: Final = b"\x81"


@dataclass(frozen=True, slots=True)
class MicrolifeFrame:
    """One command or answer."""

    head: bytes
    payload: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole frame; raises `MalformedPacket` for another head, length or sum."""
        r = Reader(data, "Microlife frame")
        head, length = r.take(2, "head"), r.uint(2, "length", "big")
        if head not in {COMMAND_HEAD, ANSWER_HEAD}:
            raise MalformedPacket(f"A Microlife frame does not begin with {head.hex()}.")
        if length < 1 or length != len(data) - HEAD_LENGTH:
            raise MalformedPacket(f"A Microlife frame that announces {length} bytes has {len(data)}.")
        if sum(data[:-1]) & 0xFF != data[-1]:
            raise MalformedPacket("The sum of a Microlife frame does not fit.")
        return cls(head, r.take(length - 1, "payload"))

    def __bytes__(self) -> bytes:
        body = self.head + (len(self.payload) + 1).to_bytes(2, "big") + self.payload
        return body + bytes([sum(body) & 0xFF])


GET_RECORDS: Final = MicrolifeFrame(COMMAND_HEAD, b"\x00\x00\x00\x00\x00\x00\x00\xfd")
DISCONNECT: Final = MicrolifeFrame(COMMAND_HEAD, b"\x04")


def set_clock(local: dt.datetime) -> MicrolifeFrame:
    """Return the command that sets the clock."""
    digits = (local.year - CENTURY, local.month, local.day, local.hour, local.minute, local.second)
    return MicrolifeFrame(COMMAND_HEAD, b"\x0d" + bytes(digits))


def announced(data: bytes) -> int | None:
    """Return how long the frame will be that begins so; None if it is too short to say, or no answer."""
    if len(data) < HEAD_LENGTH or data[:2] != ANSWER_HEAD:
        return None
    return HEAD_LENGTH + int.from_bytes(data[2:4], "big")


@dataclass(frozen=True, slots=True)
class MicrolifeRecord:
    """Ten bytes: systolic, diastolic (mmHg), pulse, year after 2000, month, day, hour, minute, 2 unknown."""

    raw: bytes

    def __post_init__(self) -> None:
        """Refuse another length."""
        if len(self.raw) != RECORD_LENGTH:
            raise MalformedPacket(f"A Microlife record has {RECORD_LENGTH} bytes, not {len(self.raw)}.")

    @classmethod
    def of(cls, systolic: int, diastolic: int, pulse: int, taken: dt.datetime) -> Self:
        """Return the record of a measurement; `taken` are the digits of the clock."""
        digits = (taken.year - CENTURY, taken.month, taken.day, taken.hour, taken.minute)
        return cls(bytes([systolic, diastolic, pulse, *digits, 0, 0]))

    def __bytes__(self) -> bytes:
        return self.raw

    @property
    def empty(self) -> bool:
        """Whether the slot was never written: no pressure and no pulse."""
        return not any(self.raw[:3])

    @property
    def stamp(self) -> DateTime:
        """The digits of the clock; the cuff keeps no seconds."""
        year, month, day, hour, minute = self.raw[3:8]
        return DateTime((CENTURY + year).to_bytes(2, "little") + bytes([month, day, hour, minute, 0]))

    def decoded(self, place: int, decode: Decode = PLAIN) -> Decoded:
        """Return what the record says.

        Where its time cannot be used, it is known by its `place` in the list and all of its bytes.
        """
        systolic, diastolic, pulse = self.raw[:3]
        parts = (
            Component(term=Term.SYSTOLIC, unit=Unit.MMHG, value=Decimal(systolic)),
            Component(term=Term.DIASTOLIC, unit=Unit.MMHG, value=Decimal(diastolic)),
            Component(term=Term.PULSE_RATE, unit=Unit.PER_MINUTE, value=Decimal(pulse)),
        )
        usable = not self.stamp.unknown and self.stamp.stated is not None
        said = Decoded(
            Quantity.BLOOD_PRESSURE,
            parts,
            context=BloodPressureContext(),
            stamp=self.stamp,
            remarks=shape_remarks(reserved=False, trailing=self.raw[8:].strip(b"\0")) + order_remarks(parts),
            sequence=None if usable else place << 32 | zlib.crc32(self.raw),
        )
        return judged(said, decode)


def records_of(payload: bytes) -> tuple[list[MicrolifeRecord], bytes]:
    """Return the records of an answer, empty ones too, and the bytes of a last one that is cut off.

    Raises `MalformedPacket` if the payload is too short to hold any.
    """
    if len(payload) < RECORDS_AT:
        raise MalformedPacket(f"A list of Microlife records has {RECORDS_AT} bytes at least.")
    whole = RECORDS_AT + (len(payload) - RECORDS_AT) // RECORD_LENGTH * RECORD_LENGTH
    found = [MicrolifeRecord(payload[i : i + RECORD_LENGTH]) for i in range(RECORDS_AT, whole, RECORD_LENGTH)]
    return found, payload[whole:]
