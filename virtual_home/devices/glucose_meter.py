"""A glucose meter (0x1808) with records behind a Record Access Control Point."""

from collections.abc import Iterable
from decimal import Decimal

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.quantities.glucose import GlucoseMeasurement, GlucoseMeasurementContext
from virtual_home.devices.peripheral import READABLE, Entry, Properties
from virtual_home.devices.record_keeper import RecordKeeper


class GlucoseMeter(RecordKeeper):
    """Keeps its records and numbers them from 1; being asked to delete is counted, and refused."""

    services = (0x1808,)

    def build(self) -> Iterable[Service]:
        """Return the Glucose Service."""
        self.meals: dict[int, int] = {}
        self.measurement = self.secured(0x2A18, Properties.NOTIFY)
        self.context = self.secured(0x2A34, Properties.NOTIFY)
        feature = Characteristic(UUID.from_16_bits(0x2A51), Properties.READ, READABLE, b"\x00\x00")
        every = [self.measurement, self.context, feature, self.control_point()]
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

    def packet(self, entry: Entry) -> bytes:
        """Return a record as it is sent now."""
        return bytes.fromhex(entry.packet)

    async def send(self, connection: Connection, entry: Entry) -> None:
        """Notify one record, and its context if the meal was marked."""
        await self.device.notify_subscriber(connection, self.measurement, self.packet(entry))
        if entry.number in self.meals:
            meal = GlucoseMeasurementContext(0x02, entry.number, meal_code=self.meals[entry.number])
            await self.device.notify_subscriber(connection, self.context, bytes(meal))
