"""A generic health sensor (0x1840) that measures blood pressure, and sends it in segments."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Service

from device_drivers.elapsed_time import EPOCH_2000, ElapsedTime
from device_drivers.medfloat import MedFloat
from device_drivers.quantities.health_sensor import NumericValue, Observation, segmented
from virtual_home.devices.peripheral import Entry, Properties
from virtual_home.devices.record_keeper import RecordKeeper

_UTC = 0x22  # UTC, on the current timeline
_SOURCE_CELLULAR = 6
_MMHG = 3872
_PER_MINUTE = 2720
_SEGMENT = 20  # what the smallest link carries


class HealthSensor(RecordKeeper):
    """Keeps its observations under numbers of 32 bit. Its ledger holds the first segment of each."""

    services = (0x1840,)
    number_bytes = 4
    combined = True

    def build(self) -> Iterable[Service]:
        """Return the Generic Health Sensor Service."""
        self.segments: dict[int, list[bytes]] = {}
        self.stored = self.secured(0x2BDD, Properties.NOTIFY)
        self.live = self.secured(0x2B8B, Properties.NOTIFY)
        return [Service(UUID.from_16_bits(0x1840), [self.stored, self.live, self.control_point()])]

    async def measure(self, *, systolic: Decimal, diastolic: Decimal, pulse: Decimal) -> Entry:
        """Measure: mmHg and beats per minute."""
        number = len(self.ledger) + 1
        parts = ((150021, _MMHG, systolic), (150022, _MMHG, diastolic), (149546, _PER_MINUTE, pulse))
        values = tuple(NumericValue(kind, unit, MedFloat.of(value, 4)) for kind, unit, value in parts)
        said = bytes(Observation(7, 0x23, 150020, values, self._time(), patient=1))
        self.segments[number] = segmented(number.to_bytes(4, "little") + said, _SEGMENT)
        return await self.measured(self.segments[number][0])

    def _time(self) -> ElapsedTime:
        utc = self.clock.digits() - dt.timedelta(minutes=self.spec.zone_offset_minutes)
        return ElapsedTime(_UTC, (utc - EPOCH_2000) // dt.timedelta(seconds=1), _SOURCE_CELLULAR, 0)

    async def send(self, connection: Connection, entry: Entry) -> None:
        """Notify one observation, segment by segment."""
        for packet in self.segments[entry.number]:
            await self.device.notify_subscriber(connection, self.stored, packet)
