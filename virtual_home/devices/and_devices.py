"""A&D's cuff and scale: the clock lies beside the readings, and too many questions switch them off."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.date_time import DateTime
from virtual_home.devices.peripheral import WRITEABLE, Peripheral, Properties
from virtual_home.devices.pushing import Cuff, Pushing, Scale

_PATIENCE_S: Final = 0.9
"""Asked anything sooner after connecting, it switches off."""


class _And(Pushing):
    """What both have in common. `asked` counts what it was asked about itself, after its first connection."""

    def _clock_service(self) -> list[Service]:
        self._connections, self._since = 0, 0.0
        return []

    def beside(self) -> Iterable[Characteristic[Any]]:
        """Return the clock: it can be written, and not be read."""
        value: CharacteristicValue[Any] = CharacteristicValue(write=self._take_clock)
        return [Characteristic(UUID.from_16_bits(0x2A08), Properties.WRITE, WRITEABLE, value)]

    def _information(self) -> Service:
        plain = super()._information()
        for one in plain.characteristics:
            one.value = CharacteristicValue(read=self._asked(bytes(one.value)))  # type: ignore[arg-type]  # a constant
        return plain

    def _asked(self, value: bytes) -> Any:  # noqa: ANN401 - Bumble's
        def read(connection: Connection) -> bytes:
            self._switch_off_if(connection, too_much=self._connections > 1)
            return value

        return read

    def _connected(self, connection: Connection) -> None:
        self._connections += 1
        self._since = time.monotonic()
        Peripheral._connected(self, connection)  # noqa: SLF001 - Bumble's listener of the base

    def _take_clock(self, connection: Connection, value: bytes) -> None:
        self._switch_off_if(connection, too_much=False)
        stated = DateTime(bytes(value)).stated
        if stated is not None:
            self.clock.set(stated)
            self.announce({"event": "clock_set", "device": self.spec.key})

    def _switch_off_if(self, connection: Connection, *, too_much: bool) -> None:
        if too_much or time.monotonic() - self._since < _PATIENCE_S:
            self.announce({"event": "E10", "device": self.spec.key})
            self._leaving = asyncio.ensure_future(connection.disconnect())


class AndCuff(_And, Cuff):
    """A&D UA-651BLE."""


class AndScale(_And, Scale):
    """A&D UC-352BLE."""
