"""A `SerialLink` straight to a simulated meter, in no time: what is not there has timed out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from virtual_home.serial.meter import SerialMeter
from wire_format.errors import MalformedPacket


@dataclass
class Direct:
    """`alter` may change, drop or multiply what the meter says in answer to one sending."""

    meter: SerialMeter
    alter: Callable[[Sequence[bytes]], Sequence[bytes]] = list
    sent: list[bytes] = field(default_factory=list)
    baud_rate: int | None = None
    unread: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.unread += self.meter.greeting()

    async def send(self, data: bytes) -> None:
        self.sent.append(data)
        for part in self.alter(list(self.meter.hear(data))):
            self.unread += part

    async def exactly(self, length: int, within_s: float) -> bytes:
        if len(self.unread) < length:
            raise TimeoutError(f"not within {within_s} s")
        part = bytes(self.unread[:length])
        del self.unread[:length]
        return part

    async def until(self, end: bytes, within_s: float, *, most: int = 4096) -> bytes:
        place = self.unread.find(end)
        if place < 0:
            raise TimeoutError(f"not within {within_s} s")
        if place > most:
            raise MalformedPacket(f"{most} bytes came without {end.hex()}.")
        return await self.exactly(place + len(end), within_s)

    async def discard(self) -> bytes:
        return await self.exactly(len(self.unread), 0)

    async def line(self, baud_rate: int) -> None:
        self.baud_rate = baud_rate
