"""Simulated TaiDoc TD-42xx."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from device_drivers.date_time import DateTime
from device_drivers.serial_layouts.taidoc import LENGTH, STX, TaiDocFrame, TaiDocResult, TaiDocTime
from virtual_home.serial.meter import Result, SerialMeter
from wire_format.errors import MalformedPacket

_MARKS: Final = {"none": 0x00, "before": 0x40, "after": 0x80}
_CONTROL: Final = 0xC0
_ERASE: Final = 0x52
_HIGH: Final = 601
_LOW: Final = 19


@dataclass
class TaiDocMeter(SerialMeter):
    """Answers frames of eight bytes. `serial` is sixteen hex digits."""

    model: int = 0x4277

    def _answers(self) -> Iterator[bytes]:
        self.skip_to(STX)
        while len(self.heard) >= LENGTH:
            try:
                frame = TaiDocFrame.from_bytes(self.taken(LENGTH))
            except MalformedPacket:
                continue
            yield bytes(TaiDocFrame(frame.command, self._said(frame)))

    def _said(self, asked: TaiDocFrame) -> bytes:
        index = int.from_bytes(asked.data[:2], "little")
        said = bytes(4)
        match asked.command:
            case 0x23:
                said = bytes(TaiDocTime.of(self.clock()))
            case 0x24:
                said = self.model.to_bytes(4, "little")
            case 0x25:
                said = bytes(TaiDocTime(DateTime.of(self.newest_first[index].taken.replace(second=0))))
            case 0x26:
                said = bytes(self._result(self.newest_first[index]))
            case 0x27:
                said = bytes.fromhex(self.serial)[:3:-1]
            case 0x28:
                said = bytes.fromhex(self.serial)[3::-1]
            case 0x2B:
                said = len(self.memory).to_bytes(4, "little")
            case 0x33:
                self.set_clock(TaiDocTime.from_bytes(asked.data).stamp.stated or self.clock())
                said = asked.data
            case _:
                self.erasures_asked += asked.command == _ERASE
        return said

    @staticmethod
    def _result(result: Result) -> TaiDocResult:
        value = {"HI": _HIGH, "LO": _LOW}[result.value] if isinstance(result.value, str) else result.value
        return TaiDocResult(value, 0, _CONTROL if result.control else _MARKS[result.meal])
