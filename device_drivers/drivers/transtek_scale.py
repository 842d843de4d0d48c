"""Transtek scales: answer the scale's challenge, set its clock, then take the weights that it sends.

1. Subscribe to the weights, then to the scale's own commands.
2. A1 and four bytes are a challenge: it is answered with 20 and the challenge XOR the password. Then the
   clock is set where the profile says so, and the profile's closing command ends the greeting.
3. Each weight is committed within the handler that received it. One that has not settled is no reading.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from device_drivers.clock_sync import clock_event, clock_zone, must_be_set
from device_drivers.device_time import local_digits
from device_drivers.driver import Visit
from device_drivers.link import AttError, GattLink, uuid16
from device_drivers.profile import HexBytes, long_uuid
from device_drivers.readings import measurement, undecodable
from device_drivers.silence import until_silent
from device_drivers.vendors.transtek import ANSWER_CHALLENGE, CHALLENGE, TranstekWeight, clock_command
from wire_format.errors import MalformedPacket
from wire_format.measurement import RawPacket

TO_SCALE: Final = uuid16(0x8A81)
FROM_SCALE: Final = uuid16(0x8A82)
_CHALLENGE_LENGTH: Final = 5


class TranstekProtocol(BaseModel):
    """What a profile says: the password that this model always has, and the command that ends a greeting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: Annotated[HexBytes, Field(min_length=8, max_length=8)]
    closing: HexBytes


@dataclass(slots=True)
class _Session:
    visit: Visit
    source: str
    ordinal: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    challenges: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def weight(self, data: bytes) -> None:
        packet = RawPacket(source=self.source, data=data)
        self.heard.set()
        self.ordinal += 1
        at = self.visit.now()
        try:
            frame = TranstekWeight.from_bytes(data)
        except MalformedPacket as error:
            self.visit.sink.commit([undecodable(self.visit, packet, str(error), at, self.ordinal)])
            return
        if frame.stable:
            decoded = frame.decoded(self.visit.profile.decode)
            self.visit.sink.commit([measurement(self.visit, decoded, (packet,), at, self.ordinal)])

    def command(self, data: bytes) -> None:
        self.heard.set()
        if data[:1] == bytes([CHALLENGE]) and len(data) >= _CHALLENGE_LENGTH:
            self.challenges.put_nowait(data[1:_CHALLENGE_LENGTH])
            return
        self.ordinal += 1
        packet = RawPacket(source="8A82", data=data)
        reason = "The scale asks something that is not known here."
        at = self.visit.now()
        self.visit.sink.commit([undecodable(self.visit, packet, reason, at, self.ordinal)])


class TranstekScale:
    """ADE scales with Transtek's service."""

    protocol = TranstekProtocol

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Take what the scale sends until it is silent or gone. See `Driver.collect`."""
        (name,) = visit.profile.records.characteristics
        session = _Session(visit, name)
        await link.subscribe(long_uuid(name), session.weight)
        await link.subscribe(FROM_SCALE, session.command)
        answering = asyncio.create_task(self._answer(link, visit, session))
        records = visit.profile.records
        try:
            async with asyncio.timeout(float(records.overall_s)):
                await until_silent(link, session.heard, float(records.first_s), float(records.idle_s))
        except TimeoutError:
            return  # it talks without end: what was said is committed, the rest comes with the next visit
        finally:
            answering.cancel()
            await asyncio.wait([answering])
        if not answering.cancelled():
            answering.result()

    async def _answer(self, link: GattLink, visit: Visit, session: _Session) -> None:
        protocol = visit.profile.protocol_as(TranstekProtocol)
        password = bytes.fromhex(protocol.password)
        while True:
            challenge = await session.challenges.get()
            answer = bytes(a ^ b for a, b in zip(challenge, password, strict=True))
            await link.write(TO_SCALE, bytes([ANSWER_CHALLENGE]) + answer)
            await self._set_clock(link, visit)
            await link.write(TO_SCALE, bytes.fromhex(protocol.closing))

    async def _set_clock(self, link: GattLink, visit: Visit) -> None:
        if not must_be_set(visit, None):
            return
        now, detail = visit.now(), None
        try:
            await link.write(TO_SCALE, clock_command(local_digits(now.utc, clock_zone(visit))))
        except AttError as error:
            detail = str(error)
        visit.sink.commit([clock_event(visit, now, kept=detail is None, detail=detail)])
