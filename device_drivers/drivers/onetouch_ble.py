"""OneTouch Verio Flex over Bluetooth: LifeScan's frames, asked and answered one at a time.

A message is 01 (one fragment, all that is needed here) and a frame. The meter answers 81, then its own
message; that is answered with 81 before anything else is asked. Records are asked for by number, oldest
first, so that the cursor never passes one that was not read. A number that holds nothing is passed over, and
asked for again until a later one holds a record. The clock is read and never set. Nothing is erased.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from device_drivers.clock_sync import clock_zone, compared
from device_drivers.device_time import ClockComparison
from device_drivers.driver import Reading, RecordCursor, Visit
from device_drivers.events import device_event
from device_drivers.link import GattLink, LinkLost
from device_drivers.reader import Reader
from device_drivers.readings import MAX_BATCH, measurement, undecodable
from device_drivers.silence import answered
from device_drivers.vendors.lifescan import LifeScanFrame, VerioRecord, since_2000
from wire_format.errors import MalformedPacket, Rejected
from wire_format.measurement import RawPacket
from wire_format.statements import DeviceEventKind

COMMAND: Final = "af9df7a2-e595-11e3-96b4-0002a5d5c51b"
ANSWER: Final = "af9df7a3-e595-11e3-96b4-0002a5d5c51b"
ACKNOWLEDGED: Final = b"\x81"
ONE_FRAGMENT: Final = b"\x01"

PREFIX: Final = b"\x03"
READ_CLOCK: Final = b"\x20\x02"
COUNT_RECORDS: Final = b"\x27\x00"
HIGHEST_RECORD: Final = b"\x0a\x02\x06"
READ_RECORD: Final = b"\xb3"
LAST_NUMBER: Final = 0xFFFF

MAX_LOST: Final = 20
DONE: Final = 0x06
EMPTY: Final = 0x09
_REFUSED: Final = {
    0x07: "The meter does not allow it: it is not paired any more. Pair it again.",
    0x08: "The meter does not support it: the profile is not the right one for it.",
    EMPTY: "The meter does not understand it: the profile is not the right one for it.",
}


@dataclass(slots=True)
class _Dialogue:
    """Asks, and keeps what was not asked for."""

    link: GattLink
    visit: Visit
    ordinal: int = 0
    strays: list[Reading] = field(default_factory=list)
    awaited: asyncio.Future[bytes] | None = None
    last: bytes = b""

    def heard(self, data: bytes) -> None:
        """Take what the meter sent."""
        if data == ACKNOWLEDGED or (data == self.last and self.awaited is None):
            return
        if data[:1] == ONE_FRAGMENT and self.awaited is not None:
            self.awaited.set_result(data)
            self.awaited, self.last = None, data
            return
        self.stray(data, "Nothing was asked that this could answer.")

    def stray(self, data: bytes, reason: str) -> None:
        """Keep bytes that are no record, until the next commit; not without end."""
        if len(self.strays) == MAX_LOST:
            return
        self.ordinal += 1
        packet = RawPacket(source=ANSWER, data=data)
        self.strays.append(undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal))

    async def ask(self, command: bytes) -> tuple[int, bytes, bytes]:
        """Return status, payload and the whole packet of the answer; the answer is acknowledged.

        Raises `LinkLost` if none came, `Rejected` if it is damaged: the visit ends, and the next one goes on.
        """
        self.awaited = answer = asyncio.get_running_loop().create_future()
        await self.link.write(COMMAND, ONE_FRAGMENT + bytes(LifeScanFrame(0, PREFIX + command)))
        packet = await self._answer(answer)
        try:
            r = Reader(LifeScanFrame.from_bytes(packet[1:]).message, "LifeScan answer")
            _, status, payload = r.uint(1, "prefix"), r.uint(1, "status"), r.rest()
        except MalformedPacket as error:
            self.stray(packet, str(error))
            raise Rejected(f"The meter's answer is damaged: {error} The next visit asks again.") from error
        await self.link.write(COMMAND, ACKNOWLEDGED)
        return status, payload, packet

    async def _answer(self, answer: asyncio.Future[bytes]) -> bytes:
        patience = float(self.visit.profile.records.first_s)
        gone = "The meter ended the connection before it had sent all records."
        try:
            if await answered(self.link, answer, patience, gone):
                return answer.result()
            raise LinkLost("The meter did not answer.")
        finally:
            self.awaited = None

    async def number(self, command: bytes, length: int) -> int:
        """Ask for a number of `length` bytes; raises `Rejected` if the meter gives none."""
        status, payload, packet = await self.ask(command)
        if status != DONE:
            raise Rejected(_REFUSED.get(status, f"The meter refuses, with status 0x{status:02X}."))
        if len(payload) != length:
            self.stray(packet, "It is not the number that was asked for.")
            raise Rejected("The meter does not give the number that was asked for.")
        return int.from_bytes(payload, "little")


@dataclass(slots=True)
class _Transfer:
    """Records that were read and are not committed yet."""

    dialogue: _Dialogue
    top: int
    reached: int
    comparison: ClockComparison | None
    held: list[Reading] = field(default_factory=list)

    async def read(self, number: int) -> None:
        """Read one record and hold it; commit a full batch."""
        dialogue = self.dialogue
        status, payload, packet = await dialogue.ask(READ_RECORD + number.to_bytes(2, "little"))
        if status == DONE:
            dialogue.ordinal += 1
            self.held.append(self._reading(number, payload, packet))
            self.reached = number
        elif status != EMPTY:
            raise Rejected(_REFUSED.get(status, f"The meter refuses, with status 0x{status:02X}."))
        if len(self.held) + MAX_LOST >= MAX_BATCH:
            self.commit()

    def _reading(self, number: int, payload: bytes, packet: bytes) -> Reading:
        visit, ordinal = self.dialogue.visit, self.dialogue.ordinal
        raw = RawPacket(source=ANSWER, data=packet)
        try:
            decoded = VerioRecord.from_bytes(payload).decoded(number, visit.profile.decode)
        except MalformedPacket as error:
            return undecodable(visit, raw, str(error), visit.now(), ordinal)
        return measurement(visit, decoded, (raw,), visit.now(), ordinal, self.comparison, stored=True)

    def commit(self) -> None:
        """Commit what is held, with the cursor that it reaches."""
        strays, self.dialogue.strays = self.dialogue.strays, []
        held, self.held = self.held, []
        cursor = RecordCursor(sequence=self.reached, count=self.top) if self.reached >= 0 else None
        if held or strays or cursor:
            self.dialogue.visit.sink.commit([*held, *strays], cursor=cursor)


class OneTouchBle:
    """OneTouch meters with LifeScan's own service."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Read the records that are newer than the cursor. See `Driver.collect`."""
        dialogue = _Dialogue(link, visit)
        await link.subscribe(ANSWER, dialogue.heard)
        transfer = _Transfer(dialogue, 0, -1, None)
        try:
            async with asyncio.timeout(float(visit.profile.records.overall_s)):
                await self._read_new(dialogue, transfer)
        except TimeoutError:
            return  # the rest comes with the next visit
        finally:
            transfer.commit()

    async def _read_new(self, dialogue: _Dialogue, transfer: _Transfer) -> None:
        visit = dialogue.visit
        transfer.comparison = await self._compare(dialogue)
        count = await dialogue.number(COUNT_RECORDS, 2)
        transfer.top = await dialogue.number(HIGHEST_RECORD, 4)
        if transfer.top > LAST_NUMBER:
            raise Rejected(
                f"The meter numbers its records up to {transfer.top}, beyond what can be asked for."
            )
        before = visit.cursor
        # Firmware numbers from 0 or from 1: one number more is asked for than there are records.
        first = max(0, transfer.top - count)
        if before is not None and transfer.top < before.count:
            visit.sink.commit([device_event(visit, DeviceEventKind.RECORDS_RENUMBERED)])
        elif before is not None:
            transfer.reached = before.sequence
            first = max(first, before.sequence + 1)
        if count:
            for number in range(first, transfer.top + 1):
                await transfer.read(number)

    async def _compare(self, dialogue: _Dialogue) -> ClockComparison | None:
        visit = dialogue.visit
        before = visit.now()
        shown = since_2000(await dialogue.number(READ_CLOCK, 4))
        return compared(shown, before, visit.now(), clock_zone(visit))
