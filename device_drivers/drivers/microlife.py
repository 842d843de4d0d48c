"""Microlife cuffs: one command, and the whole memory in one long answer of many packets.

The clock cannot be read; it is set where the profile says so. Whose of the two users' records these are, no
capture shows: they are nobody's in particular. Nothing is erased.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from device_drivers.clock_sync import clock_event, clock_zone, must_be_set
from device_drivers.device_time import local_digits
from device_drivers.driver import Reading, Visit
from device_drivers.link import AttError, GattLink, LinkLost, uuid16
from device_drivers.readings import MAX_BATCH, measurement, undecodable
from device_drivers.silence import answered
from device_drivers.vendors.microlife import (
    DISCONNECT,
    DONE,
    GET_RECORDS,
    RECORDS_AT,
    MicrolifeFrame,
    MicrolifeRecord,
    announced,
    records_of,
    set_clock,
)
from wire_format.errors import MalformedPacket
from wire_format.measurement import RawPacket

SOURCE: Final = "FFF1"
NOTIFIED: Final = uuid16(0xFFF1)
WRITTEN: Final = uuid16(0xFFF2)
_TRIES: Final = 2


@dataclass(slots=True)
class _Session:
    """What came of an answer, and what is done with it when it is whole."""

    link: GattLink
    visit: Visit
    wants_records: bool = False
    ordinal: int = 0
    buffer: bytearray = field(default_factory=bytearray)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Queue[MicrolifeFrame] = field(default_factory=asyncio.Queue)

    def take(self, data: bytes) -> None:
        """Take a packet; commit the records that it completes. Durable when this returns."""
        self.buffer += data
        length = announced(bytes(self.buffer[:4]))
        if length is not None and len(self.buffer) >= length:
            raw = bytes(self.buffer[:length])
            del self.buffer[:length]
            self._whole(raw)
        self.heard.set()

    def _whole(self, raw: bytes) -> None:
        try:
            frame = MicrolifeFrame.from_bytes(raw)
            if self.wants_records:
                self._commit(self._readings(frame.payload))
                self.wants_records = False
        except MalformedPacket as error:
            self._commit([self._lost(raw, str(error))])
        else:
            self.answers.put_nowait(frame)

    def _readings(self, payload: bytes) -> list[Reading]:
        records, cut = records_of(payload)
        head = RawPacket(source=SOURCE, data=payload[:RECORDS_AT])
        found: list[Reading] = [
            self._reading(place, record, head) for place, record in enumerate(records) if not record.empty
        ]
        return found + ([self._lost(cut, "The last record is cut off.", stored=True)] if cut else [])

    def _reading(self, place: int, record: MicrolifeRecord, head: RawPacket) -> Reading:
        self.ordinal += 1
        raw = (head, RawPacket(source=SOURCE, data=bytes(record)))
        decoded = record.decoded(place, self.visit.profile.decode)
        return measurement(self.visit, decoded, raw, self.visit.now(), self.ordinal, stored=True)

    def _lost(self, data: bytes, reason: str, *, stored: bool = False) -> Reading:
        self.ordinal += 1
        packet = RawPacket(source=SOURCE, data=bytes(data))
        return undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal, stored=stored)

    def _commit(self, readings: list[Reading]) -> None:
        for first in range(0, len(readings), MAX_BATCH):
            self.visit.sink.commit(readings[first : first + MAX_BATCH])

    def give_up(self) -> None:
        """Keep what came of an answer that did not become whole."""
        if self.buffer:
            data, self.buffer = bytes(self.buffer), bytearray()
            self._commit([self._lost(data, "This answer did not become whole.")])

    async def ask(self, command: MicrolifeFrame) -> MicrolifeFrame:
        """Send a command until it is answered; raises `LinkLost` when no whole answer comes."""
        while not self.answers.empty():
            self.answers.get_nowait()  # said twice
        for _ in range(_TRIES):
            await self.link.write(WRITTEN, bytes(command))
            if await self._answered():
                return self.answers.get_nowait()
            self.give_up()
        raise LinkLost("The cuff did not answer a command.")

    async def _answered(self) -> bool:
        """Wait as long as packets keep coming: whether they became an answer."""
        records = self.visit.profile.records
        patience = float(records.first_s)
        gone = "The cuff ended the connection before it had sent its records."
        while self.answers.empty():
            heard = asyncio.ensure_future(self.heard.wait())
            try:
                if not await answered(self.link, heard, patience, gone):
                    return not self.answers.empty()
            finally:
                heard.cancel()
            self.heard.clear()
            patience = float(records.idle_s)
        return True


class Microlife:
    """Microlife BP3GY1-2N."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Read all records. See `Driver.collect`."""
        session = _Session(link, visit)
        try:
            async with asyncio.timeout(float(visit.profile.records.overall_s)):
                await link.subscribe(NOTIFIED, session.take)
                await _set_clock(session)
                session.wants_records = True
                await session.ask(GET_RECORDS)
                with suppress(LinkLost, AttError):  # everything was read and committed
                    await link.write(WRITTEN, bytes(DISCONNECT))
        finally:
            session.give_up()


async def _set_clock(session: _Session) -> None:
    visit = session.visit
    if not must_be_set(visit, None):
        return
    now = visit.now()
    answer = await session.ask(set_clock(local_digits(now.utc, clock_zone(visit))))
    kept = answer.payload[:1] == DONE
    visit.sink.commit([clock_event(visit, now, kept=kept, detail=None if kept else answer.payload[:8].hex())])
