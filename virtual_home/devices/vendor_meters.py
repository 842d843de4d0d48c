"""Glucose meters of makers who depart from the Glucose Service."""

import asyncio
import datetime as dt
import struct
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar, Final

from bumble.att import ATT_Error
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.clock_layouts import CLOCK_LAYOUTS
from device_drivers.drivers.onetouch_ble import (
    ACKNOWLEDGED,
    ANSWER,
    COMMAND,
    COUNT_RECORDS,
    DONE,
    EMPTY,
    HIGHEST_RECORD,
    ONE_FRAGMENT,
    PREFIX,
    READ_CLOCK,
    READ_RECORD,
)
from device_drivers.quantities.glucose import GlucoseMeasurement
from device_drivers.vendors.lifescan import LifeScanFrame, VerioRecord
from virtual_home.devices.glucose_meter import GlucoseMeter
from virtual_home.devices.peripheral import (
    ENCRYPTED_WRITE,
    WRITEABLE,
    Entry,
    Fate,
    Peripheral,
    Properties,
)

_REFUSED: Final = 0x80
_KETONE_MEAL: Final = 6
_SLOW_S: Final = 0.3


class VendorClockMeter(GlucoseMeter):
    """A meter whose clock is written in a layout of its maker, and cannot be read."""

    clock_service: ClassVar[str]
    clock_characteristic: ClassVar[str]
    layout: ClassVar[str]

    def _clock_service(self) -> list[Service]:
        self.clock_point = self.secured(self.clock_characteristic, Properties.WRITE | Properties.INDICATE)
        self.clock_point.permissions = WRITEABLE | ENCRYPTED_WRITE
        self.clock_point.value = CharacteristicValue(write=self._set_clock)
        return [Service(UUID(self.clock_service), [self.clock_point])]

    def _set_clock(self, connection: Connection, value: bytes) -> None:
        stated = CLOCK_LAYOUTS[self.layout].decode(bytes(value)).stated
        if stated is None:
            raise ATT_Error(_REFUSED)
        self.clock.set(stated)
        self.announce({"event": "clock_set", "device": self.spec.key})
        self.spawn(self._confirm(connection))

    async def _confirm(self, connection: Connection) -> None:
        await asyncio.sleep(_SLOW_S)
        await self.device.indicate_subscriber(connection, self.clock_point, b"\x05\x01\x00\x00")


class ContourMeter(VendorClockMeter):
    """Ascensia Contour Next One."""

    clock_service = "00000000-0002-11e2-9e96-0800200c9a66"
    clock_characteristic = "00001026-0002-11e2-9e96-0800200c9a66"
    layout = "contour"


class CareSensMeter(VendorClockMeter):
    """i-SENS CareSens: the clock is taken only from who listens; a ketone is a record with meal code 6."""

    clock_service = "c4dea010-5a9d-11e9-8647-d663bd873d93"
    clock_characteristic = "c4dea3bc-5a9d-11e9-8647-d663bd873d93"
    layout = "isens"

    async def measure(
        self,
        *,
        mg_dl: Decimal | None = None,
        meal: Decimal | int | None = None,
        ketone: Decimal | None = None,
    ) -> Entry:
        """Measure glucose (mg/dL, and a meal) or ketone (mmol/L)."""
        if ketone is not None:
            return await super().measure(mg_dl=(ketone * 10).quantize(Decimal(1)), meal=_KETONE_MEAL)
        return await super().measure(mg_dl=mg_dl or Decimal(100), meal=None if meal is None else int(meal))

    def _set_clock(self, connection: Connection, value: bytes) -> None:
        subscribed = self.device.gatt_server.subscribers.get(connection, {})
        if not subscribed.get(self.clock_point.handle, b"\0\0")[0] & 2:
            raise ATT_Error(_REFUSED)
        super()._set_clock(connection, value)


class RenumberingMeter(GlucoseMeter):
    """TaiDoc DM30b: its newest record is number 0, and comes first; nobody sets its clock."""

    def _clock_service(self) -> list[Service]:
        return []

    def packet(self, entry: Entry) -> bytes:
        """Return a record under the number that it has now."""
        stored = GlucoseMeasurement.from_bytes(bytes.fromhex(entry.packet))
        return bytes(replace(stored, sequence=len(self.ledger) - entry.number))

    def _chosen(self, request: bytes) -> list[Entry] | None:
        chosen = super()._chosen(request)
        return None if chosen is None else chosen[::-1]


class VerioMeter(Peripheral):
    """OneTouch Verio Flex: LifeScan's frames in a service of its own, each answer to be acknowledged."""

    services = ()
    service: ClassVar[str] = "af9df7a1-e595-11e3-96b4-0002a5d5c51b"

    def build(self) -> Iterable[Service]:
        """Return LifeScan's service."""
        self.owed = False
        self.unacknowledged = 0
        self.answers = self.secured(ANSWER, Properties.NOTIFY)
        self.commands: Characteristic[bytes] = Characteristic(
            UUID(COMMAND),
            Properties.WRITE,
            WRITEABLE | ENCRYPTED_WRITE,
            CharacteristicValue(write=self._asked),
        )
        return [Service(UUID(self.service), [self.commands, self.answers])]

    async def measure(self, *, mg_dl: Decimal, control: int = 0) -> Entry:
        """Measure capillary blood, or control solution: mg/dL."""
        record = VerioRecord(self._seconds(), int(mg_dl), int(control))
        return await self.measured(bytes(record))

    def _seconds(self) -> int:
        return int((self.clock.digits() - dt.datetime(2000, 1, 1)).total_seconds())  # noqa: DTZ001 - it has no zone

    def _clock_service(self) -> list[Service]:
        return []

    def advertised(self) -> tuple[int | str, ...]:
        """Return LifeScan's service."""
        return (self.service,)

    def _asked(self, connection: Connection, value: bytes) -> None:
        if bytes(value) == ACKNOWLEDGED:
            self.owed = False
            return
        self.unacknowledged += self.owed
        self.owed = True
        command = LifeScanFrame.from_bytes(bytes(value)[1:]).message[len(PREFIX) :]
        self.spawn(self._answer(connection, command))

    async def _answer(self, connection: Connection, command: bytes) -> None:
        entry = self._record(command)
        if entry is not None and await self.breaks(connection):
            self.owed = False
            return
        message = PREFIX + self._message(command, entry)
        await self.device.notify_subscriber(connection, self.answers, ACKNOWLEDGED)
        packet = ONE_FRAGMENT + bytes(LifeScanFrame(0, message))
        await self.device.notify_subscriber(connection, self.answers, packet)
        if entry is not None:
            entry.fate, entry.sent_times = Fate.CONFIRMED, entry.sent_times + 1
            self.tell("confirmed", entry)

    def _record(self, command: bytes) -> Entry | None:
        if command[:1] != READ_RECORD:
            return None
        (number,) = struct.unpack("<H", command[1:])
        return next((entry for entry in self.held() if entry.number == number), None)

    def _message(self, command: bytes, entry: Entry | None) -> bytes:
        if entry is not None:
            return bytes([DONE]) + bytes.fromhex(entry.packet)
        known = {
            READ_CLOCK: struct.pack("<I", self._seconds()),
            COUNT_RECORDS: struct.pack("<H", len(self.held())),
            HIGHEST_RECORD: struct.pack("<I", len(self.ledger)),
        }
        return bytes([DONE]) + known[command] if command in known else bytes([EMPTY])
