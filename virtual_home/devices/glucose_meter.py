"""A glucose meter (0x1808) with records behind a Record Access Control Point."""

from collections.abc import Iterable
from decimal import Decimal

from bumble.att import ATT_Error
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.quantities.glucose import GlucoseMeasurement, GlucoseMeasurementContext
from device_drivers.quantities.record_access import OpCode, Operator, Result
from virtual_home.devices.peripheral import (
    ENCRYPTED_WRITE,
    READABLE,
    WRITEABLE,
    Entry,
    Fate,
    Peripheral,
    Properties,
)

_CCCD_WRONG = 0x81


class GlucoseMeter(Peripheral):
    """Keeps its records and numbers them from 1; being asked to delete is counted, and refused."""

    services = (0x1808,)

    def build(self) -> Iterable[Service]:
        """Return the Glucose Service."""
        self.deletions_asked = 0
        self.meals: dict[int, int] = {}
        self.measurement = self.secured(0x2A18, Properties.NOTIFY)
        self.context = self.secured(0x2A34, Properties.NOTIFY)
        self.control = self.secured(0x2A52, Properties.WRITE | Properties.INDICATE)
        self.control.permissions = WRITEABLE | ENCRYPTED_WRITE
        self.control.value = CharacteristicValue(write=self._asked)
        feature = Characteristic(UUID.from_16_bits(0x2A51), Properties.READ, READABLE, b"\x00\x00")
        every = [self.measurement, self.context, feature, self.control]
        return [Service(UUID.from_16_bits(0x1808), every)]

    async def measure(self, *, mg_dl: Decimal, meal: Decimal | int | None = None) -> Entry:
        """Measure capillary blood: mg/dL, and the meal code of 0x2A34 if it was marked."""
        number = len(self.ledger) + 1
        if meal is not None:
            self.meals[number] = int(meal)
        packet = GlucoseMeasurement(
            flags=0x02 | (0x10 if meal is not None else 0),
            sequence=number,
            base_time=self.clock.stamp() or DateTime(bytes(7)),
            concentration=MedFloat.of(mg_dl.scaleb(-5)),
            type_location=0x11,
        )
        return await self.measured(bytes(packet))

    def _asked(self, connection: Connection, value: bytes) -> None:
        subscribed = self.device.gatt_server.subscribers.get(connection, {})
        if not subscribed.get(self.control.handle, b"\0\0")[0] & 2:
            raise ATT_Error(_CCCD_WRONG)
        self.spawn(self._answer(connection, bytes(value)))

    async def _answer(self, connection: Connection, request: bytes) -> None:
        op_code, chosen = request[0], self._chosen(request)
        if op_code == OpCode.COUNT and chosen is not None:
            answer = bytes([OpCode.COUNT_RESPONSE, 0]) + len(chosen).to_bytes(2, "little")
        elif op_code == OpCode.REPORT and chosen is not None:
            await self._report(connection, chosen)
            answer = _response(op_code, Result.SUCCESS if chosen else Result.NO_RECORDS_FOUND)
        elif op_code == OpCode.ABORT:
            answer = _response(op_code, Result.SUCCESS)
        else:
            self.deletions_asked += op_code == OpCode.DELETE
            answer = _response(op_code, Result.OP_CODE_NOT_SUPPORTED)
        await self.device.indicate_subscriber(connection, self.control, answer)
        if op_code == OpCode.REPORT:
            for entry in chosen or ():
                entry.fate = Fate.CONFIRMED
                self.tell("confirmed", entry)
            await self.close_soon(connection)

    def _chosen(self, request: bytes) -> list[Entry] | None:
        if request[1] == Operator.ALL:
            return self.held()
        if request[1] == Operator.GREATER_OR_EQUAL and len(request) == 5:  # noqa: PLR2004 - op, operator, filter, u16
            least = int.from_bytes(request[3:5], "little")
            return [entry for entry in self.held() if entry.number >= least]
        return None

    async def _report(self, connection: Connection, chosen: list[Entry]) -> None:
        for entry in chosen:
            entry.sent_times += 1
            entry.fate = Fate.SENT if entry.fate is Fate.MEASURED else entry.fate
            self.tell("sent", entry)
            await self.device.notify_subscriber(connection, self.measurement, bytes.fromhex(entry.packet))
            if entry.number in self.meals:
                meal = GlucoseMeasurementContext(0x02, entry.number, meal_code=self.meals[entry.number])
                await self.device.notify_subscriber(connection, self.context, bytes(meal))


def _response(op_code: int, result: Result) -> bytes:
    return bytes([OpCode.RESPONSE, 0, op_code, result])
