"""OneTouch UltraEasy and UltraMini: LifeScan's frames, each message acknowledged, counted in one bit a side.

Algorithm of a visit:
1. Disconnect: both counters are 0 then. Read the clock, and the number of records (record 501 says it).
2. Ask for each record by its index; commit. What was damaged is asked for again, after another disconnect.
3. Set the clock, if the profile wants it.
"""

import datetime as dt
from enum import Enum
from typing import Final

from pydantic import BaseModel

from device_drivers.date_time import DateTime
from device_drivers.decoding import Decoded
from device_drivers.driver import Visit
from device_drivers.information import Information
from device_drivers.link import SerialLink
from device_drivers.profile import DeviceProfile
from device_drivers.serial_dialogue import Dialogue, Refused, SerialProtocol
from device_drivers.serial_layouts.lifescan import Link, UltraEasyRecord, clock_digits, clock_seconds
from device_drivers.stored_records import StoredRecords
from device_drivers.vendors.lifescan import STX, LifeScanFrame
from wire_format.errors import MalformedPacket
from wire_format.measurement import GlucoseContext
from wire_format.nomenclature import Quantity

_HEAD: Final = 3
_SUCCESS: Final = b"\x05\x06"
_COUNTED: Final = (b"\x05\x0f", b"\x0f")
"""Before the number of records: two published readers disagree about the first byte, so both are taken."""

_COUNT_INDEX: Final = 501
_MOST_FRAMES: Final = 6
"""Frames until an answer: an acknowledgement before it, and what is said twice."""


class Command(Enum):
    """All that is ever sent. `SET_CLOCK` is followed by a time, `RECORD` by an index."""

    VERSION = b"\x05\x0d\x02"
    SERIAL = b"\x05\x0b\x02\0\0\0\0\x84\x6a\xe8\x73\0"
    CLOCK = b"\x05\x20\x02\0\0\0\0"
    SET_CLOCK = b"\x05\x20\x01"
    RECORD = b"\x05\x1f"


class UltraEasy:
    """Driver of the OneTouch UltraEasy and UltraMini."""

    protocol: type[BaseModel] = SerialProtocol

    async def identify(self, link: SerialLink, profile: DeviceProfile) -> Information:
        """Ask for the serial number and the version."""
        meter = _Meter(Dialogue(link, profile.protocol_as(SerialProtocol)))
        await link.line(meter.dialogue.protocol.baud_rate)
        serial = _text(await meter.ask(Command.SERIAL))
        # A byte of length comes before the version.
        version = _text((await meter.ask(Command.VERSION))[1:])
        return Information("LifeScan", "OneTouch UltraEasy", serial, version, None)

    async def collect(self, link: SerialLink, visit: Visit) -> None:
        """Read the clock and the whole memory; then set the clock if it must be."""
        with StoredRecords(visit) as records:
            meter = _Meter(Dialogue(link, visit.profile.protocol_as(SerialProtocol), records.noise))
            before = visit.now()
            records.compare(await meter.clock(), before)
            for index in range(await meter.count()):
                await _read(meter, index, records)
            records.complete()
            await records.keep_clock(meter.set_clock)


def _text(data: bytes) -> str | None:
    text = data.decode("ascii", "ignore").strip("\0 ")
    return text if text and text.isprintable() else None


def _seconds(data: bytes) -> int:
    if len(data) != 4:  # noqa: PLR2004 - a 32-bit count
        raise MalformedPacket("UltraEasy: the answer is no time.")
    return int.from_bytes(data, "little")


class _Meter:
    """The link layer: `sent` and `expected` are the counters; None until a disconnect has set them to 0."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.sent: int | None = None
        self.expected = 0
        self.raw = b""

    async def ask(self, command: Command, operand: bytes = b"") -> bytes:
        """Return what follows the status of an answer; raises `Refused` if the status is no success."""
        message = await self._answer(command, operand)
        if not message.startswith(_SUCCESS):
            raise Refused(f"The meter refused {command.name} with status {message[1:2].hex() or 'none'}.")
        return message.removeprefix(_SUCCESS)

    async def count(self) -> int:
        """Return the number of records."""
        message = await self._answer(Command.RECORD, _COUNT_INDEX.to_bytes(2, "little"))
        for prefix in _COUNTED:
            number = message.removeprefix(prefix)
            if len(number) == 2 and number != message:  # noqa: PLR2004 - a 16-bit count
                return int.from_bytes(number, "little")
        raise MalformedPacket("UltraEasy: the answer is no number of records.")

    async def clock(self) -> DateTime:
        """Return what the clock shows."""
        return clock_digits(_seconds(await self.ask(Command.CLOCK)))

    async def set_clock(self, local: dt.datetime) -> DateTime:
        """Set the clock, and read it back: the answer only repeats what was asked."""
        await self.ask(Command.SET_CLOCK, clock_seconds(local).to_bytes(4, "little"))
        return await self.clock()

    async def _answer(self, command: Command, operand: bytes) -> bytes:
        async def attempt() -> bytes:
            try:
                if self.sent is None:
                    await self._disconnect()
                return await self._exchange(command.value + operand)
            except (TimeoutError, MalformedPacket):
                self.sent = None
                raise

        return await self.dialogue.ask(command.name, attempt)

    async def _disconnect(self) -> None:
        await self.dialogue.link.send(bytes(LifeScanFrame(Link.DISCONNECT)))
        for _ in range(_MOST_FRAMES):
            if (await self._frame()).link & Link.DISCONNECT:
                self.sent = self.expected = 0
                return
        raise MalformedPacket("UltraEasy: the meter does not end its old connection.")

    async def _exchange(self, message: bytes) -> bytes:
        await self._send(0, message)
        self.sent = 1 - (self.sent or 0)
        for _ in range(_MOST_FRAMES):
            frame = await self._frame()
            if frame.link & Link.DISCONNECT and not frame.link & Link.ACKNOWLEDGE:
                raise MalformedPacket("UltraEasy: the meter ended the connection.")
            if not frame.message:  # an acknowledgement, of the disconnection too if it is said twice
                continue
            fresh = frame.link & Link.SENT == self.expected
            if fresh:
                self.expected = 1 - self.expected
            await self._send(Link.ACKNOWLEDGE, b"")
            if fresh:
                return frame.message
        raise MalformedPacket("UltraEasy: the meter repeats itself, and does not answer.")

    async def _send(self, link: int, message: bytes) -> None:
        counters = (self.sent or 0) * Link.SENT | self.expected * Link.EXPECTED
        await self.dialogue.link.send(bytes(LifeScanFrame(link | counters, message)))

    async def _frame(self) -> LifeScanFrame:
        link, within_s = self.dialogue.link, self.dialogue.answer_s
        head = await link.exactly(_HEAD, within_s)
        rest = max(head[1] - _HEAD, 0) if head[0] == STX else 0
        self.raw = head + await link.exactly(rest, within_s)
        return self.dialogue.decoded(self.raw, LifeScanFrame.from_bytes)


async def _read(meter: _Meter, index: int, records: StoredRecords) -> None:
    answer = await meter.ask(Command.RECORD, index.to_bytes(2, "little"))
    try:
        record = UltraEasyRecord.from_bytes(answer)
    except MalformedPacket as error:
        records.strange(meter.raw, str(error))
        return
    records.record(
        Decoded(Quantity.GLUCOSE, (record.component,), context=GlucoseContext(), stamp=record.stamp),
        meter.raw,
    )
