"""Devices that keep numbered records behind a Record Access Control Point (glucose meters).

Algorithm of a visit:
1. Compare, and where allowed set, the clock. Subscribe to the records, their context, and the control point.
2. Count all records. None: done.
3. Without a cursor, or if the count fell below the cursor's (memory cleared, meter replaced): ask for
   all, and say so. Otherwise ask for what is newer ("greater or equal" includes its operand).
4. If nothing newer was found although there are more records than before, the numbers began anew: ask
   for all.
5. Records are committed in batches of at most fifty, each with the cursor that it reaches, in one
   transaction. A record whose context is still to come is held until it came or the meter is done.
6. Where a context may say that a record is a ketone (`decode.ketone_meal`), a record without it is no
   reading: if the link was lost it is left for the next visit, if the meter was done its bytes are kept.
7. A meter that numbers its records anew with each measurement (`records.renumbered`) is always asked for
   all, and not for their count; what was known before is known by its time and value.
Nothing is ever deleted.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

from device_drivers.clock_sync import compare_clock
from device_drivers.decoding import Decoded, glucose, with_context
from device_drivers.device_time import ClockComparison
from device_drivers.driver import Reading, RecordCursor, Visit
from device_drivers.link import GattLink, LinkLost, uuid16
from device_drivers.profile import SequenceStep, StepKind, long_uuid
from device_drivers.quantities.glucose import GlucoseMeasurementContext
from device_drivers.quantities.record_access import (
    ABORT,
    COUNT_ALL,
    REPORT_ALL,
    RecordAccess,
    Result,
    report_from,
)
from device_drivers.readings import MAX_BATCH, measurement, undecodable
from device_drivers.sequence import take_steps
from wire_format.errors import MalformedPacket, Misconfigured, Rejected
from wire_format.identity import derived_id
from wire_format.measurement import RawPacket
from wire_format.statements import DeviceEvent, DeviceEventKind

MEASUREMENT: Final = uuid16(0x2A18)
CONTEXT: Final = uuid16(0x2A34)
CONTROL_POINT: Final = uuid16(0x2A52)
_LAST_SEQUENCE: Final = 0xFFFF


@dataclass(slots=True)
class _Held:
    decoded: Decoded
    raw: tuple[RawPacket, ...]


@dataclass(slots=True)
class _Transfer:
    """The records of one report, until they are committed."""

    visit: Visit
    comparison: ClockComparison | None
    count: int
    reached: int
    ordinal: int = 0
    held: list[_Held] = field(default_factory=list)
    strays: list[Reading] = field(default_factory=list)
    answers: asyncio.Queue[RecordAccess] = field(default_factory=asyncio.Queue)
    received: int = 0
    whole: bool = False

    def record(self, data: bytes) -> None:
        packet = RawPacket(source="2A18", data=data)
        try:
            decoded = glucose(data, self.visit.profile.decode)
        except MalformedPacket as error:
            self._stray(packet, str(error))
            return
        self.received += 1
        if self.visit.profile.records.renumbered:
            decoded = replace(decoded, sequence=None)
        self.held.append(_Held(decoded, (packet,)))
        self.commit_full()

    def context(self, data: bytes) -> None:
        packet = RawPacket(source="2A34", data=data)
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

    def commit_full(self) -> None:
        """Commit a full batch of records that wait for nothing."""
        ready = 0
        while ready < len(self.held) and not self.held[ready].decoded.context_follows:
            ready += 1
        if ready >= MAX_BATCH:
            self._commit(MAX_BATCH)

    def commit_all(self) -> None:
        """Commit what is held, in batches; contexts that did not come are not waited for any more."""
        if not self.whole:
            unclear = (number for number, one in enumerate(self.held) if self._unclear(one))
            self.held = self.held[: next(unclear, None)]
        while self.held or self.strays:
            self._commit(MAX_BATCH)

    def _commit(self, most: int) -> None:
        part, self.held = self.held[:most], self.held[most:]
        room = most - len(part)
        strays, self.strays = self.strays[:room], self.strays[room:]
        sequences = [h.decoded.sequence for h in part if h.decoded.sequence is not None]
        self.reached = max([self.reached, *sequences])
        readings = [self._reading(held) for held in part]
        cursor = RecordCursor(sequence=self.reached, count=self.count) if self.reached >= 0 else None
        self.visit.sink.commit([*readings, *strays], cursor=cursor)

    def _unclear(self, held: _Held) -> bool:
        """Whether it is not known what was measured: only the context would say so."""
        return held.decoded.context_follows and self.visit.profile.decode.ketone_meal is not None

    def _reading(self, held: _Held) -> Reading:
        self.ordinal += 1
        now = self.visit.now()
        if self._unclear(held):
            reason = "Its context did not come: it may be glucose or a ketone."
            return undecodable(self.visit, held.raw[0], reason, now, self.ordinal)
        return measurement(
            self.visit, held.decoded, held.raw, now, self.ordinal, self.comparison, stored=True
        )

    def _stray(self, packet: RawPacket, reason: str) -> None:
        self.ordinal += 1
        self.strays.append(undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal))


class GattRacp:
    """Glucose meters by the Glucose Service."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Fetch what is newer than the cursor. See `Driver.collect`."""
        before = visit.cursor
        transfer = _Transfer(visit, None, 0, before.sequence if before else -1)
        await self._prepare(link, visit, transfer)
        try:
            async with asyncio.timeout(float(visit.profile.records.overall_s)):
                await self._fetch(link, visit, transfer)
            transfer.whole = True
        except TimeoutError:
            await self._abort(link)
        finally:
            transfer.commit_all()

    async def _prepare(self, link: GattLink, visit: Visit, transfer: _Transfer) -> None:
        """Take the profile's steps (without any: compare the clock), then subscribe to everything."""

        async def own(step: SequenceStep) -> None:
            if step.do is StepKind.CLOCK:
                transfer.comparison = await compare_clock(link, visit)
            elif step.do is StepKind.SUBSCRIBE and step.on is not None:
                await _listen(link, step.on)
            else:
                raise Misconfigured(f"The driver {visit.profile.driver} takes no step {step.do.value!r}.")

        await take_steps(link, visit.profile.steps or (SequenceStep(do=StepKind.CLOCK),), own)
        await self._subscribe(link, transfer)

    async def _subscribe(self, link: GattLink, transfer: _Transfer) -> None:
        await link.subscribe(MEASUREMENT, transfer.record)
        if CONTEXT in link.characteristics():
            await link.subscribe(CONTEXT, transfer.context)
        await link.subscribe(CONTROL_POINT, transfer.answer)

    async def _fetch(self, link: GattLink, visit: Visit, transfer: _Transfer) -> None:
        if visit.profile.records.renumbered:
            await self._report(link, visit, transfer, REPORT_ALL)
            return
        transfer.count = await self._count(link, visit, transfer)
        before = visit.cursor
        if transfer.count == 0:
            return
        if before is None:
            await self._report(link, visit, transfer, REPORT_ALL)
            return
        if transfer.count >= before.count and before.sequence < _LAST_SEQUENCE:
            await self._report(link, visit, transfer, report_from(before.sequence + 1))
            if transfer.received or transfer.count == before.count:
                return
        transfer.reached = -1
        visit.sink.commit([_renumbered(visit)])
        await self._report(link, visit, transfer, REPORT_ALL)

    async def _count(self, link: GattLink, visit: Visit, transfer: _Transfer) -> int:
        answer = await self._ask(link, visit, transfer, COUNT_ALL)
        if answer.count is not None:
            return answer.count
        if answer.result == Result.NO_RECORDS_FOUND:
            return 0
        raise Rejected(f"The meter does not count its records (response code {answer.result}).")

    async def _report(self, link: GattLink, visit: Visit, transfer: _Transfer, request: bytes) -> None:
        answer = await self._ask(link, visit, transfer, request)
        if answer.result not in {Result.SUCCESS, Result.NO_RECORDS_FOUND}:
            raise Rejected(f"The meter does not report its records (response code {answer.result}).")

    async def _ask(self, link: GattLink, visit: Visit, transfer: _Transfer, request: bytes) -> RecordAccess:
        """Send a request and wait for its answer, as long as records keep coming or `first_s` at most."""
        await link.write(CONTROL_POINT, request)
        closed = asyncio.ensure_future(link.wait_closed())
        answer = asyncio.ensure_future(transfer.answers.get())
        try:
            seen = -1
            while seen < transfer.received:
                seen = transfer.received
                await asyncio.wait(
                    {answer, closed},
                    timeout=float(visit.profile.records.first_s),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if answer.done():
                    return answer.result()
                if closed.done():
                    closed.result()
                    raise LinkLost("The meter ended the connection before it had sent all records.")
        finally:
            answer.cancel()
            closed.cancel()
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


def _renumbered(visit: Visit) -> DeviceEvent:
    kind = DeviceEventKind.RECORDS_RENUMBERED
    return DeviceEvent(
        event_id=derived_id("device_event", kind, visit.device.device_id, visit.boot_id, visit.number),
        device=visit.device,
        kind=kind,
        at=visit.now().utc,
    )
