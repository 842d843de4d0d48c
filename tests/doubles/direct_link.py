"""A `SerialLink` straight to a simulated meter, in no time, and visits over it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from device_drivers.catalogue import SERIAL_DRIVERS, Catalogue, serial_driver_of
from device_drivers.driver import GatewayTime
from device_drivers.information import Information
from device_drivers.profile import DeviceProfile
from tests.doubles.serial_street import NOON
from virtual_home.serial.meter import SerialMeter
from wire_format.errors import KitelineError, MalformedPacket
from wire_format.measurement import Measurement
from wire_format.statements import DeviceEvent, Undecodable

from gatt_link import Kept, visit_of
from virtual_time import virtually

PROFILES = {n: p for n, p in Catalogue().profiles.items() if p.driver in SERIAL_DRIVERS}
KNOWN = GatewayTime(NOON, 50, 1_000_000_000)
Alter = Callable[[Sequence[bytes]], Sequence[bytes]]


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


class Outcome:
    """One visit: who answered, what was kept, how it ended."""

    def __init__(self, name: str, of: SerialMeter, alter: Alter = list, now: GatewayTime = KNOWN) -> None:
        self.sink, self.said, self.ended = Kept(), None, None
        virtually(self._visit(PROFILES[name], of, alter, now))

    async def _visit(self, profile: DeviceProfile, of: SerialMeter, alter: Alter, now: GatewayTime) -> None:
        self.link = Direct(of, alter)
        driver = serial_driver_of(profile)
        self.said: Information | None
        self.ended: KitelineError | None
        try:
            self.said = await driver.identify(self.link, profile)
            await driver.collect(self.link, visit_of(profile, self.sink, lambda: now))
        except KitelineError as error:
            self.ended = error

    @property
    def measured(self) -> list[Measurement]:
        return [r for r in self.sink.readings if isinstance(r, Measurement)]

    @property
    def strays(self) -> list[Undecodable]:
        return [r for r in self.sink.readings if isinstance(r, Undecodable)]

    @property
    def events(self) -> list[DeviceEvent]:
        return [r for r in self.sink.readings if isinstance(r, DeviceEvent)]


def once(change: Callable[[bytes], bytes], at: int) -> Alter:
    """Change the answer number `at`."""
    seen = [0]

    def alter(parts: Sequence[bytes]) -> list[bytes]:
        out = []
        for part in parts:
            seen[0] += 1
            out.append(change(part) if seen[0] == at else part)
        return out

    return alter
