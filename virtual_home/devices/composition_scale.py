"""A body composition scale with a User Data Service: it gives a slot's readings to whom knows its code."""

from collections.abc import Iterable
from decimal import Decimal
from typing import ClassVar

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.date_time import DateTime
from device_drivers.quantities.body import BodyCompositionMeasurement, WeightMeasurement
from device_drivers.quantities.user_data import UserControl, UserOpCode, UserResult
from virtual_home.devices.peripheral import (
    ENCRYPTED_WRITE,
    READABLE,
    WRITEABLE,
    Entry,
    Fate,
    Peripheral,
    Properties,
)
from wire_format.nomenclature import Term


class CompositionScale(Peripheral):
    """One slot with one code. A weighing is two readings: weight, and composition.

    Other slots do not exist; whoever asks for them, or gives another code, hears why and gets nothing.
    """

    services: ClassVar[tuple[int, ...]] = (0x181B, 0x181C, 0x181D)

    def build(self) -> Iterable[Service]:
        """Return the Weight Scale, Body Composition and User Data Services."""
        self.asked: list[tuple[int | None, int | None]] = []
        self.weight = self.secured(0x2A9D, Properties.INDICATE)
        self.composition = self.secured(0x2A9C, Properties.INDICATE)
        self.control = self.secured(0x2A9F, Properties.WRITE | Properties.INDICATE)
        self.control.permissions = WRITEABLE | ENCRYPTED_WRITE
        self.control.value = CharacteristicValue(write=self._asked)
        weight = Characteristic(UUID.from_16_bits(0x2A9E), Properties.READ, READABLE, b"\x03\0\0\0")
        composition = Characteristic(UUID.from_16_bits(0x2A9B), Properties.READ, READABLE, b"\x03\0\0\0")
        return [
            Service(UUID.from_16_bits(0x181D), [self.weight, weight]),
            Service(UUID.from_16_bits(0x181B), [self.composition, composition]),
            Service(UUID.from_16_bits(0x181C), [self.control]),
        ]

    async def measure(self, *, weight: Decimal, fat: Decimal, slot: Decimal | None = None) -> Entry:
        """Weigh: kg and percent of body fat; `slot` is who stands on it, if not its own user."""
        user = self.spec.slot if slot is None else int(slot)
        stamp = self.clock.stamp()
        flags = 0x04 | (0x02 if stamp else 0)
        mass = WeightMeasurement(flags, int(weight / Decimal("0.005")), stamp, user)
        first = await self.measured(bytes(mass))
        await self.measured(bytes(self.composed(stamp, user, int(fat * 10))))
        return first

    def composed(self, stamp: DateTime | None, user: int, fat: int) -> BodyCompositionMeasurement:
        """Return the composition of a weighing; `fat` in tenths of a percent."""
        flags = 0x204 | (0x02 if stamp else 0)
        return BodyCompositionMeasurement(flags, fat, stamp, user, ((Term.IMPEDANCE, 5000),))

    async def admitted(self) -> None:
        """Wait for whatever the scale wants after consent."""

    def said(self, entry: Entry) -> bytes:
        """Return what is sent of a reading."""
        return bytes.fromhex(entry.packet)

    def _asked(self, connection: Connection, value: bytes) -> None:
        request = UserControl.from_bytes(bytes(value))
        self.asked.append((request.user, request.code))
        self.spawn(self._answer(connection, request))

    async def _answer(self, connection: Connection, request: UserControl) -> None:
        result = self._result(request)
        answer = UserControl(UserOpCode.RESPONSE, bytes([request.op_code, result]))
        await self.device.indicate_subscriber(connection, self.control, bytes(answer))
        if result == UserResult.SUCCESS:
            await self.admitted()
            for entry in self.held():
                await self._send(connection, entry)
            await self.close_soon(connection)

    def _result(self, request: UserControl) -> int:
        if request.op_code != UserOpCode.CONSENT:
            return UserResult.OP_CODE_NOT_SUPPORTED
        if request.user != self.spec.slot:
            return UserResult.INVALID_PARAMETER
        right = request.code == self.spec.consent_code
        return UserResult.SUCCESS if right else UserResult.USER_NOT_AUTHORISED

    async def _send(self, connection: Connection, entry: Entry) -> None:
        # Odd numbers are weights, each followed by its composition.
        sent_from = self.weight if entry.number % 2 else self.composition
        entry.sent_times += 1
        if entry.fate is Fate.MEASURED:
            entry.fate = Fate.SENT
        self.tell("sent", entry)
        await self.device.indicate_subscriber(connection, sent_from, self.said(entry))
        entry.fate = Fate.CONFIRMED
        entry.discarded = not self.spec.keeps
        self.tell("confirmed", entry)
