"""OneTouch Ultra2: DC1, CR, a command of ASCII, CR; answers are lines with a sum (see `ultra2`).

Algorithm of a visit:
1. Read the clock. Ask for the dump: a header with the number of records, then a line each.
2. Commit the records. A damaged line is kept as bytes, and the visit ends with an error: read again.
3. Set the clock, if the profile wants it.
"""

import datetime as dt
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

from pydantic import BaseModel

from device_drivers.date_time import DateTime
from device_drivers.decoding import Decoded
from device_drivers.driver import Visit
from device_drivers.information import Information
from device_drivers.link import SerialLink
from device_drivers.profile import DeviceProfile
from device_drivers.serial_dialogue import Dialogue, NoAnswer, SerialProtocol
from device_drivers.serial_layouts.ultra2 import (
    Ultra2Line,
    Ultra2Record,
    record_count,
    serial_number,
    shown_clock,
    software_version,
)
from device_drivers.stored_records import StoredRecords
from wire_format.errors import MalformedPacket
from wire_format.measurement import GlucoseContext
from wire_format.nomenclature import Quantity

_ATTENTION: Final = b"\x11\r"

A = TypeVar("A")


class Command(StrEnum):
    """All that is ever sent. `SET_CLOCK` is followed by the time."""

    VERSION = "DM?"
    SERIAL = "DM@"
    CLOCK = "DMF"
    SET_CLOCK = "DMT"
    DUMP = "DMP"


class Ultra2:
    """Driver of the OneTouch Ultra2."""

    protocol: type[BaseModel] = SerialProtocol

    async def identify(self, link: SerialLink, profile: DeviceProfile) -> Information:
        """Ask for the serial number and the version."""
        meter = _Meter(Dialogue(link, profile.protocol_as(SerialProtocol)))
        await link.line(meter.dialogue.protocol.baud_rate)
        serial = await meter.ask(Command.SERIAL, serial_number)
        version = await meter.ask(Command.VERSION, software_version)
        return Information("LifeScan", "OneTouch Ultra2", serial, version, None)

    async def collect(self, link: SerialLink, visit: Visit) -> None:
        """Read the clock and the whole memory; then set the clock if it must be."""
        with StoredRecords(visit) as records:
            meter = _Meter(Dialogue(link, visit.profile.protocol_as(SerialProtocol), records.noise))
            before = visit.now()
            records.compare(await meter.ask(Command.CLOCK, shown_clock), before)
            await _dump(meter, records)
            records.complete()
            await records.keep_clock(meter.set_clock)


class _Meter:
    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue

    async def ask(self, command: Command, said: Callable[[Ultra2Line], A], operand: str = "") -> A:
        """Send a command and return what `said` reads in the line that answers it."""

        def decode(data: bytes) -> A:
            return said(Ultra2Line.from_bytes(data))

        async def attempt() -> A:
            await self.dialogue.link.send(_ATTENTION + f"{command}{operand}\r".encode())
            return self.dialogue.decoded(await self.line(self.dialogue.answer_s), decode)

        return await self.dialogue.ask(command.value, attempt)

    async def line(self, within_s: float) -> bytes:
        """Return the next line that is not empty."""
        line = b""
        while not line.strip(b"\r"):
            # A line feed, if there is one, ends the line before.
            line = (await self.dialogue.link.until(b"\r", within_s, most=256)).lstrip(b"\n\0")
        return line

    async def set_clock(self, local: dt.datetime) -> DateTime:
        """Set the clock, and read it back."""
        await self.ask(Command.SET_CLOCK, shown_clock, local.strftime("%m/%d/%y %H:%M:%S"))
        return await self.ask(Command.CLOCK, shown_clock)


async def _dump(meter: _Meter, records: StoredRecords) -> None:
    count = await meter.ask(Command.DUMP, record_count)
    for number in range(count):
        try:
            data = await meter.line(float(records.visit.profile.records.idle_s))
        except TimeoutError:
            raise NoAnswer(f"The meter fell silent after {number} of {count} records.") from None
        _take(data, records)
    await _rest(meter, count, records)


async def _rest(meter: _Meter, most: int, records: StoredRecords) -> None:
    """Take what comes behind the announced number: a line that was said twice must not hide the last one."""
    for _ in range(most):
        try:
            data = await meter.line(float(meter.dialogue.protocol.quiet_s))
        except TimeoutError:
            return
        _take(data, records)


def _take(data: bytes, records: StoredRecords) -> None:
    try:
        line = Ultra2Line.from_bytes(data)
    except MalformedPacket as error:
        records.lost += 1
        records.noise(data, str(error))
        return
    try:
        record = Ultra2Record.of(line)
    except MalformedPacket as error:
        records.strange(data, str(error))
        return
    context = GlucoseContext(control_solution=record.control, meal=record.meal_mark)
    records.record(
        Decoded(
            Quantity.GLUCOSE,
            (record.component,),
            context=context,
            stamp=record.stamp,
            failure=record.failure,
        ),
        data,
    )
