"""Simulated FreeStyle Lite and Optium."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from device_drivers.date_time import DateTime
from device_drivers.serial_layouts.freestyle import (
    KETONE_STEPS,
    FreeStyleClock,
    FreeStyleMemory,
    FreeStyleRecord,
)
from virtual_home.serial.meter import Result, SerialMeter


@dataclass
class FreeStyleLiteMeter(SerialMeter):
    """Answers `mem`, and nothing else."""

    version: str = "1.43       -P"

    def _answers(self) -> Iterator[bytes]:
        while (end := self.heard.find(b"mem")) >= 0:
            self.taken(end + 3)
            yield self._memory()

    def _memory(self) -> bytes:
        lines = tuple(bytes(self._record(result)) for result in self.newest_first)
        clock = FreeStyleClock(DateTime.of(self.clock()))
        return bytes(FreeStyleMemory(self.serial, self.version, clock, lines)) + b"\r\n"

    def _kind(self, result: Result) -> str:
        del result
        return "00"

    def _record(self, result: Result) -> FreeStyleRecord:
        value = result.value if isinstance(result.value, str) else f"{self._stored(result):03}"
        status = 1 if result.control else 0
        return FreeStyleRecord(f"{value:3}", DateTime.of(result.taken), self._kind(result), status)

    @staticmethod
    def _stored(result: Result) -> int:
        number = result.value if isinstance(result.value, int) else 0
        return number * KETONE_STEPS // 10 if result.ketone else number


@dataclass
class FreeStyleOptiumMeter(FreeStyleLiteMeter):
    """Answers lines that begin with $; the first `deaf_for` of them are lost."""

    version: str = "0.22"
    deaf_for: int = 1

    def _answers(self) -> Iterator[bytes]:
        while (end := self.heard.find(b"\r\n")) >= 0:
            line = self.taken(end + 2).strip().decode("ascii", "replace")
            if self.deaf_for:
                self.deaf_for -= 1
                continue
            yield from self._answer(line)

    def _answer(self, line: str) -> Iterator[bytes]:
        name, *operands = line.split(",")
        match name:
            case "$colq":
                shown = self.clock()
                yield f"S/N:\t{self.serial}\r\nVer:\t{self.version}\tMMOL\r\n".encode()
                yield f"Clock:\t{shown:%b}  {shown:%d %Y}\t{shown:%H:%M:%S}\r\n".encode()
                yield f"Usage:\t{len(self.memory)}\r\nCMD OK\r\n".encode()
            case "$xmem":
                yield self._memory()
            case "$tim":
                month, day, year, hours, minutes = map(int, operands)
                self.set_clock(dt.datetime(2000 + year, month, day, hours, minutes))  # noqa: DTZ001 - no zone
                yield b"CMD OK\r\n"

    def _kind(self, result: Result) -> str:
        return "K" if result.ketone else "G"
