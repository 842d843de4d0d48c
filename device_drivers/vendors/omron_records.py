"""How Omron cuffs write a record and their clock into memory: bit fields as tables, one row per layout.

Public sources: userx14/omblepy (deviceSpecific/), eigger/hass-omron (tests/test_record_parsers.py and
tests/test_eeprom_time.py, issues 38, 71, 74, 190). What no source names stays unnamed: the bytes are kept.
"""

import datetime as dt
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.decoding import PLAIN, Decoded, judged, order_remarks
from device_drivers.profile import Decode
from device_drivers.reader import ByteOrder
from wire_format.errors import MalformedPacket
from wire_format.measurement import BloodPressureContext, Component, Failure
from wire_format.nomenclature import Quantity, Term, Unit

SYSTOLIC_BIAS: Final = 25
CENTURY: Final = 2000
_NEVER_A_PRESSURE: Final = 0xFF


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """Where the fields of a record are: first bit and width, of the record read as one number.

    Bits count from the lowest of a little-endian number, from the highest of a big-endian one. A record may
    be longer than `length`: what follows is kept, and means nothing yet.
    """

    length: int
    order: ByteOrder
    fields: Mapping[str, tuple[int, int]]

    def get(self, raw: bytes, name: str) -> int | None:
        """Return a field; None if this layout does not have it."""
        if name not in self.fields:
            return None
        shift, width = self._place(name)
        return int.from_bytes(raw[: self.length], self.order) >> shift & ((1 << width) - 1)

    def put(self, raw: bytes, values: Mapping[str, int]) -> bytes:
        """Return `raw` with fields replaced; raises `ValueError` for a value that does not fit."""
        number = int.from_bytes(raw[: self.length], self.order)
        for name, value in values.items():
            shift, width = self._place(name)
            if value >> width:
                raise ValueError(f"{value} does not fit the {width} bits of {name}")
            number = number & ~(((1 << width) - 1) << shift) | value << shift
        return number.to_bytes(self.length, self.order) + raw[self.length :]

    def _place(self, name: str) -> tuple[int, int]:
        first, width = self.fields[name]
        return (first if self.order == "little" else 8 * self.length - first - width), width


_LITTLE: Final = {
    "systolic": (0, 8),
    "diastolic": (8, 8),
    "pulse": (16, 8),
    "year": (24, 6),
    "hour": (32, 5),
    "day": (37, 5),
    "month": (42, 4),
    "irregular": (46, 1),
    "movement": (47, 1),
    "second": (48, 6),
    "minute": (54, 6),
    "sequence": (80, 16),
}
_BIG: Final = {
    "diastolic": (0, 8),
    "systolic": (8, 8),
    "year": (16, 8),
    "pulse": (24, 8),
    "month": (34, 4),
    "day": (38, 5),
    "hour": (43, 5),
    "minute": (52, 6),
    "second": (58, 6),
}

RECORD_LAYOUTS: Final[Mapping[str, RecordLayout]] = {
    "little_14": RecordLayout(14, "little", _LITTLE),
    "big_14": RecordLayout(14, "big", _BIG | {"movement": (32, 1), "irregular": (33, 1)}),
    # Sources disagree on which of bits 32 and 33 is movement: neither is read.
    "big_14_6232": RecordLayout(14, "big", _BIG | {"year": (18, 6)}),
    "heartguide_24": RecordLayout(24, "little", _LITTLE | {"error": (136, 8)}),
}


@dataclass(frozen=True, slots=True)
class OmronRecord:
    """One record as it lies in memory."""

    layout: RecordLayout
    raw: bytes

    def __post_init__(self) -> None:
        """Refuse a record that is shorter than its layout."""
        if len(self.raw) < self.layout.length:
            raise MalformedPacket(
                f"An Omron record of this kind has {self.layout.length} bytes, not {len(self.raw)}."
            )

    @classmethod
    def of(cls, layout: RecordLayout, size: int, taken: dt.datetime, **values: int) -> Self:
        """Return a record of `size` bytes. `systolic` is in mmHg; `taken` are the digits of the clock."""
        said = values | {"year": taken.year - CENTURY, "systolic": values["systolic"] - SYSTOLIC_BIAS}
        said |= {name: getattr(taken, name) for name in ("month", "day", "hour", "minute", "second")}
        return cls(layout, layout.put(bytes(size), said))

    def __bytes__(self) -> bytes:
        return self.raw

    @property
    def empty(self) -> bool:
        """Whether the slot was never written: all ones, or all zeros."""
        return self.raw in {b"\xff" * len(self.raw), bytes(len(self.raw))}

    @property
    def stamp(self) -> DateTime:
        """The digits of the cuff's clock, as stored. Seconds up to 63 occur: they are kept."""
        rest = ("month", "day", "hour", "minute", "second")
        year = CENTURY + self._number("year")
        return DateTime(year.to_bytes(2, "little") + bytes(self._number(name) for name in rest))

    def _number(self, name: str) -> int:
        return self.layout.get(self.raw, name) or 0

    def _truth(self, name: str) -> bool | None:
        found = self.layout.get(self.raw, name)
        return None if found is None else bool(found)

    def number(self, area: int, slot: int) -> int:
        """Return what this record is known by, beside its time, among all areas of the cuff.

        That is its own number, where the layout has one, or its slot; without a usable time, the slot and
        all of its bytes: a later record in this slot may have the same unusable time.
        """
        if self.stamp.unknown or self.stamp.stated is None:
            return (area << 16 | slot) << 32 | zlib.crc32(self.raw)
        own = self.layout.get(self.raw, "sequence")
        return area << 16 | (slot if own is None else own)

    def decoded(self, area: int = 0, slot: int = 0, decode: Decode = PLAIN) -> Decoded:
        """Return what the record says; `area` and `slot` are where it lies.

        Raises `MalformedPacket` if its pressure is no number of this layout.
        """
        stored = self._number("systolic")
        if stored == _NEVER_A_PRESSURE:
            raise MalformedPacket("The systolic byte of an Omron record that is not empty is 0xFF.")
        parts = (
            _component(Term.SYSTOLIC, Unit.MMHG, stored + SYSTOLIC_BIAS),
            _component(Term.DIASTOLIC, Unit.MMHG, self._number("diastolic")),
            _component(Term.PULSE_RATE, Unit.PER_MINUTE, self._number("pulse")),
        )
        return judged(
            Decoded(
                Quantity.BLOOD_PRESSURE,
                parts,
                context=BloodPressureContext(
                    movement=self._truth("movement"), irregular_pulse=self._truth("irregular")
                ),
                stamp=self.stamp,
                failure=Failure.DEVICE_FAULT if self._truth("error") else None,
                remarks=order_remarks(parts),
                sequence=self.number(area, slot),
            ),
            decode,
        )


def _component(term: Term, unit: Unit, value: int) -> Component:
    return Component(term=term, unit=unit, value=Decimal(value))


@dataclass(frozen=True, slots=True)
class ClockBlockLayout:
    """Where the digits of the clock are within its block, and which byte holds the sum of those before."""

    length: int
    offset: int
    names: tuple[str, ...]
    checked: int
    checksum: int

    def digits(self, block: bytes) -> DateTime | None:
        """Return what the clock showed; None if the block's sum does not fit or it is too short."""
        if len(block) != self.length or block[self.checksum] != self._sum(block):
            return None
        said = dict(zip(self.names, block[self.offset : self.offset + len(self.names)], strict=True))
        year = (CENTURY + said["year"]).to_bytes(2, "little")
        rest = ("month", "day", "hour", "minute", "second")
        return DateTime(year + bytes(said[name] for name in rest))

    def stamped(self, block: bytes, local: dt.datetime) -> bytes:
        """Return a block with the clock set, all else as it was."""
        made = bytearray(block)
        values = [local.year - CENTURY if n == "year" else getattr(local, n) for n in self.names]
        made[self.offset : self.offset + len(values)] = bytes(values)
        made[self.checksum] = self._sum(made)
        return bytes(made)

    def _sum(self, block: bytes | bytearray) -> int:
        return sum(block[: self.checked]) & 0xFF


_CHRONOLOGICAL: Final = ("year", "month", "day", "hour", "minute", "second")
_MIXED: Final = ("month", "year", "hour", "day", "second", "minute")

CLOCK_BLOCKS: Final[Mapping[str, ClockBlockLayout]] = {
    "at_8": ClockBlockLayout(16, 8, _CHRONOLOGICAL, checked=14, checksum=14),
    "at_8_mixed": ClockBlockLayout(16, 8, _MIXED, checked=14, checksum=15),
    "at_2_mixed": ClockBlockLayout(10, 2, _MIXED, checked=8, checksum=9),
}
