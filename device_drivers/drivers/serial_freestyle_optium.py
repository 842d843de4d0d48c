"""FreeStyle Optium (Precision Xtra): `$colq` says who it is, `$xmem` gives the memory, `$tim` sets the clock.

A glucose meter that also measures ketone: its record says which. The first command after it was plugged in is
often lost, hence the attempts.
"""

import datetime as dt
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeVar

from pydantic import BaseModel

from device_drivers.date_time import DateTime
from device_drivers.driver import Visit
from device_drivers.drivers.serial_freestyle_lite import memory_of, take_lines
from device_drivers.information import Information
from device_drivers.link import SerialLink
from device_drivers.profile import DeviceProfile
from device_drivers.serial_dialogue import Dialogue, SerialProtocol
from device_drivers.serial_layouts.freestyle import FreeStyleClock
from device_drivers.stored_records import MINUTE_MS, StoredRecords
from wire_format.errors import MalformedPacket

_DONE: Final = b"CMD OK\r\n"
_END: Final = b"\r\n"

A = TypeVar("A")


class Command(Enum):
    """All that is ever sent. `SET_CLOCK` is followed by the time."""

    INFORMATION = b"$colq"
    MEMORY = b"$xmem"
    SET_CLOCK = b"$tim"


class FreeStyleOptium:
    """Driver of the FreeStyle Optium."""

    protocol: type[BaseModel] = SerialProtocol

    async def identify(self, link: SerialLink, profile: DeviceProfile) -> Information:
        """Ask for the serial number and the version."""
        dialogue = Dialogue(link, profile.protocol_as(SerialProtocol))
        await link.line(dialogue.protocol.baud_rate)
        said = await _ask(dialogue, Command.INFORMATION, _information)
        return Information("Abbott", "FreeStyle Optium", said["S/N"], said["Ver"].split("\t")[0], None)

    async def collect(self, link: SerialLink, visit: Visit) -> None:
        """Read the clock and the whole memory; then set the clock if it must be."""
        with StoredRecords(visit, MINUTE_MS) as records:
            dialogue = Dialogue(link, visit.profile.protocol_as(SerialProtocol), records.noise)
            before = visit.now()
            records.compare(await _clock(dialogue), before)
            request = Command.MEMORY.value + _END
            take_lines(await memory_of(dialogue, request, float(visit.profile.records.first_s)), records)
            records.complete()

            async def set_clock(local: dt.datetime) -> DateTime:
                await _ask(dialogue, Command.SET_CLOCK, bytes, local.strftime(",%m,%d,%y,%H,%M"))
                return await _clock(dialogue)

            await records.keep_clock(set_clock)


async def _ask(dialogue: Dialogue, command: Command, decode: Callable[[bytes], A], operand: str = "") -> A:
    """Return what `decode` reads in the answer to a command, up to and with its "CMD OK"."""

    async def attempt() -> A:
        await dialogue.link.send(command.value + operand.encode() + _END)
        return dialogue.decoded(await dialogue.link.until(_DONE, dialogue.answer_s), decode)

    return await dialogue.ask(command.value.decode(), attempt)


def _information(answer: bytes) -> dict[str, str]:
    """Return what the meter says of itself, by its own names: S/N, Ver, Clock and others."""
    pairs = [line.partition(":\t") for line in answer.decode("ascii", "ignore").splitlines()]
    said = {name: value for name, _, value in pairs if value}
    if not {"S/N", "Ver", "Clock"} <= said.keys():
        raise MalformedPacket("FreeStyle Optium: the answer to $colq lacks a serial number or a clock.")
    return said


async def _clock(dialogue: Dialogue) -> DateTime:
    def shown(answer: bytes) -> DateTime:
        return FreeStyleClock.from_bytes(_information(answer)["Clock"].encode()).stamp

    return await _ask(dialogue, Command.INFORMATION, shown)
