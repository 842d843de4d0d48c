"""Simulated OneTouch Ultra2 and UltraEasy."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from device_drivers.date_time import DateTime
from device_drivers.serial_layouts.lifescan import (
    HIGH,
    LOW,
    Link,
    UltraEasyRecord,
    clock_digits,
    clock_seconds,
)
from device_drivers.serial_layouts.ultra2 import Ultra2Line, Ultra2Record
from device_drivers.vendors.lifescan import STX, LifeScanFrame
from virtual_home.serial.meter import Result, SerialMeter
from wire_format.errors import MalformedPacket

_DAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MEALS: Final = {"none": "N", "before": "B", "after": "A"}
_ERASE_LINE: Final = "DMZ"
_ERASE_MESSAGE: Final = b"\x05\x1a"
_COUNT_INDEX: Final = 501


def _line(text: str) -> bytes:
    return bytes(Ultra2Line(text)) + b"\n"


@dataclass
class Ultra2Meter(SerialMeter):
    """Answers lines of commands; `unit` is what the display shows, and no more than that."""

    unit: str = "MG/DL "

    def _answers(self) -> Iterator[bytes]:
        while (end := self.heard.find(b"\r")) >= 0:
            line = self.taken(end + 1).strip(b"\x11\r").decode("ascii", "replace")
            yield from self._answer(line)

    def _answer(self, line: str) -> Iterator[bytes]:
        match line:
            case "DM?":
                yield _line("?P02.00.00 30/08/06")
            case "DM@":
                yield _line(f'@ "{self.serial}"')
            case "DMF":
                yield _line(f"F {self._shown()}")
            case "DMP":
                yield from self._dump()
            case _ if line.startswith("DMT"):
                moment = dt.datetime.strptime(line[3:], "%m/%d/%y %H:%M:%S")  # noqa: DTZ007 - no zone
                self.set_clock(moment)
                yield _line(f"T {self._shown()}")
            case _ if line == _ERASE_LINE:
                self.erasures_asked += 1

    def _shown(self) -> str:
        shown = self.clock()
        return f'"{_DAYS[shown.weekday()]}","{shown:%m/%d/%y}","{shown:%H:%M:%S}   "'

    def _dump(self) -> Iterator[bytes]:
        yield _line(f'P {len(self.memory):03},"{self.serial}","{self.unit}"')
        for result in self.newest_first:
            yield _line(self._record(result).text)

    @staticmethod
    def _record(result: Result) -> Ultra2Record:
        value = f"{result.value:03}" if isinstance(result.value, int) else f"{result.value} "
        day = _DAYS[result.taken.weekday()]
        stamp = DateTime.of(result.taken)
        return Ultra2Record(day, stamp, value, _MEALS[result.meal], control=result.control)


@dataclass
class UltraEasyMeter(SerialMeter):
    """Acknowledges and counts; `count_prefix` is what stands before the number of records."""

    count_prefix: bytes = b"\x05\x0f"
    sent: int = 0
    expected: int = 0

    def _answers(self) -> Iterator[bytes]:
        self.skip_to(STX)
        while len(self.heard) > 1 and len(self.heard) >= self.heard[1]:
            try:
                frame = LifeScanFrame.from_bytes(self.taken(max(self.heard[1], 1)))
            except MalformedPacket:
                self.skip_to(STX)
                continue
            yield from self._answer(frame)

    def _answer(self, frame: LifeScanFrame) -> Iterator[bytes]:
        if frame.link & Link.DISCONNECT:
            self.sent = self.expected = 0
            yield bytes(LifeScanFrame(Link.DISCONNECT | Link.ACKNOWLEDGE))
        elif frame.link & Link.ACKNOWLEDGE:
            self.sent = 1 - self.sent
        elif frame.link & Link.SENT == self.expected:
            self.expected = 1 - self.expected
            yield self._frame(Link.ACKNOWLEDGE, b"")
            yield self._frame(0, self._said(frame.message))

    def _frame(self, link: int, message: bytes) -> bytes:
        return bytes(LifeScanFrame(link | self.sent | self.expected * Link.EXPECTED, message))

    def _said(self, asked: bytes) -> bytes:
        if asked == _ERASE_MESSAGE:
            self.erasures_asked += 1
        match asked[1:2], asked[2:]:
            case b"\x0d", _:
                return b"\x05\x06\x11P02.00.0025/05/07"
            case b"\x0b", _:
                return b"\x05\x06" + self.serial.encode()
            case b"\x20", b"\x02\0\0\0\0":
                return b"\x05\x06" + clock_seconds(self.clock()).to_bytes(4, "little")
            case b"\x20", operand if operand[:1] == b"\x01":
                shown = clock_digits(int.from_bytes(operand[1:], "little")).stated
                self.set_clock(shown or self.clock())
                return b"\x05\x06" + operand[1:]
            case b"\x1f", operand:
                return self._record(int.from_bytes(operand, "little"))
            case _:
                return b"\x05\x09"

    def _record(self, index: int) -> bytes:
        if index == _COUNT_INDEX:
            return self.count_prefix + len(self.memory).to_bytes(2, "little")
        result = self.newest_first[index]
        value = {"HI": HIGH, "LO": LOW}[result.value] if isinstance(result.value, str) else result.value
        return b"\x05\x06" + bytes(UltraEasyRecord(clock_seconds(result.taken), value))
