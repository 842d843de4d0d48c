"""Simulated SD CodeFree: it speaks first, and ends the session after its last record."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from device_drivers.date_time import DateTime
from device_drivers.serial_layouts.codefree import (
    FROM_METER,
    HEAD,
    STX,
    CodeFreeCount,
    CodeFreeFrame,
    CodeFreeRecord,
)
from virtual_home.serial.meter import SerialMeter

_MEALS: Final = {"none": 0x00, "before": 0x10, "after": 0x20}


@dataclass
class CodeFreeMeter(SerialMeter):
    """`next` is the record that the next request brings."""

    next: int = 0

    def greeting(self) -> bytes:
        """Return the challenge, behind the NUL that some adapters put before it."""
        self.next = 0
        self.heard.clear()
        return b"\0" + self._frame(b"\x10\x30")

    @staticmethod
    def _frame(message: bytes) -> bytes:
        return bytes(CodeFreeFrame(FROM_METER, message))

    def _answers(self) -> Iterator[bytes]:
        self.skip_to(STX)
        while len(self.heard) > HEAD and len(self.heard) >= HEAD + self.heard[2]:
            message = CodeFreeFrame.from_bytes(self.taken(HEAD + self.heard[2])).message
            if message == b"\x10\x40":
                yield self._frame(bytes(CodeFreeCount(len(self.memory))))
            elif message == b"\x10\x60":
                yield self._frame(self._record())

    def _record(self) -> bytes:
        if self.next >= len(self.memory):
            return b"\x10\x70"
        result = self.newest_first[self.next]
        self.next += 1
        stamp = DateTime.of(result.taken.replace(second=0))
        value = result.value if isinstance(result.value, int) else 0
        return bytes(CodeFreeRecord(stamp, value, _MEALS[result.meal]))
