"""Where an Omron model keeps its records: the `[protocol]` of a profile, and what to read of it.

The memory of each user is a ring of slots. The index block says which slot is written next; where a profile
gives it, a visit reads only what is new, the newest first, and checks that the ring is still the one it knew.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from device_drivers.driver import RecordCursor
from device_drivers.profile import Uuid
from device_drivers.reader import ByteOrder
from device_drivers.vendors.omron_frames import CLASSIC_RECEIVE, CLASSIC_TRANSMIT
from device_drivers.vendors.omron_records import (
    CLOCK_BLOCKS,
    RECORD_LAYOUTS,
    ClockBlockLayout,
    OmronRecord,
    RecordLayout,
)

MAX_DATA: Final = 56
"""Bytes of data in one frame, at most: four channels of 16 bytes less the frame's own eight."""

_NOTHING_STORED: Final = 0x8000
_UNKNOWN: Final = 0xFFFF
_HALF: Final = (1 << 31) - 1

Address = int
Slot = tuple[int, int]
"""Which area, and which slot of it; both from 0."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Area(_Part):
    """The records of one user: `slots` of them from `address` on."""

    address: int = Field(ge=0, le=0xFFFF)
    slots: int = Field(ge=1, le=1000)


class Index(_Part):
    """The block that says which slot of each area is written next: a 16-bit number at each of `offsets`."""

    address: int = Field(ge=0, le=0xFFFF)
    size: int = Field(ge=2, le=MAX_DATA)
    order: ByteOrder
    mask: int = Field(default=0xFF, ge=1, le=0xFFFF)
    offsets: tuple[int, ...]

    @model_validator(mode="after")
    def _within(self) -> Self:
        if any(not 0 <= offset <= self.size - 2 for offset in self.offsets):
            raise ValueError("an offset lies outside of the block")
        return self

    def positions(self, block: bytes, areas: Sequence[Area]) -> tuple[int | None, ...]:
        """Return the slot that each area writes next; None where the block says none that it has."""
        return tuple(
            self._position(block, at, area.slots) for at, area in zip(self.offsets, areas, strict=True)
        )

    def _position(self, block: bytes, at: int, slots: int) -> int | None:
        raw = int.from_bytes(block[at : at + 2], self.order)
        position = raw & self.mask
        return None if raw == _NOTHING_STORED or position > slots else position % slots


class ClockPlace(_Part):
    """Where the clock is read, in which layout, and where it may be written (the cuff keeps two copies)."""

    address: int = Field(ge=0, le=0xFFFF)
    layout: str
    write_address: int | None = Field(default=None, ge=0, le=0xFFFF)

    @property
    def block(self) -> ClockBlockLayout:
        """The layout that the name stands for."""
        return CLOCK_BLOCKS[self.layout]


class OmronMap(_Part):
    """The memory of one model.

    `unlock`: older cuffs want the `key` they were given while pairing, newer ones a `token` that they repeat.
    `record` names a layout, `record_size` the distance of two records. Without `index` everything is read at
    each visit.
    """

    unlock: Literal["key", "token", "none"]
    transmit: tuple[Uuid, ...] = CLASSIC_TRANSMIT
    receive: tuple[Uuid, ...] = CLASSIC_RECEIVE
    block_size: int = Field(ge=14, le=MAX_DATA)
    areas: tuple[Area, ...] = Field(min_length=1, max_length=3)
    record: str
    record_size: int = Field(ge=14, le=64)
    index: Index | None = None
    clock: ClockPlace | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = ", ".join(sorted(RECORD_LAYOUTS))
        if self.record not in RECORD_LAYOUTS:
            raise ValueError(f"there is no record layout {self.record!r}: there are {known}")
        if not self.layout.length <= self.record_size <= self.block_size:
            raise ValueError("a record is as long as its layout at least, and as a block at most")
        if self.index is not None and len(self.index.offsets) != len(self.areas):
            raise ValueError("the index has one offset for each area")
        if self.clock is not None and self.clock.layout not in CLOCK_BLOCKS:
            raise ValueError(f"there is no clock block layout {self.clock.layout!r}")
        if any(self._clock_within(area) for area in self.areas):
            raise ValueError("the clock would be written into the records")
        return self

    def _clock_within(self, area: Area) -> bool:
        if self.clock is None or self.clock.write_address is None:
            return False
        first, end = self.clock.write_address, self.clock.write_address + self.clock.block.length
        return first < area.address + area.slots * self.record_size and area.address < end

    @property
    def layout(self) -> RecordLayout:
        """The layout of a record."""
        return RECORD_LAYOUTS[self.record]

    def every_slot(self, positions: Sequence[int | None]) -> list[Slot]:
        """Return all slots: of an area whose position is known the newest first, else as they lie."""
        found = []
        for number, area in enumerate(self.areas):
            newest = positions[number] if positions else None
            order = range(area.slots) if newest is None else _back_from(newest - 1, area.slots, area.slots)
            found += [(number, slot) for slot in order]
        return found

    def new_slots(self, before: Sequence[int | None], now: Sequence[int | None]) -> list[Slot]:
        """Return what was written between two positions, and a slot on either side to know the ring by."""
        found = []
        for number, area in enumerate(self.areas):
            was, newest = before[number], now[number]
            if was is None and newest is None:
                continue
            if was is None or newest is None:
                order = list(range(area.slots))
            else:
                count = (newest - was) % area.slots + 2
                order = _back_from(newest, min(count, area.slots), area.slots)
            found += [(number, slot) for slot in order]
        return found

    def requests(self, slots: Sequence[Slot]) -> Iterator[tuple[Address, tuple[Slot, ...]]]:
        """Return where to read, so that each block holds whole records, and which slots it holds."""
        most = self.block_size // self.record_size
        block: list[Slot] = []
        for slot in slots:
            if block and (len(block) == most or not _adjacent(block[-1], slot)):
                yield self.address_of(min(block)), tuple(sorted(block))
                block = []
            block.append(slot)
        if block:
            yield self.address_of(min(block)), tuple(sorted(block))

    def address_of(self, slot: Slot) -> Address:
        """Return the address of a slot."""
        return self.areas[slot[0]].address + slot[1] * self.record_size

    def user_of(self, slot: Slot) -> int | None:
        """Return which user a slot belongs to, from 1; None where the cuff has one user only."""
        return slot[0] + 1 if len(self.areas) > 1 else None

    def record_of(self, raw: bytes) -> OmronRecord:
        """Return the record that lies in a slot."""
        return OmronRecord(self.layout, raw)


def _back_from(slot: int, count: int, slots: int) -> list[int]:
    return [(slot - step) % slots for step in range(count)]


def _adjacent(one: Slot, other: Slot) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) == 1


@dataclass(frozen=True, slots=True)
class RingMark:
    """Where each ring stood after a visit, and by which bytes it is known again.

    `newest` is a CRC-32 over the slots written last, `following` one (31 bits) over those to be written next.
    """

    positions: tuple[int | None, ...]
    newest: int
    following: int

    @classmethod
    def of(
        cls, areas: Sequence[Area], positions: Sequence[int | None], seen: Mapping[Slot, bytes]
    ) -> Self | None:
        """Return the mark of a visit; None if it did not see what a mark is made of."""
        last = _around(areas, positions, -1)
        following = _around(areas, positions, 0)
        if any(slot not in seen for slot in (*last, *following)):
            return None
        return cls(tuple(positions), _crc(last, seen), _crc(following, seen) & _HALF)

    @classmethod
    def from_cursor(cls, cursor: RecordCursor, areas: int) -> Self:
        """Return the mark that a cursor keeps."""
        found = [cursor.sequence >> 16 * n & 0xFFFF for n in range(areas)]
        positions = tuple(None if p == _UNKNOWN else p for p in found)
        return cls(positions, cursor.count >> 31, cursor.count & _HALF)

    @property
    def cursor(self) -> RecordCursor:
        """The mark as the two numbers that are kept of a device."""
        kept = [_UNKNOWN if p is None else p for p in self.positions]
        sequence = sum(position << 16 * n for n, position in enumerate(kept))
        return RecordCursor(sequence=sequence, count=self.newest << 31 | self.following)

    def holds(self, areas: Sequence[Area], now: Sequence[int | None], seen: Mapping[Slot, bytes]) -> bool:
        """Tell whether the ring is still the one that was marked.

        The slots written last must be as they were; if none was written since, those that follow too.
        """
        last = _around(areas, self.positions, -1)
        if any(slot not in seen for slot in last) or _crc(last, seen) != self.newest:
            return False
        following = _around(areas, self.positions, 0)
        return tuple(now) != self.positions or _crc(following, seen) & _HALF == self.following


def _around(areas: Sequence[Area], positions: Sequence[int | None], step: int) -> list[Slot]:
    pairs = enumerate(zip(areas, positions, strict=True))
    return [(n, (at + step) % area.slots) for n, (area, at) in pairs if at is not None]


def _crc(slots: Sequence[Slot], seen: Mapping[Slot, bytes]) -> int:
    return zlib.crc32(b"".join(seen[slot] for slot in slots))
