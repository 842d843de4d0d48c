"""Devices that push what they measured: subscribe, take each packet, stop when the device is done.

Each packet is decoded and committed within the handler that received it. There is no end signal: the first
packet may take the profile's `first_s`, then `idle_s` of silence end the visit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from device_drivers.clock_sync import compare_clock
from device_drivers.decoding import Decoded, join
from device_drivers.device_time import ClockComparison
from device_drivers.driver import Reading, Visit
from device_drivers.link import GattLink
from device_drivers.profile import SequenceStep, StepKind, long_uuid
from device_drivers.readings import decode_packet, measurement, undecodable
from device_drivers.sequence import take_steps
from wire_format.errors import MalformedPacket, Misconfigured
from wire_format.measurement import RawPacket


@dataclass(slots=True)
class _Session:
    visit: Visit
    comparison: ClockComparison | None = None
    ordinal: int = 0
    partial: tuple[Decoded, RawPacket] | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def handler(self, source: str) -> Callable[[bytes], None]:
        """Return the handler of one characteristic."""
        return lambda data: self.take(RawPacket(source=source, data=data))

    def take(self, packet: RawPacket) -> None:
        """Decode and commit one packet. Durable when this returns."""
        readings = self._readings(packet)
        if readings:
            self.visit.sink.commit(readings)
        self.heard.set()

    def _readings(self, packet: RawPacket) -> list[Reading]:
        try:
            decoded = decode_packet(self.visit, packet)
        except MalformedPacket as error:
            return [*self.give_up_partial(), self._lost(packet, str(error))]
        if self.partial is not None and packet.source == self.partial[1].source:
            first, raw = self.partial
            if packet == raw:
                return []  # the first half once more, not the second
            self.partial = None
            return [self._reading(join(first, decoded, self.visit.profile.decode), (raw, packet))]
        if decoded.more_follows:
            self.partial = (decoded, packet)
            return []
        return [self._reading(decoded, (packet,))]

    def give_up_partial(self) -> list[Reading]:
        """Return the first half of a measurement whose second half did not come: bytes, and no reading.

        The device may send the whole again; half a reading beside the whole one would be a second reading.
        """
        if self.partial is None:
            return []
        _, packet = self.partial
        self.partial = None
        return [self._lost(packet, "The second packet of this measurement did not come.")]

    def _reading(self, decoded: Decoded, raw: tuple[RawPacket, ...]) -> Reading:
        self.ordinal += 1
        return measurement(self.visit, decoded, raw, self.visit.now(), self.ordinal, self.comparison)

    def _lost(self, packet: RawPacket, reason: str) -> Reading:
        self.ordinal += 1
        return undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal)


class GattPush:
    """Blood pressure, weight, body composition, temperature and spot oximetry by the standard services."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Take what the device pushes until it is silent or gone. See `Driver.collect`."""
        session = _Session(visit)
        try:
            await self._prepare(link, visit, session)
            await self._until_silent(link, visit, session)
        finally:
            rest = session.give_up_partial()
            if rest:
                visit.sink.commit(rest)

    async def _prepare(self, link: GattLink, visit: Visit, session: _Session) -> None:
        """Take the profile's steps; without any compare the clock, then subscribe to everything."""

        async def own(step: SequenceStep) -> None:
            if step.do is StepKind.CLOCK:
                session.comparison = await compare_clock(link, visit)
            elif step.on is not None:
                await link.subscribe(long_uuid(step.on), session.handler(step.on))
            else:
                raise Misconfigured(f"The driver {visit.profile.driver} takes no step {step.do.value!r}.")

        if visit.profile.steps:
            await take_steps(link, visit.profile.steps, own)
            return
        session.comparison = await compare_clock(link, visit)
        await self._subscribe(link, visit, session)

    async def _subscribe(self, link: GattLink, visit: Visit, session: _Session) -> None:
        offered = link.characteristics()
        wanted = [name for name in visit.profile.records.characteristics if long_uuid(name) in offered]
        if not wanted:
            raise Misconfigured(
                f"The device offers none of {', '.join(visit.profile.records.characteristics)}: "
                f"the profile {visit.profile.name} is not the right one for it."
            )
        for name in wanted:
            await link.subscribe(long_uuid(name), session.handler(name))

    async def _until_silent(self, link: GattLink, visit: Visit, session: _Session) -> None:
        records = visit.profile.records
        closed = asyncio.ensure_future(link.wait_closed())
        try:
            async with asyncio.timeout(float(records.overall_s)):
                patience = float(records.first_s)
                while await _heard(session, closed, patience):
                    patience = float(records.idle_s)
        except TimeoutError:
            return  # it talks without end: what was said is committed, the rest comes with the next visit
        finally:
            if not closed.done():
                closed.cancel()


async def _heard(session: _Session, closed: asyncio.Future[None], patience_s: float) -> bool:
    """Wait for a packet: True if one came, False on silence or when the link closed; raises its errors."""
    heard = asyncio.ensure_future(session.heard.wait())
    either: set[asyncio.Future[Any]] = {heard, closed}
    try:
        done, _ = await asyncio.wait(either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        heard.cancel()
    if closed in done:
        closed.result()
        return False
    session.heard.clear()
    return bool(done)
