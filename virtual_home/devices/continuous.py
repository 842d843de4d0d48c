"""Devices that measure all the time: an oximeter that streams, and a glucose monitor with a session."""

import asyncio
import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.quantities.continuous_glucose import CgmMeasurement, SessionStart
from device_drivers.quantities.oximetry import PlxContinuous
from virtual_home.devices.peripheral import READABLE, Entry, Fate, Peripheral, Properties
from virtual_home.devices.record_keeper import RecordKeeper

_ONGOING = 1 << 5
_EARLY = 1 << 6
_VALIDATED = 1 << 7
_LEAD_IN = 2  # early estimates before a reading settles


class ContinuousOximeter(Peripheral):
    """Streams what it measured (0x2A5F): early estimates first, then the settled value, then the same again.

    Its ledger holds the settled value of each measurement; what else it sends is nobody's reading.
    """

    services = (0x1822,)
    every_s = 0.05

    def build(self) -> Iterable[Service]:
        """Return the Pulse Oximeter Service."""
        self.stream = self.secured(0x2A5F, Properties.NOTIFY)
        self.stream.on(self.stream.EVENT_SUBSCRIPTION, self._subscribed)
        feature = Characteristic(UUID.from_16_bits(0x2A60), Properties.READ, READABLE, b"\x00\x00")
        return [Service(UUID.from_16_bits(0x1822), [self.stream, feature])]

    async def measure(self, *, saturation: Decimal, pulse: Decimal) -> Entry:
        """Measure: percent and beats per minute."""
        pair = (MedFloat.of(saturation), MedFloat.of(pulse))
        return await self.measured(bytes(PlxContinuous(0x04, pair, measurement_status=_ONGOING | _VALIDATED)))

    def _subscribed(self, bearer: Connection, notify: bool, _indicate: bool) -> None:  # noqa: FBT001 - Bumble's
        if notify:
            self.spawn(self._stream(bearer))

    async def _stream(self, connection: Connection) -> None:
        for entry in self.held():
            settled = PlxContinuous.from_bytes(bytes.fromhex(entry.packet))
            early = PlxContinuous(0x04, settled.normal, measurement_status=_ONGOING | _EARLY)
            entry.sent_times += 1
            self.tell("sent", entry)
            for packet in [early] * _LEAD_IN + [settled] * _LEAD_IN:
                await self.device.notify_subscriber(connection, self.stream, bytes(packet))
                await asyncio.sleep(self.every_s)
            entry.fate, entry.discarded = Fate.CONFIRMED, True  # a stream is never said again
            self.tell("confirmed", entry)
        await self.close_soon(connection)


class GlucoseMonitor(RecordKeeper):
    """Measures glucose of tissue in a session (0x181F), five minutes after the measurement before."""

    services = (0x181F,)
    step_minutes = 5

    def build(self) -> Iterable[Service]:
        """Return the Continuous Glucose Monitoring Service."""
        self.measurement = self.secured(0x2AA7, Properties.NOTIFY)
        start = SessionStart(DateTime.of(self._began()), self.spec.zone_offset_minutes // 15, 0)
        feature = b"\x00\x00\x00\x59\xff\xff"  # no E2E-CRC; interstitial fluid
        read = [
            Characteristic(UUID.from_16_bits(uuid), Properties.READ, READABLE, value)
            for uuid, value in ((0x2AA8, feature), (0x2AAA, bytes(start)))
        ]
        return [Service(UUID.from_16_bits(0x181F), [self.measurement, *read, self.control_point()])]

    def _began(self) -> dt.datetime:
        return self.clock.digits().replace(second=0) - dt.timedelta(hours=5)

    async def measure(self, *, mg_dl: Decimal) -> Entry:
        """Measure: mg/dL."""
        offset = (len(self.ledger) + 1) * self.step_minutes
        return await self.measured(bytes(CgmMeasurement(0, MedFloat.of(mg_dl), offset)))

    def number_of(self, entry: Entry) -> int:
        """Return minutes since the session began."""
        return CgmMeasurement.from_bytes(bytes.fromhex(entry.packet)).offset_minutes

    async def send(self, connection: Connection, entry: Entry) -> None:
        """Notify one record."""
        await self.device.notify_subscriber(connection, self.measurement, bytes.fromhex(entry.packet))
