"""What every simulated meter on a cable has: a memory, a clock that may be wrong, and a way to answer.

A meter is bytes in, bytes out: no file, no time of its own. `virtual_home.serial.cable` puts it on a pty.
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from device_drivers.device_time import local_digits

Now = Callable[[], dt.datetime]
Meal = Literal["none", "before", "after"]


@dataclass(frozen=True, slots=True)
class Result:
    """One result in a meter's memory. `taken` are the digits that the meter's clock showed then.

    `value` is mg/dL, or tenths of mmol/L of a ketone; or what the display showed instead.
    """

    taken: dt.datetime
    value: int | Literal["HI", "LO"]
    control: bool = False
    meal: Meal = "none"
    ketone: bool = False


@dataclass
class SerialMeter(ABC):
    """A meter that is switched on. `offset` is how far its clock is ahead of a right one."""

    serial: str
    now: Now
    zone_offset_minutes: int = 480
    offset: dt.timedelta = dt.timedelta(0)
    memory: list[Result] = field(default_factory=list)
    erasures_asked: int = 0
    clock_settings: int = 0
    heard: bytearray = field(default_factory=bytearray)

    def clock(self) -> dt.datetime:
        """Return what the meter's clock shows."""
        shown = local_digits(self.now(), self.zone_offset_minutes) + self.offset
        return shown.replace(microsecond=0)

    def set_clock(self, shown: dt.datetime) -> None:
        """Let the clock show something else from now on."""
        self.clock_settings += 1
        self.offset = shown - local_digits(self.now(), self.zone_offset_minutes)

    def measure(self, value: int, *, control: bool = False, meal: Meal = "none") -> Result:
        """Let somebody measure now."""
        result = Result(self.clock(), value, control=control, meal=meal)
        self.memory.append(result)
        return result

    @property
    def newest_first(self) -> list[Result]:
        """The memory in the order in which meters tell it."""
        return self.memory[::-1]

    def greeting(self) -> bytes:
        """Return what the meter says when it is switched on, unasked."""
        return b""

    def hear(self, data: bytes) -> Iterator[bytes]:
        """Take bytes, and answer each request that is whole."""
        self.heard += data
        yield from self._answers()

    @abstractmethod
    def _answers(self) -> Iterator[bytes]:
        """Take the whole requests out of `heard`, and answer them."""

    def skip_to(self, start: int) -> None:
        """Forget what comes before the byte that a frame begins with."""
        place = self.heard.find(start)
        self.taken(len(self.heard) if place < 0 else place)

    def taken(self, length: int) -> bytes:
        """Take bytes out of `heard`."""
        part = bytes(self.heard[:length])
        del self.heard[:length]
        return part
