"""A Microlife cuff: commands on FFF2, answers in packets of twenty bytes on FFF1."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.vendors.microlife import (
    ANSWER_HEAD,
    CENTURY,
    DISCONNECT,
    DONE,
    GET_RECORDS,
    MicrolifeFrame,
    MicrolifeRecord,
)
from virtual_home.devices.peripheral import (
    ENCRYPTED_WRITE,
    WRITEABLE,
    Entry,
    Fate,
    Peripheral,
    Properties,
)

_PACKET: Final = 20
_HEAD: Final = 38


class MicrolifeCuff(Peripheral):
    """Keeps its records and sends all of them; a clock that can be set and not be read."""

    services = (0xFFF0,)

    def build(self) -> Iterable[Service]:
        """Return the service of commands and answers."""
        self.answering = self.secured(0xFFF1, Properties.NOTIFY)
        value: CharacteristicValue[Any] = CharacteristicValue(write=self._asked)
        asking: Characteristic[Any] = Characteristic(
            UUID.from_16_bits(0xFFF2), Properties.WRITE, WRITEABLE | ENCRYPTED_WRITE, value
        )
        return [Service(UUID.from_16_bits(0xFFF0), [self.answering, asking])]

    def _clock_service(self) -> list[Service]:
        return []

    async def measure(self, *, systolic: Decimal, diastolic: Decimal, pulse: Decimal) -> Entry:
        """Measure: mmHg and beats per minute."""
        record = MicrolifeRecord.of(int(systolic), int(diastolic), int(pulse), self.clock.digits())
        return await self.measured(bytes(record))

    def _asked(self, connection: Connection, data: bytes) -> None:
        self.spawn(self._answer(connection, MicrolifeFrame.from_bytes(bytes(data))))

    async def _answer(self, connection: Connection, command: MicrolifeFrame) -> None:
        if command == GET_RECORDS:
            records = b"".join(bytes.fromhex(entry.packet) for entry in self.held())
            for entry in self.held():
                entry.sent_times += 1
                entry.fate = Fate.SENT if entry.fate is Fate.MEASURED else entry.fate
                self.tell("sent", entry)
            await self._send(connection, bytes(_HEAD) + records + bytes(10))
        elif command == DISCONNECT:
            for entry in self.held():
                entry.fate = Fate.CONFIRMED
                self.tell("confirmed", entry)
            await connection.disconnect()
        elif command.payload[:1] == b"\x0d":
            year, month, day, hour, minute, second = command.payload[1:7]
            now = self.clock.digits().replace(
                year=CENTURY + year, month=month, day=day, hour=hour, minute=minute, second=second
            )
            self.clock.set(now)
            self.announce({"event": "clock_set", "device": self.spec.key})
            await self._send(connection, DONE)

    async def _send(self, connection: Connection, payload: bytes) -> None:
        frame = bytes(MicrolifeFrame(ANSWER_HEAD, payload))
        for first in range(0, len(frame), _PACKET):
            if await self.breaks(connection):
                return
            packet = frame[first : first + _PACKET]
            await self.device.notify_subscriber(connection, self.answering, packet)
