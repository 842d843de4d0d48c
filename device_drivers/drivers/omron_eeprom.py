"""Omron cuffs that keep their records in a memory which is read by address.

Algorithm of a visit; where things are, the profile's `[protocol]` says (`OmronMap`):
1. Subscribe to the channels, unlock, start a transfer.
2. Read the clock block and compare it; it is written only if the profile's [clock] and `write_address` allow.
3. Read the index block. With a mark of the last visit read what was written since, and a slot on either side;
   if the ring is not the one that was marked, say so and read everything. Without a mark read everything.
4. Records are committed in batches of at most fifty; the mark only once everything was read.
5. End the transfer.
Records and their counters are never written, and nothing is ever erased.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, TypeVar

from device_drivers.clock_sync import clock_event, clock_zone, compared, must_be_set
from device_drivers.device_time import ClockComparison, local_digits
from device_drivers.driver import Reading, Visit
from device_drivers.events import device_event
from device_drivers.link import AttError, GattLink, LinkLost
from device_drivers.readings import MAX_BATCH, measurement, undecodable
from device_drivers.silence import answered
from device_drivers.vendors.omron_frames import (
    ANSWER,
    END,
    ENDED,
    PROGRAM_KEY,
    READ,
    START,
    UNLOCK,
    Assembled,
    Assembler,
    Frame,
    accepted,
    new_key,
    parts,
    read_request,
    token_accepted,
    unlock_with_key,
    unlock_with_token,
    write_request,
)
from device_drivers.vendors.omron_map import ClockPlace, OmronMap, RingMark, Slot
from wire_format.errors import MalformedPacket, Rejected
from wire_format.measurement import RawPacket
from wire_format.statements import DeviceEvent, DeviceEventKind

T = TypeVar("T")

_TRIES: Final = 3
_TOKEN_BYTES: Final = 4


class Refused(Rejected):
    """The cuff answered that it will not carry out a request; `code` is its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"The cuff refused a request on its memory (code 0x{code:02X}).")
        self.code = code


@dataclass(slots=True)
class _Session:
    """One transfer: what was asked, what came, and what waits to be committed."""

    link: GattLink
    visit: Visit
    map: OmronMap
    assembler: Assembler
    comparison: ClockComparison | None = None
    pending: Frame | None = None
    wanted: tuple[Slot, ...] = ()
    seen: dict[Slot, bytes] = field(default_factory=dict)
    held: list[Reading] = field(default_factory=list)
    ordinal: int = 0
    answers: asyncio.Queue[Frame] = field(default_factory=asyncio.Queue)
    greetings: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    answered: set[tuple[int, int]] = field(default_factory=set)

    # --- what comes ---

    def receiver(self, channel: int) -> Callable[[bytes], None]:
        """Return the handler of one channel."""
        return lambda data: self._receive(channel, data)

    def _receive(self, channel: int, data: bytes) -> None:
        for one in self.assembler.add(channel, data):
            self._assembled(one)
        self.commit_full()

    def _assembled(self, one: Assembled) -> None:
        if one.torn:
            self._keep(one.raw, "Parts of this frame are missing or too short.")
            return
        try:
            self._take(Frame.from_bytes(one.raw), one.raw)
        except MalformedPacket as error:
            self._keep(one.raw, str(error))

    def _take(self, frame: Frame, raw: bytes) -> None:
        key = (frame.command, frame.address)
        asked = self.pending
        if asked is not None and _answers(frame, asked):
            if frame.command == READ | ANSWER and not frame.refused and len(frame.data) != asked.size:
                raise MalformedPacket(f"The cuff sent {len(frame.data)} bytes, not {asked.size}.")
            self.pending = None
            self.answered.add(key)
            self._records(frame)
            self.answers.put_nowait(frame)
        elif key not in self.answered:
            self._keep(raw, "The cuff answered something that was not asked.")

    def _records(self, frame: Frame) -> None:
        size = self.map.record_size
        wanted, self.wanted = self.wanted, ()
        for place, slot in enumerate(wanted if frame.data else ()):
            raw = frame.data[place * size : (place + 1) * size]
            known = self.seen.get(slot) == raw
            self.seen[slot] = raw
            if not known and not self.map.record_of(raw).empty:
                self.held.append(self._reading(slot, raw))

    def _reading(self, slot: Slot, raw: bytes) -> Reading:
        visit, packet = self.visit, RawPacket(source=self.map.receive[0], data=raw)
        self.ordinal += 1
        try:
            said = self.map.record_of(raw).decoded(*slot, visit.profile.decode)
        except MalformedPacket as error:
            return undecodable(visit, packet, str(error), visit.now(), self.ordinal, stored=True)
        decoded = replace(said, user=self.map.user_of(slot))
        return measurement(visit, decoded, (packet,), visit.now(), self.ordinal, self.comparison, stored=True)

    def _keep(self, raw: bytes, reason: str) -> None:
        self.ordinal += 1
        packet = RawPacket(source=self.map.receive[0], data=raw)
        self.held.append(undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal))

    def commit_full(self) -> None:
        """Commit a full batch."""
        if len(self.held) >= MAX_BATCH:
            part, self.held = self.held[:MAX_BATCH], self.held[MAX_BATCH:]
            self.visit.sink.commit(part)

    def commit_all(self) -> None:
        """Commit what is held, also what is left of a frame whose other parts did not come."""
        for one in self.assembler.rest():
            self._assembled(one)
        while self.held:
            part, self.held = self.held[:MAX_BATCH], self.held[MAX_BATCH:]
            self.visit.sink.commit(part)

    # --- what is asked ---

    async def ask(self, request: Frame, wanted: tuple[Slot, ...] = ()) -> Frame:
        """Send a request until it is answered; raises `Refused`, or `LinkLost` when no answer comes."""
        for _ in range(_TRIES):
            self.pending, self.wanted = request, wanted
            self.answered.discard((request.command | ANSWER, request.address))
            channels = zip(self.map.transmit, parts(request, len(self.map.transmit)), strict=False)
            for channel, data in channels:
                await self.link.write(channel, data)
            answer = await self._next(self.answers)
            if answer is not None and (answer.command == ENDED != request.command | ANSWER or answer.refused):
                raise Refused(answer.status)
            if answer is not None:
                return answer
        raise LinkLost("The cuff did not answer a request on its memory.")

    async def greet(self, message: bytes) -> bytes:
        """Send a message of the unlocking and return what is said to it."""
        await self.link.write(UNLOCK, message)
        answer = await self._next(self.greetings)
        if answer is None:
            raise LinkLost("The cuff did not answer when it was to be unlocked.")
        return answer

    async def agreed(self, message: bytes) -> bool:
        """Send a message of the key; return whether the cuff said yes."""
        return accepted(await self.greet(message), message)

    async def _next(self, queue: asyncio.Queue[T]) -> T | None:
        """Return what comes next, None after the profile's `idle_s`; raises when the link is gone."""
        answer = asyncio.ensure_future(queue.get())
        patience = float(self.visit.profile.records.idle_s)
        gone = "The cuff ended the connection before its records were read."
        try:
            return answer.result() if await answered(self.link, answer, patience, gone) else None
        finally:
            answer.cancel()


class OmronEeprom:
    """Omron cuffs of the memory protocol, older (service ECBE3980-...) and newer (service FE4A)."""

    protocol: ClassVar[type[OmronMap]] = OmronMap

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Read what the cuff's memory has. See `Driver.collect`."""
        map_ = visit.profile.protocol_as(OmronMap)
        session = _Session(link, visit, map_, Assembler(len(map_.receive)))
        try:
            async with asyncio.timeout(float(visit.profile.records.overall_s)):
                await self._transfer(session)
        finally:
            session.commit_all()

    async def _transfer(self, session: _Session) -> None:
        for channel, name in enumerate(session.map.receive):
            await session.link.subscribe(name, session.receiver(channel))
        await _unlock(session)
        await session.ask(START)
        session.comparison = await _clock(session)
        mark = await _read(session)
        session.commit_all()
        if mark is not None:
            session.visit.sink.commit([], cursor=mark.cursor)
        with suppress(LinkLost, Rejected):  # everything was read and committed
            await session.ask(END)


async def _unlock(session: _Session) -> None:
    """Unlock the memory; raises `Rejected` with what a person has to do if the cuff does not know us."""
    how = session.map.unlock
    if how == "none":
        return
    await session.link.subscribe(UNLOCK, session.greetings.put_nowait)
    if how == "token":
        token = session.visit.number.to_bytes(8, "big")[-_TOKEN_BYTES:]
        if not token_accepted(await session.greet(unlock_with_token(token)), token):
            raise Rejected("The cuff did not repeat the token: hold its Bluetooth button until -P- blinks.")
        return
    # The bond protects the line; this key only has to be the same at each visit.
    key = session.visit.device.device_id.bytes
    if await session.agreed(unlock_with_key(key)):
        return
    programmed = await session.agreed(PROGRAM_KEY) and await session.agreed(new_key(key))
    if programmed and await session.agreed(unlock_with_key(key)):
        return
    raise Rejected(
        "The cuff does not know this gateway's key: hold its Bluetooth button until -P- blinks, then it is "
        "given one. A phone that was paired with it will not be known any more."
    )


async def _clock(session: _Session) -> ClockComparison | None:
    """Compare the clock, and set it if the profile says so. The offset is the one from before."""
    place, visit = session.map.clock, session.visit
    if place is None:
        return None
    before = visit.now()
    try:
        block = (await session.ask(read_request(place.address, place.block.length))).data
    except Refused:
        return None
    shown = place.block.digits(block)
    if shown is None:
        return None
    comparison = compared(shown, before, visit.now(), clock_zone(visit))
    if must_be_set(visit, comparison):
        await _set_clock(session, place, block)
    return comparison


async def _set_clock(session: _Session, place: ClockPlace, block: bytes) -> None:
    if place.write_address is None:
        return
    visit = session.visit
    now = visit.now()
    local = local_digits(now.utc, clock_zone(visit))
    detail = None
    try:
        await session.ask(write_request(place.write_address, place.block.stamped(block, local)))
    except (Refused, AttError) as error:
        detail = str(error)
    visit.sink.commit([clock_event(visit, now, kept=detail is None, detail=detail)])


async def _read(session: _Session) -> RingMark | None:
    """Read what is new, or everything; return the mark of this visit, if the profile has an index."""
    map_, visit = session.map, session.visit
    now = await _positions(session)
    if now is not None and visit.cursor is not None:
        before = RingMark.from_cursor(visit.cursor, len(map_.areas))
        await _read_slots(session, map_.new_slots(before.positions, now))
        if before.holds(map_.areas, now, session.seen):
            return RingMark.of(map_.areas, now, session.seen)
        visit.sink.commit([device_event(visit, DeviceEventKind.RECORDS_RENUMBERED)])
    await _read_slots(session, map_.every_slot(now or ()))
    return None if now is None else RingMark.of(map_.areas, now, session.seen)


async def _positions(session: _Session) -> tuple[int | None, ...] | None:
    index = session.map.index
    if index is None:
        return None
    try:
        block = (await session.ask(read_request(index.address, index.size))).data
    except Refused:
        return None
    return index.positions(block, session.map.areas)


async def _read_slots(session: _Session, slots: Sequence[Slot]) -> None:
    """Read slots, block by block. An area that the cuff refuses to give is said to be so, once."""
    refused: set[int] = set()
    for address, block in session.map.requests([slot for slot in slots if slot not in session.seen]):
        area = block[0][0]
        if area in refused:
            continue
        size = len(block) * session.map.record_size
        try:
            await session.ask(read_request(address, size), block)
        except Refused as error:
            refused.add(area)
            session.visit.sink.commit([_area_refused(session.visit, area, error)])
    if len(refused) == len(session.map.areas):
        raise Rejected("The cuff refuses to give any of its records.")


def _area_refused(visit: Visit, area: int, error: Refused) -> DeviceEvent:
    """Say that a user's records are not given; the same refusal at each visit is one event."""
    detail = f"The records of user {area + 1}: {error}"
    return device_event(visit, DeviceEventKind.VISIT_FAILED, area, error.code, detail=detail)


def _answers(frame: Frame, asked: Frame) -> bool:
    if frame.command == ENDED:
        return True
    return frame.command == asked.command | ANSWER and frame.address == asked.address
