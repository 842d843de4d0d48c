"""TaiDoc TD-42xx: eight bytes to and fro; each record by its index, its time and its result one by one.

Algorithm of a visit:
1. Connect; ask for the model and the serial number.
2. Read the clock and the number of records; each record's time, then its result; commit.
3. Set the clock, if the profile wants it. It counts minutes.
"""

import datetime as dt
from enum import IntEnum
from typing import Final

from pydantic import Field

from device_drivers.date_time import DateTime
from device_drivers.decoding import Decoded
from device_drivers.driver import Visit
from device_drivers.information import Information
from device_drivers.link import SerialLink
from device_drivers.profile import DeviceProfile
from device_drivers.serial_dialogue import Dialogue, SerialProtocol
from device_drivers.serial_layouts.taidoc import (
    FROM_METER,
    LENGTH,
    TO_METER,
    TaiDocFrame,
    TaiDocResult,
    TaiDocTime,
)
from device_drivers.stored_records import MINUTE_MS, StoredRecords
from wire_format.errors import MalformedPacket
from wire_format.measurement import GlucoseContext
from wire_format.nomenclature import Quantity

_NO_SERIAL: Final = frozenset({bytes(8), b"\xff" * 8})
_GLUCOSE: Final = 0


class Command(IntEnum):
    """All that is ever sent."""

    CONNECT = 0x22
    CLOCK = 0x23
    MODEL = 0x24
    RECORD_TIME = 0x25
    RECORD_RESULT = 0x26
    SERIAL_LOW = 0x27
    SERIAL_HIGH = 0x28
    COUNT = 0x2B
    SET_CLOCK = 0x33


_GREETINGS: Final = frozenset({0x22, 0x24, 0x54})
"""With which a meter answers CONNECT."""


class TaiDocProtocol(SerialProtocol):
    """Beside the line: what the meter measures, in mg/dL; beyond, its display says LO or HI."""

    low_mg_dl: int = Field(default=20, ge=0)
    high_mg_dl: int = Field(default=600, ge=0)


class TaiDoc:
    """Driver of the TaiDoc TD-42xx."""

    protocol: type[TaiDocProtocol] = TaiDocProtocol

    async def identify(self, link: SerialLink, profile: DeviceProfile) -> Information:
        """Connect, and ask for the model and the serial number."""
        dialogue = Dialogue(link, profile.protocol_as(TaiDocProtocol))
        await link.line(dialogue.protocol.baud_rate)
        await _ask(dialogue, Command.CONNECT, answers=_GREETINGS)
        model = int.from_bytes((await _ask(dialogue, Command.MODEL)).data[:2], "little")
        number = b"".join(
            [(await _ask(dialogue, part)).data[::-1] for part in (Command.SERIAL_HIGH, Command.SERIAL_LOW)]
        )
        serial = None if number in _NO_SERIAL else number.hex().upper()
        return Information("TaiDoc", f"TD-{model:04X}", serial, None, None)

    async def collect(self, link: SerialLink, visit: Visit) -> None:
        """Read the clock and the whole memory; then set the clock if it must be."""
        with StoredRecords(visit, MINUTE_MS) as records:
            protocol = visit.profile.protocol_as(TaiDocProtocol)
            dialogue = Dialogue(link, protocol, records.noise)
            before = visit.now()
            records.compare(await _clock(dialogue), before)
            count = int.from_bytes((await _ask(dialogue, Command.COUNT)).data[:2], "little")
            for index in range(count):
                chosen = index.to_bytes(2, "little") + bytes(2)
                time = await _ask(dialogue, Command.RECORD_TIME, chosen)
                result = await _ask(dialogue, Command.RECORD_RESULT, chosen)
                _take(time, result, records, protocol)
            records.complete()

            async def set_clock(local: dt.datetime) -> DateTime:
                # The answer only repeats what was asked.
                await _ask(dialogue, Command.SET_CLOCK, bytes(TaiDocTime.of(local)))
                return await _clock(dialogue)

            await records.keep_clock(set_clock)


async def _clock(dialogue: Dialogue) -> DateTime:
    return TaiDocTime.from_bytes((await _ask(dialogue, Command.CLOCK)).data).stamp


async def _ask(
    dialogue: Dialogue, command: Command, data: bytes = bytes(4), answers: frozenset[int] = frozenset()
) -> TaiDocFrame:
    """Return the frame that answers a command: the same command, or one of `answers`."""

    def answer(received: bytes) -> TaiDocFrame:
        frame = TaiDocFrame.from_bytes(received)
        if frame.direction != FROM_METER or frame.command not in (answers or {command}):
            raise MalformedPacket(f"TaiDoc: frame 0x{frame.command:02X} answers no 0x{command:02X}.")
        return frame

    async def attempt() -> TaiDocFrame:
        await dialogue.link.send(bytes(TaiDocFrame(command, data, TO_METER)))
        return dialogue.decoded(await dialogue.link.exactly(LENGTH, dialogue.answer_s), answer)

    return await dialogue.ask(command.name, attempt)


def _take(time: TaiDocFrame, result: TaiDocFrame, records: StoredRecords, protocol: TaiDocProtocol) -> None:
    said = TaiDocResult.from_bytes(result.data)
    if said.kind != _GLUCOSE:
        reason = f"TaiDoc: a record of kind {said.kind} is no glucose."
        records.strange(bytes(time) + bytes(result), reason)
        return
    component = said.component(protocol.low_mg_dl, protocol.high_mg_dl)
    context = GlucoseContext(control_solution=said.control, meal=said.meal_mark)
    stamp = TaiDocTime.from_bytes(time.data).stamp
    decoded = Decoded(Quantity.GLUCOSE, (component,), context=context, stamp=stamp)
    records.record(decoded, bytes(time), bytes(result))
