"""A serial cable as a pty: what a meter says comes out of a path, with the faults of real cables.

A pty paces nothing and has no modem lines; what it has is a cable that can be pulled.
"""

import asyncio
import os
import pty
import tty
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from virtual_home.serial.meter import SerialMeter

_CHUNK: Final = 512
_BUSY_S: Final = 0.002


@dataclass
class Faults:
    """What goes wrong on the cable.

    `garbage` comes before the first answer; `damage_at` is the number of the byte, counted over all that was
    said, that is damaged once; after `dies_after` bytes nothing more is said, and after `pulled_after` the
    cable is pulled. `byte_s` is the pause between two bytes.
    """

    garbage: bytes = b""
    damage_at: int | None = None
    dies_after: int | None = None
    pulled_after: int | None = None
    byte_s: float | None = None


@dataclass
class Cable:
    """A path on which a meter answers while it is plugged in."""

    path: Path
    meter: SerialMeter
    faults: Faults = field(default_factory=Faults)
    said: int = 0
    received: bytearray = field(default_factory=bytearray)
    _master: int | None = None
    _slave: int | None = None
    _answers: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    _speaking: asyncio.Task[None] | None = None

    @property
    def plugged(self) -> bool:
        """Whether the path exists."""
        return self._master is not None

    def plug(self) -> None:
        """Plug the cable in, and switch the meter on."""
        # The slave stays open here too: else the line hangs up whenever no reader has it open.
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.said, self._answers = 0, asyncio.Queue()
        beside = self.path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.ttyname(self._slave))
        beside.replace(self.path)
        self.meter.heard.clear()
        asyncio.get_running_loop().add_reader(self._master, self._hear)
        self._speaking = asyncio.create_task(self._speak())
        self.switch_on()

    def switch_on(self) -> None:
        """Switch the meter on: some say something then."""
        if greeting := self.meter.greeting():
            self._answers.put_nowait(greeting)

    def unplug(self) -> None:
        """Pull the cable."""
        self.path.unlink(missing_ok=True)
        if self._speaking is not None:
            self._speaking.cancel()
        for descriptor in (self._master, self._slave):
            if descriptor is not None:
                asyncio.get_running_loop().remove_reader(descriptor)
                os.close(descriptor)
        self._master = self._slave = self._speaking = None

    def _hear(self) -> None:
        if self._master is None:
            return
        try:
            data = os.read(self._master, 4096)
        except OSError:
            return
        self.received += data
        garbage, self.faults.garbage = self.faults.garbage, b""
        for answer in [garbage, *self.meter.hear(data)]:
            if answer:
                self._answers.put_nowait(answer)

    async def _speak(self) -> None:
        while True:
            answer = await self._answers.get()
            step = 1 if self.faults.byte_s is not None else _CHUNK
            for start in range(0, len(answer), step):
                await self._write(answer[start : start + step])

    async def _write(self, part: bytes) -> None:
        part = self._faulty(part)
        while part and self._master is not None:
            try:
                written = os.write(self._master, part)
            except BlockingIOError:
                await asyncio.sleep(_BUSY_S)
                continue
            part = part[written:]
            self.said += written
        if self.faults.byte_s is not None:
            await asyncio.sleep(self.faults.byte_s)
        limit = self.faults.pulled_after
        if limit is not None and self.said >= limit:
            self.faults.pulled_after = None
            # What was written has to arrive before the line hangs up.
            await asyncio.sleep(0.05)
            self.unplug()

    def _faulty(self, part: bytes) -> bytes:
        at = self.faults.damage_at
        if at is not None and self.said <= at < self.said + len(part):
            place = at - self.said
            self.faults.damage_at = None
            part = part[:place] + bytes([part[place] ^ 0x01]) + part[place + 1 :]
        for limit in (self.faults.dies_after, self.faults.pulled_after):
            part = part if limit is None else part[: max(limit - self.said, 0)]
        return part
