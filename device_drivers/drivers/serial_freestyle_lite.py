"""FreeStyle Lite and Freedom Lite: one command, `mem`, which the whole memory answers (see `freestyle`).

Nothing of it is believed before its sum, at its end, is right. The clock cannot be set.
"""

from enum import Enum

from pydantic import BaseModel

from device_drivers.decoding import Decoded, shape_remarks
from device_drivers.driver import Visit
from device_drivers.information import Information
from device_drivers.link import SerialLink
from device_drivers.profile import DeviceProfile
from device_drivers.serial_dialogue import Dialogue, SerialProtocol
from device_drivers.serial_layouts.freestyle import END, FreeStyleMemory, FreeStyleRecord
from device_drivers.stored_records import MINUTE_MS, StoredRecords
from wire_format.errors import MalformedPacket
from wire_format.measurement import GlucoseContext
from wire_format.nomenclature import Quantity

_MOST: int = 65_536


class Command(Enum):
    """All that is ever sent."""

    MEMORY = b"mem"


class FreeStyleLite:
    """Driver of the FreeStyle Lite and Freedom Lite."""

    protocol: type[BaseModel] = SerialProtocol

    async def identify(self, link: SerialLink, profile: DeviceProfile) -> Information:
        """Read the memory: there is no smaller question."""
        dialogue = Dialogue(link, profile.protocol_as(SerialProtocol))
        await link.line(dialogue.protocol.baud_rate)
        memory = await memory_of(dialogue, Command.MEMORY.value, float(profile.records.first_s))
        return Information("Abbott", "FreeStyle Lite", memory.serial, memory.version.strip(), None)

    async def collect(self, link: SerialLink, visit: Visit) -> None:
        """Read the whole memory, and the clock that stands at its head."""
        with StoredRecords(visit, MINUTE_MS) as records:
            dialogue = Dialogue(link, visit.profile.protocol_as(SerialProtocol), records.noise)
            before = visit.now()
            memory = await memory_of(dialogue, Command.MEMORY.value, float(visit.profile.records.first_s))
            records.compare(memory.clock.stamp, before)
            take_lines(memory, records)
            records.complete()


async def memory_of(dialogue: Dialogue, request: bytes, within_s: float) -> FreeStyleMemory:
    """Ask for the whole memory; `within_s` is for all of it."""

    async def attempt() -> FreeStyleMemory:
        await dialogue.link.send(request)
        return dialogue.decoded(
            await dialogue.link.until(END, within_s, most=_MOST), FreeStyleMemory.from_bytes
        )

    return await dialogue.ask("for its memory", attempt)


def take_lines(memory: FreeStyleMemory, records: StoredRecords) -> None:
    """Take each line of a memory whose sum was right."""
    for line in memory.lines:
        try:
            record = FreeStyleRecord.from_bytes(line)
        except MalformedPacket as error:
            records.strange(line, str(error))
            continue
        records.record(
            Decoded(
                Quantity.GLUCOSE,
                (record.component,),
                context=GlucoseContext(control_solution=record.control),
                stamp=record.stamp,
                remarks=shape_remarks(reserved=record.reserved_bits, trailing=b""),
            ),
            line,
        )
