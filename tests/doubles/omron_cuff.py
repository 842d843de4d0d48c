"""A virtual Omron cuff's memory behind a `GattLink` without a radio, which can break and can be recorded."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from device_drivers.link import LinkLost
from device_drivers.vendors.omron_frames import UNLOCK, Assembler, Frame, parts
from virtual_home.devices.omron_memory import OmronMemory


@dataclass
class OmronCuff:
    """Answers at once. `break_after` so many notifications the link is lost; `spoil` changes each of them."""

    memory: OmronMemory
    break_after: int | None = None
    spoil: Callable[[bytes], list[bytes]] = lambda data: [data]
    asked: list[Frame] = field(default_factory=list)
    log: list[tuple[str, str, bytes]] = field(default_factory=list)
    sent: int = 0
    handlers: dict[str, Callable[[bytes], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._assembler = Assembler(len(self.memory.map.transmit))

    def characteristics(self) -> frozenset[str]:
        return frozenset({*self.memory.map.transmit, *self.memory.map.receive, UNLOCK})

    async def read(self, characteristic: str) -> bytes:
        raise NotImplementedError(characteristic)

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        self.log.append(("subscribe", characteristic, b""))
        self.handlers[characteristic] = handler

    async def write(self, characteristic: str, data: bytes) -> None:
        if self.closed.done():
            raise LinkLost("the cuff is gone")
        self.log.append(("write", characteristic, data))
        if characteristic == UNLOCK:
            self._later(UNLOCK, self.memory.greeted(data))
            return
        channel = self.memory.map.transmit.index(characteristic)
        padded = data if len(self.memory.map.transmit) == 1 else data.ljust(16, b"\0")
        for one in self._assembler.add(channel, padded):
            frame = Frame.from_bytes(one.raw)
            self.asked.append(frame)
            self._answer(self.memory.answer(frame))

    async def wait_closed(self) -> None:
        await asyncio.shield(self.closed)

    def _answer(self, frame: Frame) -> None:
        channels = self.memory.map.receive
        for channel, part in zip(channels, parts(frame, len(channels)), strict=False):
            for data in self.spoil(part if len(channels) == 1 else part.ljust(16, b"\0")):
                self._later(channel, data)

    def _later(self, characteristic: str, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._notify, characteristic, data)

    def _notify(self, characteristic: str, data: bytes) -> None:
        if self.closed.done():
            return
        if self.sent == self.break_after:
            self.closed.set_exception(LinkLost("the cuff went away"))
            self.closed.exception()
            return
        self.sent += 1
        self.log.append(("notify", characteristic, data))
        try:
            self.handlers[characteristic](data)
        except Exception as error:  # noqa: BLE001 - as a radio does: the link reports it
            self.closed.set_exception(error)
            self.closed.exception()
