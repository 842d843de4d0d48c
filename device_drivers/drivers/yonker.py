"""Yonker cuffs: packets come while the cuff deflates; only a packet that begins with 0x81 is a result.

The others are the pressure of the moment and never a result. Where no result follows, the last of them is
kept as bytes, so that it can be seen that something was measured.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from device_drivers.driver import Reading, Visit
from device_drivers.link import GattLink
from device_drivers.profile import long_uuid
from device_drivers.readings import measurement, undecodable
from device_drivers.silence import until_silent
from device_drivers.vendors.yonker import FINAL, YonkerResult
from wire_format.errors import MalformedPacket, Misconfigured
from wire_format.measurement import RawPacket


@dataclass(slots=True)
class _Session:
    visit: Visit
    source: str
    ordinal: int = 0
    passing: bytes | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, data: bytes) -> None:
        """Commit a result; remember what is none. Durable when this returns."""
        if data[:1] == bytes([FINAL]):
            self.visit.sink.commit([self._reading(data)])
            self.passing = None
        else:
            self.passing = bytes(data)
        self.heard.set()

    def _reading(self, data: bytes) -> Reading:
        packet, now = RawPacket(source=self.source, data=data), self.visit.now()
        self.ordinal += 1
        try:
            decoded = YonkerResult.from_bytes(data).decoded(self.visit.profile.decode)
        except MalformedPacket as error:
            return undecodable(self.visit, packet, str(error), now, self.ordinal)
        return measurement(self.visit, decoded, (packet,), now, self.ordinal)

    def give_up(self) -> None:
        """Keep the last packet that no result followed."""
        if self.passing is None:
            return
        self.ordinal += 1
        packet, self.passing = RawPacket(source=self.source, data=self.passing), None
        lost = undecodable(
            self.visit, packet, "No result followed this packet.", self.visit.now(), self.ordinal
        )
        self.visit.sink.commit([lost])


class Yonker:
    """Yonker YK-IBPA1. Connected to after the measurement."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Take results until the cuff is silent or gone. See `Driver.collect`."""
        name = visit.profile.characteristics[0] if visit.profile.characteristics else ""
        if name not in link.characteristics():
            raise Misconfigured(
                f"The device does not offer {name or 'a characteristic'}: "
                f"the profile {visit.profile.name} is not the right one for it."
            )
        session = _Session(visit, long_uuid(name))
        try:
            await link.subscribe(name, session.take)
            records = visit.profile.records
            with suppress(TimeoutError):  # it talks without end: what was said is committed
                async with asyncio.timeout(float(records.overall_s)):
                    await until_silent(link, session.heard, float(records.first_s), float(records.idle_s))
        finally:
            session.give_up()
