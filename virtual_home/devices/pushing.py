"""Devices that push by indication as soon as they are subscribed: cuff, scale, thermometer, oximeter."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from device_drivers.elapsed_time import EPOCH_2000
from device_drivers.medfloat import MedFloat
from device_drivers.quantities.blood_pressure import BloodPressureMeasurement
from device_drivers.quantities.body import WeightMeasurement
from device_drivers.quantities.enhanced_blood_pressure import EnhancedBloodPressure
from device_drivers.quantities.oximetry import PlxSpotCheck
from device_drivers.quantities.temperature import TemperatureMeasurement
from virtual_home.devices.peripheral import READABLE, Disturbance, Entry, Fate, Peripheral, Properties


class Pushing(Peripheral):
    """Sends everything it holds, one indication after the other, then closes the connection."""

    service: ClassVar[int]
    measurement: ClassVar[int]
    feature: ClassVar[tuple[int, bytes]]

    def build(self) -> Iterable[Service]:
        """Return the one service with measurement and feature."""
        self.indicated = self.secured(self.measurement, Properties.INDICATE)
        self.indicated.on(self.indicated.EVENT_SUBSCRIPTION, self._subscribed)
        uuid, value = self.feature
        feature = Characteristic(UUID.from_16_bits(uuid), Properties.READ, READABLE, value)
        every = [self.indicated, feature, *self.beside()]
        return [Service(UUID.from_16_bits(self.service), every)]

    def beside(self) -> Iterable[Characteristic[Any]]:
        """Return what else lies in the service."""
        return ()

    def _subscribed(self, bearer: Connection, _notify: bool, indicate: bool) -> None:  # noqa: FBT001 - Bumble's
        if indicate:
            self.spawn(self._send_all(bearer))

    async def _send_all(self, connection: Connection) -> None:
        await self.held_back()
        for entry in self.held():
            await self._send(connection, entry)
        await self.close_soon(connection)

    async def _send(self, connection: Connection, entry: Entry) -> None:
        entry.sent_times += 1
        if entry.fate is Fate.MEASURED:
            entry.fate = Fate.SENT
        self.tell("sent", entry)
        if self.disturbed(Disturbance.CUT):
            self.spawn(connection.disconnect())
        await self.device.indicate_subscriber(connection, self.indicated, bytes.fromhex(entry.packet))
        # The other side's stack has confirmed; whether its program has the bytes, nobody here can know.
        entry.fate = Fate.CONFIRMED
        entry.discarded = not self.spec.keeps
        self.tell("confirmed", entry)


class Cuff(Pushing):
    """A blood pressure cuff (0x1810)."""

    services = (0x1810,)
    service = 0x1810
    measurement = 0x2A35
    feature = (0x2A49, b"\x07\x00")

    async def measure(self, *, systolic: Decimal, diastolic: Decimal, pulse: Decimal, user: int = 1) -> Entry:
        """Measure: mmHg and beats per minute."""
        mean = ((systolic + 2 * diastolic) / 3).quantize(Decimal(1))
        stamp = self.clock.stamp()
        packet = BloodPressureMeasurement(
            flags=0x1C | (0x02 if stamp else 0),
            systolic=MedFloat.of(systolic),
            diastolic=MedFloat.of(diastolic),
            mean_arterial=MedFloat.of(mean),
            time_stamp=stamp,
            pulse_rate=MedFloat.of(pulse),
            user_id=user,
            status=0,
        )
        return await self.measured(bytes(packet))


class EnhancedCuff(Pushing):
    """A cuff with Enhanced Blood Pressure (0x2B34), which counts UTC beside the time on its display."""

    services = (0x1810,)
    service = 0x1810
    measurement = 0x2B34
    feature = (0x2A49, b"\x07\x01")

    async def measure(self, *, systolic: Decimal, diastolic: Decimal, pulse: Decimal, user: int = 1) -> Entry:
        """Measure: mmHg and beats per minute."""
        shown = None if self.clock.stamp() is None else self.clock.digits()
        zone = dt.timedelta(minutes=self.spec.zone_offset_minutes)
        packet = EnhancedBloodPressure(
            flags=0x5C | (0x22 if shown else 0),
            systolic=MedFloat.of(systolic),
            diastolic=MedFloat.of(diastolic),
            mean_arterial=MedFloat.of(((systolic + 2 * diastolic) / 3).quantize(Decimal(1))),
            time_stamp=None if shown is None else _seconds(shown - zone),
            pulse_rate=MedFloat.of(pulse),
            user_id=user,
            status=0,
            user_facing_time=None if shown is None else _seconds(shown),
        )
        return await self.measured(bytes(packet))


def _seconds(moment: dt.datetime) -> int:
    return (moment - EPOCH_2000) // dt.timedelta(seconds=1)


class Scale(Pushing):
    """A weight scale (0x181D)."""

    services = (0x181D,)
    service = 0x181D
    measurement = 0x2A9D
    feature = (0x2A9E, b"\x03\x00\x00\x00")

    async def measure(self, *, weight: Decimal, user: int = 1) -> Entry:
        """Weigh: kg."""
        stamp = self.clock.stamp()
        packet = WeightMeasurement(
            flags=0x04 | (0x02 if stamp else 0),
            weight=int(weight / Decimal("0.005")),
            time_stamp=stamp,
            user_id=user,
        )
        return await self.measured(bytes(packet))


class Thermometer(Pushing):
    """An ear thermometer (0x1809)."""

    services = (0x1809,)
    service = 0x1809
    measurement = 0x2A1C
    feature = (0x2A1D, b"\x03")

    async def measure(self, *, temperature: Decimal) -> Entry:
        """Measure: degrees Celsius."""
        stamp = self.clock.stamp()
        packet = TemperatureMeasurement(
            flags=0x04 | (0x02 if stamp else 0),
            temperature=MedFloat.of(temperature, 4),
            time_stamp=stamp,
            kind=3,
        )
        return await self.measured(bytes(packet))


class Oximeter(Pushing):
    """A pulse oximeter for spot checks (0x1822)."""

    services = (0x1822,)
    service = 0x1822
    measurement = 0x2A5E
    feature = (0x2A60, b"\x00\x00")

    async def measure(self, *, saturation: Decimal, pulse: Decimal) -> Entry:
        """Measure: percent and beats per minute."""
        stamp = self.clock.stamp()
        packet = PlxSpotCheck(
            flags=0x01 if stamp else 0,
            saturation=MedFloat.of(saturation),
            pulse_rate=MedFloat.of(pulse),
            time_stamp=stamp,
        )
        return await self.measured(bytes(packet))
