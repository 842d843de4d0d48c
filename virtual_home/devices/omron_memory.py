"""The memory of a virtual Omron cuff: rings of records, an index, a clock; it answers frames. No radio here.

It is built from the same memory map as the driver reads it by, and notes every write that it is asked for.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from device_drivers.vendors.omron_frames import ANSWER, END, ENDED, READ, START, WRITE, Frame
from device_drivers.vendors.omron_map import OmronMap, Slot
from device_drivers.vendors.omron_records import OmronRecord

SIZE: Final = 0x10000
REFUSED: Final = 0xE3
_RING_IS_FULL: Final = 0x4000
_NOTHING_STORED: Final = 0x8000


@dataclass
class OmronMemory:
    """`digits` tells what the clock shows; `shows_p` is whether its display blinks -P-."""

    map: OmronMap
    digits: Callable[[], dt.datetime]
    set_digits: Callable[[dt.datetime], None] = lambda _: None
    shows_p: bool = True
    key: bytes | None = None
    unlocked: bool = False
    refused_areas: frozenset[int] = frozenset()
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    cells: bytearray = field(default_factory=lambda: bytearray(b"\xff" * SIZE))
    stored: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stored = [0 for _ in self.map.areas]
        if self.map.clock is not None:
            self._put(self.map.clock.address, bytes(self.map.clock.block.length))

    def store(self, *, area: int = 0, **values: int) -> OmronRecord:
        """Write a record into the ring of an area; `values` are fields of the layout, systolic in mmHg."""
        number = self.stored[area]
        if "sequence" in self.map.layout.fields:
            values.setdefault("sequence", number + 1)
        record = OmronRecord.of(self.map.layout, self.map.record_size, self.digits(), **values)
        self.put(area, record)
        return record

    def put(self, area: int, record: OmronRecord) -> None:
        """Write a record as it is into the next slot."""
        slot: Slot = (area, self.stored[area] % self.map.areas[area].slots)
        self._put(self.map.address_of(slot), bytes(record))
        self.stored[area] += 1

    def greeted(self, message: bytes) -> bytes:
        """Answer a message of the unlocking."""
        head, rest = message[:1], message[1:]
        if head == b"\x11":
            self.unlocked = self.map.unlock == "token"
            return b"\x91\x00" + rest[:4]
        if head == b"\x02":
            return bytes([0x82, 0 if self.shows_p else 1])
        if head == b"\x00" and self.shows_p:
            self.key = rest
            return b"\x80\x00"
        self.unlocked = head == b"\x01" and self.key is not None and rest == self.key
        return bytes([head[0] | 0x80, 0 if self.unlocked else 1])

    def answer(self, frame: Frame) -> Frame:
        """Answer a frame. Locked, it refuses everything."""
        if not self.unlocked and self.map.unlock != "none":
            return Frame(ENDED, 0, 0, status=REFUSED)
        if frame == END:
            return Frame(ENDED, 0, 0)
        if frame.command == START.command:
            return Frame(ANSWER, 0, frame.size)
        if frame.command == READ:
            return self._read(frame)
        if frame.command == WRITE:
            return self._write(frame)
        return Frame(ENDED, 0, 0, status=REFUSED)

    def _read(self, frame: Frame) -> Frame:
        if any(self._within(frame, area) for area in self.refused_areas):
            return Frame(READ | ANSWER, frame.address, frame.size, status=REFUSED)
        self._refresh()
        data = bytes(self.cells[frame.address : frame.address + frame.size])
        return Frame(READ | ANSWER, frame.address, frame.size, data)

    def _write(self, frame: Frame) -> Frame:
        self.writes.append((frame.address, frame.data))
        clock = self.map.clock
        if clock is not None and frame.address == clock.write_address:
            shown = clock.block.digits(frame.data)
            if shown is not None and shown.stated is not None:
                self.set_digits(shown.stated)
        self._put(frame.address, frame.data)
        return Frame(WRITE | ANSWER, frame.address, frame.size, frame.data)

    def _within(self, frame: Frame, number: int) -> bool:
        area = self.map.areas[number]
        return area.address <= frame.address < area.address + area.slots * self.map.record_size

    def _refresh(self) -> None:
        clock, index = self.map.clock, self.map.index
        if clock is not None:
            block = bytes(self.cells[clock.address : clock.address + clock.block.length])
            self._put(clock.address, clock.block.stamped(block, self.digits()))
        if index is not None:
            for at, count, area in zip(index.offsets, self.stored, self.map.areas, strict=True):
                full = _RING_IS_FULL if count >= area.slots else 0
                value = count % area.slots | full if count else _NOTHING_STORED
                self._put(index.address + at, value.to_bytes(2, index.order))

    def _put(self, address: int, data: bytes) -> None:
        self.cells[address : address + len(data)] = data
