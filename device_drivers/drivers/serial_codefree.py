"""SD CodeFree: switched on, it sends a challenge, and ignores the cable if that is not answered soon.

Algorithm of a visit:
1. Wait for the challenge. Answer it; the meter says how many records there are.
2. Ask for the next record, newest first, that many times; once more, and the meter ends the session.
There is no asking twice: a damaged record is kept as bytes, and the visit ends with an error.
"""

from enum import Enum
from typing import Final

from pydantic import BaseModel

from device_drivers.decoding import Decoded
from device_drivers.driver import Visit
from device_drivers.information import Information
from device_drivers.link import SerialLink
from device_drivers.profile import DeviceProfile
from device_drivers.serial_dialogue import Dialogue, NoAnswer, SerialProtocol
from device_drivers.serial_layouts.codefree import (
    HEAD,
    STX,
    TO_METER,
    CodeFreeCount,
    CodeFreeFrame,
    CodeFreeRecord,
)
from device_drivers.stored_records import MINUTE_MS, StoredRecords
from wire_format.errors import MalformedPacket
from wire_format.measurement import GlucoseContext
from wire_format.nomenclature import Quantity

_CHALLENGE: Final = b"\x10\x30"
_ENDED: Final = b"\x10\x70"


class Command(Enum):
    """All that is ever sent."""

    READY = b"\x10\x40"
    NEXT = b"\x10\x60"


class CodeFree:
    """Driver of the SD CodeFree."""

    protocol: type[BaseModel] = SerialProtocol

    async def identify(self, link: SerialLink, profile: DeviceProfile) -> Information:
        """Wait for the challenge, and send nothing: a command that the meter does not know stops it."""
        dialogue = Dialogue(link, profile.protocol_as(SerialProtocol))
        await link.line(dialogue.protocol.baud_rate)

        async def attempt() -> None:
            head = await link.until(bytes([STX]), float(profile.records.first_s))
            frame = head[-1:] + await link.exactly(HEAD - 1, dialogue.answer_s)
            frame += await link.exactly(frame[-1], dialogue.answer_s)
            if CodeFreeFrame.from_bytes(frame).message != _CHALLENGE:
                raise MalformedPacket("CodeFree: the meter does not begin with its challenge.")

        try:
            await attempt()
        except TimeoutError:
            raise NoAnswer("No CodeFree was switched on while the cable was listened to.") from None
        return Information("SD Biosensor", "CodeFree", None, None, None)

    async def collect(self, link: SerialLink, visit: Visit) -> None:
        """Answer the challenge, and take all records."""
        with StoredRecords(visit, MINUTE_MS) as records:
            dialogue = Dialogue(link, visit.profile.protocol_as(SerialProtocol), records.noise)
            first = await _ask(dialogue, Command.READY)
            count = CodeFreeCount.from_bytes(CodeFreeFrame.from_bytes(first).message).count
            for _ in range(count):
                _take(await _next(dialogue, records), records)
            await _end(dialogue, records)
            records.complete()


async def _ask(dialogue: Dialogue, command: Command) -> bytes:
    """Send one frame, and return the bytes of the next one, decoded or not."""

    async def attempt() -> bytes:
        await dialogue.link.send(bytes(CodeFreeFrame(TO_METER, command.value)))
        return await _frame(dialogue)

    return await dialogue.ask(command.name, attempt, tries=1)


async def _frame(dialogue: Dialogue) -> bytes:
    head = b"\0"
    while head == b"\0":
        head = await dialogue.link.exactly(1, dialogue.answer_s)
    head += await dialogue.link.exactly(HEAD - 1, dialogue.answer_s)
    return head + await dialogue.link.exactly(head[-1], dialogue.answer_s)


async def _next(dialogue: Dialogue, records: StoredRecords) -> bytes:
    try:
        return await _ask(dialogue, Command.NEXT)
    except NoAnswer as error:
        raise NoAnswer(f"The meter fell silent after {records.ordinal} records.") from error


async def _end(dialogue: Dialogue, records: StoredRecords) -> None:
    """Ask once more, so that the meter leaves its session; a record that comes instead is taken too."""
    try:
        data = await _ask(dialogue, Command.NEXT)
        while _take(data, records):
            data = await _frame(dialogue)
    except (NoAnswer, TimeoutError):
        return


def _take(data: bytes, records: StoredRecords) -> bool:
    """Take one frame; return whether it was a record."""
    try:
        message = CodeFreeFrame.from_bytes(data).message
    except MalformedPacket as error:
        records.lost += 1
        records.noise(data, str(error))
        return True
    if message == _ENDED:
        return False
    try:
        record = CodeFreeRecord.from_bytes(message)
    except MalformedPacket as error:
        records.strange(data, str(error))
        return True
    context = GlucoseContext(meal=record.meal_mark)
    decoded = Decoded(Quantity.GLUCOSE, (record.component,), context=context, stamp=record.stamp)
    records.record(decoded, data)
    return True
