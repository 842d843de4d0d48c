"""Devices that keep numbered records behind a Record Access Control Point.

Glucose meters, continuous glucose monitors and generic health sensors: what differs between them is their
family (`record_families`), which the profile's first characteristic names.

Algorithm of a visit:
1. Compare the clock; one that cannot be read is set now, where that is allowed. Subscribe to the records,
   their context, and the control point.
2. Count all records. None: done.
3. Without a cursor, or if the count fell below the cursor's (memory cleared, meter replaced): ask for
   all, and say so. Otherwise ask for what is newer ("greater or equal" includes its operand).
4. If nothing newer was found although there are more records than before, the numbers began anew: ask
   for all.
5. Records are committed in batches of at most fifty. A record whose context is still to come is held until
   it came or the meter is done. The cursor goes with the last batch of a whole report, in one transaction;
   with an earlier one only if the records are known to come oldest first (`records.order`), or have done so
   for a whole batch: else a transfer that breaks off would hide what was still to come.
6. Where a family also sends live, what comes until the device is silent is taken too.
7. Where a context may say that a record is a ketone (`decode.ketone_meal`), a record without it is no
   reading: if the link was lost it is left for the next visit, if the meter was done its bytes are kept.
8. A meter that numbers its records anew with each measurement (`records.renumbered`) is always asked for
   all, and not for their count; what was known before is known by its time and value.
9. A clock that was compared is set when all is committed: a record that is left for the next visit was
   stored under the old clock, and nobody would know that any more.
Nothing is ever deleted.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from device_drivers.clock_sync import compare_clock, look_at_clock, set_clock
from device_drivers.decoding import with_context
from device_drivers.device_time import ClockComparison
from device_drivers.driver import Reading, RecordCursor, Visit
from device_drivers.drivers.record_families import Record, RecordFamily, Stray, family_of
from device_drivers.events import device_event
from device_drivers.link import GattLink, LinkLost, uuid16
from device_drivers.profile import RecordOrder, SequenceStep, StepKind, long_uuid
from device_drivers.quantities.glucose import GlucoseMeasurementContext
from device_drivers.quantities.record_access import (
    ABORT,
    COUNT_ALL,
    OpCode,
    RecordAccess,
    Result,
)
from device_drivers.readings import MAX_BATCH, measurement, undecodable
from device_drivers.sequence import take_steps
from device_drivers.silence import answered, until_silent
from wire_format.errors import MalformedPacket, Misconfigured, Rejected
from wire_format.measurement import RawPacket
from wire_format.statements import DeviceEventKind

CONTROL_POINT: Final = uuid16(0x2A52)
_BROKEN_OFF: Final = "The meter ended the connection before it had sent all records."


@dataclass(slots=True)
class _Progress:
    """What the order of one report's records has shown. `whole`: the meter said that these were all."""

    order: RecordOrder
    whole: bool = False
    numbered: int = 0
    ascending: bool = True
    _last: int = -1

    def note(self, position: int | None) -> None:
        """Take where a record stands, as it comes."""
        if position is not None:
            self.ascending = self.ascending and position > self._last
            self.numbered, self._last = self.numbered + 1, position

    @property
    def oldest_first(self) -> bool:
        """Whether what is still to come is newer than what came."""
        shown = self.order is RecordOrder.UNKNOWN and self.numbered >= MAX_BATCH
        return self.ascending and (shown or self.order is RecordOrder.OLDEST_FIRST)


@dataclass(slots=True)
class _Transfer:
    """The records of one visit, until they are committed. `reporting`: what comes now was asked for."""

    visit: Visit
    family: RecordFamily
    reached: int
    comparison: ClockComparison | None = None
    clock_due: str | None = None
    count: int = 0
    ordinal: int = 0
    held: list[Record] = field(default_factory=list)
    strays: list[Reading] = field(default_factory=list)
    answers: asyncio.Queue[RecordAccess] = field(default_factory=asyncio.Queue)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    received: int = 0
    reporting: bool = False
    whole: bool = False
    advanced: bool = True
    progress: _Progress = field(init=False)

    def __post_init__(self) -> None:
        self.begin_report()

    def begin_report(self) -> None:
        """Forget in which order the records of an earlier report came."""
        self.progress = _Progress(self.visit.profile.records.order)

    def handler(self, name: str) -> Callable[[bytes], None]:
        """Return the handler of a characteristic that brings records."""
        return lambda data: self.record(RawPacket(source=name, data=data))

    def record(self, packet: RawPacket) -> None:
        """Take one packet."""
        for found in self.family.take(packet):
            if isinstance(found, Stray):
                self._stray(found.packet, found.reason)
            else:
                self.received += 1
                self.progress.note(found.position)
                self.held.append(found)
        self.heard.set()
        if not self.reporting:
            self.commit_ready()
        self.commit_full()

    def context(self, data: bytes) -> None:
        packet = RawPacket(source=self.family.context or "", data=data)
        try:
            sequence = GlucoseMeasurementContext.from_bytes(data).sequence
        except MalformedPacket as error:
            self._stray(packet, str(error))
            return
        for one in reversed(self.held):
            if one.decoded.sequence == sequence and len(one.raw) == 1:
                one.decoded = with_context(one.decoded, data, self.visit.profile.decode)
                one.raw = (*one.raw, packet)
                break
        else:
            self._stray(packet, f"There is no record {sequence} that this context could belong to.")
        self.commit_full()

    def answer(self, data: bytes) -> None:
        try:
            self.answers.put_nowait(RecordAccess.from_bytes(data))
        except MalformedPacket as error:
            self._stray(RawPacket(source="2A52", data=data), str(error))

    async def answer_to(self, request: bytes) -> RecordAccess:
        """Return the next answer; a count is one only where it was asked for, and is sent without, too."""
        while True:
            answer = await self.answers.get()
            if answer.op_code != OpCode.COUNT_RESPONSE or request[0] == OpCode.COUNT:
                return answer

    def commit_full(self) -> None:
        """Commit a full batch of records that wait for nothing."""
        if self._ready() >= MAX_BATCH:
            self._commit(MAX_BATCH)

    def commit_ready(self) -> None:
        """Commit the records that wait for nothing, and what is no record."""
        while self.strays or self._ready():
            self._commit(min(MAX_BATCH, self._ready()), MAX_BATCH)

    def _ready(self) -> int:
        """Return how many records, from the oldest on, wait for nothing."""
        ready = 0
        while ready < len(self.held) and not self.held[ready].decoded.context_follows:
            ready += 1
        return ready

    def finish(self) -> None:
        """Commit everything: contexts and segments that did not come are not waited for any more."""
        for found in self.family.unfinished():
            self._stray(found.packet, found.reason)
        self.commit_all()

    def commit_all(self) -> None:
        """Commit what is held, in batches; contexts that did not come are not waited for any more."""
        if not self.whole:
            unclear = (number for number, one in enumerate(self.held) if self._unclear(one))
            kept = self.held[: next(unclear, None)]
            self.progress.whole &= len(kept) == len(self.held)
            self.held = kept
        while self.held or self.strays:
            self._commit(MAX_BATCH)

    def _commit(self, most: int, room: int = MAX_BATCH) -> None:
        part, self.held = self.held[:most], self.held[most:]
        room -= len(part)
        strays, self.strays = self.strays[:room], self.strays[room:]
        positions = [h.position for h in part if h.position is not None]
        self.reached = max([self.reached, *positions])
        readings = [self._reading(held) for held in part]
        self._store([*readings, *strays])

    def _store(self, readings: list[Reading]) -> None:
        """Commit, and advance the cursor if nothing that is still to come stands before it."""
        whole = self.progress.whole and not self.held
        self.advanced = whole or (self.progress.oldest_first and not self.family.unasked)
        known = self.advanced and self.reached >= 0
        cursor = RecordCursor(sequence=self.reached, count=self.count) if known else None
        self.visit.sink.commit(readings, cursor=cursor)

    def end_report(self) -> None:
        """Commit what waits for nothing, now that all was reported."""
        self.progress.whole = True
        self.commit_ready()
        if not self.advanced and not self.held:
            self._store([])

    def _unclear(self, held: Record) -> bool:
        """Whether it is not known what was measured: only the context would say so."""
        return held.decoded.context_follows and self.visit.profile.decode.ketone_meal is not None

    def _reading(self, held: Record) -> Reading:
        self.ordinal += 1
        now, family = self.visit.now(), self.family
        if self._unclear(held):
            reason = "Its context did not come: it may be glucose or a ketone."
            return undecodable(self.visit, held.raw[0], reason, now, self.ordinal)
        asked = self.reporting or not family.unasked
        stored = asked and held.raw[0].source == family.measurement
        return measurement(
            self.visit, held.decoded, held.raw, now, self.ordinal, self.comparison, stored=stored
        )

    def _stray(self, packet: RawPacket, reason: str) -> None:
        self.ordinal += 1
        self.strays.append(undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal))


class GattRacp:
    """Glucose, continuous glucose and generic health sensor services."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Fetch what is newer than the cursor. See `Driver.collect`."""
        before = visit.cursor
        transfer = _Transfer(visit, family_of(visit), before.sequence if before else -1)
        await self._prepare(link, visit, transfer)
        try:
            async with asyncio.timeout(float(visit.profile.records.overall_s)):
                await self._fetch(link, visit, transfer)
                await self._listen(link, visit, transfer)
            transfer.whole = True
        except TimeoutError:
            await self._abort(link)
        finally:
            transfer.finish()
        if transfer.whole:
            await self._keep_clock(link, visit, transfer)

    async def _prepare(self, link: GattLink, visit: Visit, transfer: _Transfer) -> None:
        """Take the profile's steps (without any: compare the clock), then subscribe to everything."""

        async def own(step: SequenceStep) -> None:
            if step.do is StepKind.CLOCK:
                await self._clock(link, visit, transfer)
            elif step.do is StepKind.SUBSCRIBE and step.on is not None:
                await _listen(link, step.on)
            else:
                raise Misconfigured(f"The driver {visit.profile.driver} takes no step {step.do.value!r}.")

        await take_steps(link, visit.profile.steps or (SequenceStep(do=StepKind.CLOCK),), own)
        await self._subscribe(link, transfer)

    async def _clock(self, link: GattLink, visit: Visit, transfer: _Transfer) -> None:
        if visit.profile.clock.readable:
            transfer.comparison, transfer.clock_due = await look_at_clock(link, visit)
        else:
            transfer.comparison = await compare_clock(link, visit)

    async def _keep_clock(self, link: GattLink, visit: Visit, transfer: _Transfer) -> None:
        """Set the clock that was found off; a meter that is gone by now is set at another visit."""
        if transfer.clock_due is not None:
            with suppress(LinkLost):
                await set_clock(link, visit, transfer.clock_due)

    async def _subscribe(self, link: GattLink, transfer: _Transfer) -> None:
        family, offered = transfer.family, link.characteristics()
        await family.begin(link)
        await link.subscribe(long_uuid(family.measurement), transfer.handler(family.measurement))
        if family.context is not None and long_uuid(family.context) in offered:
            await link.subscribe(long_uuid(family.context), transfer.context)
        if family.live is not None and long_uuid(family.live) in offered:
            await link.subscribe(long_uuid(family.live), transfer.handler(family.live))
        await link.subscribe(CONTROL_POINT, transfer.answer)

    async def _listen(self, link: GattLink, visit: Visit, transfer: _Transfer) -> None:
        """Take what comes live until the device is silent."""
        if transfer.family.live is not None:
            idle = float(visit.profile.records.idle_s)
            await until_silent(link, transfer.heard, idle, idle)

    async def _fetch(self, link: GattLink, visit: Visit, transfer: _Transfer) -> None:
        if visit.profile.records.renumbered:
            await self._report(link, visit, transfer, transfer.family.report_all())
            return
        transfer.count = await self._count(link, visit, transfer)
        before = visit.cursor
        if transfer.count == 0:
            return
        if before is None:
            await self._report(link, visit, transfer, transfer.family.report_all())
            return
        family = transfer.family
        if transfer.count >= before.count and before.sequence < family.last_position:
            await self._report(link, visit, transfer, family.report_from(before.sequence + 1))
            if transfer.received or transfer.count == before.count:
                return
        transfer.reached = -1
        visit.sink.commit([device_event(visit, DeviceEventKind.RECORDS_RENUMBERED)])
        await self._report(link, visit, transfer, transfer.family.report_all())

    async def _count(self, link: GattLink, visit: Visit, transfer: _Transfer) -> int:
        answer = await self._ask(link, visit, transfer, COUNT_ALL)
        if answer.count is not None:
            return answer.count
        if answer.result == Result.NO_RECORDS_FOUND:
            return 0
        raise Rejected(f"The meter does not count its records (response code {answer.result}).")

    async def _report(self, link: GattLink, visit: Visit, transfer: _Transfer, request: bytes) -> None:
        transfer.reporting = True
        transfer.begin_report()
        answer = await self._ask(link, visit, transfer, request)
        if answer.count is None and answer.result not in {Result.SUCCESS, Result.NO_RECORDS_FOUND}:
            raise Rejected(f"The meter does not report its records (response code {answer.result}).")
        transfer.end_report()
        transfer.reporting = False

    async def _ask(self, link: GattLink, visit: Visit, transfer: _Transfer, request: bytes) -> RecordAccess:
        """Send a request and wait for its answer, as long as records keep coming or `first_s` at most."""
        await link.write(CONTROL_POINT, request)
        answer = asyncio.ensure_future(transfer.answer_to(request))
        patience = float(visit.profile.records.first_s)
        try:
            seen = -1
            while seen < transfer.received:
                seen = transfer.received
                if await answered(link, answer, patience, _BROKEN_OFF):
                    return answer.result()
        finally:
            answer.cancel()
        raise LinkLost("The meter did not answer on its Record Access Control Point.")

    async def _abort(self, link: GattLink) -> None:
        """Ask the meter to stop, so that it can be used again; what it says to that does not matter."""
        try:
            await link.write(CONTROL_POINT, ABORT)
        except (LinkLost, Rejected):
            return


async def _listen(link: GattLink, name: str) -> None:
    """Subscribe to what a vendor wants to be listened to before it takes a command; its answers tell nothing.

    Firmware that does not have the characteristic has another of the profile's instead.
    """
    if long_uuid(name) in link.characteristics():
        await link.subscribe(long_uuid(name), lambda _data: None)
