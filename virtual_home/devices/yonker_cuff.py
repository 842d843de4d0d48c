"""A Yonker cuff: the pressure of the moment while it deflates, then one final packet, and it forgets."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Service

from device_drivers.date_time import DateTime
from device_drivers.vendors.yonker import LENGTH, YonkerResult
from virtual_home.devices.peripheral import Entry, Fate, Peripheral, Properties

SERVICE: Final = "cdeacd80-5235-4c07-8846-93a37ee6b86d"
MEASURED: Final = "cdeacd81-5235-4c07-8846-93a37ee6b86d"
PASSING: Final = 0x82
"""Invented: of passing packets only that they do not begin with 0x81 is known."""


class YonkerCuff(Peripheral):
    """Sends what it measured once it is subscribed, and discards it."""

    def advertised(self) -> tuple[int | str, ...]:
        """Return its own service."""
        return (SERVICE,)

    def build(self) -> Iterable[Service]:
        """Return the service with its one characteristic."""
        self.notified = self.secured(MEASURED, Properties.NOTIFY)
        self.notified.on(self.notified.EVENT_SUBSCRIPTION, self._subscribed)
        return [Service(UUID(SERVICE), [self.notified])]

    def _clock_service(self) -> list[Service]:
        return []

    async def measure(self, *, systolic: Decimal, diastolic: Decimal, pulse: Decimal) -> Entry:
        """Measure: mmHg and beats per minute."""
        stamp = DateTime.of(self.clock.digits().replace(second=0))
        return await self.measured(bytes(YonkerResult(int(systolic), int(diastolic), int(pulse), stamp)))

    def _subscribed(self, bearer: Connection, notify: bool, _indicate: bool) -> None:  # noqa: FBT001 - Bumble's
        if notify:
            self.spawn(self._send_all(bearer))

    async def _send_all(self, connection: Connection) -> None:
        for entry in self.held():
            for pressure in (180, 140, 90):
                passing = bytes([PASSING, pressure]).ljust(LENGTH, b"\0")
                await self.device.notify_subscriber(connection, self.notified, passing)
            entry.sent_times += 1
            entry.fate, entry.discarded = Fate.SENT, True
            self.tell("sent", entry)
            await self.device.notify_subscriber(connection, self.notified, bytes.fromhex(entry.packet))
        await self.close_soon(connection)
