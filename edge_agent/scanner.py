"""Scanner: hears advertisements, for ever. It pauses while a connection is made, and outlives its radio."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakError

from device_drivers.link import Sighting
from service_kit.log import Log

RETRY_S: Final = 5.0
_NOT_HEARD: Final = -127
"""What bleak says for a device that bluetoothd knows and did not hear in this scan: no signal strength."""

OnSighting = Callable[[Sighting, object], None]
"""Called for each advertisement, on the event loop; must not raise. What the radio heard it as is opaque."""


@dataclass(slots=True)
class Scanner:
    """The radio's ear. `backend` None is Linux's own.

    `failures` counts the scans in a row that failed. `heard_at` is when anything was heard last, also of
    strangers, or the agent began to listen: monotonic seconds.
    """

    backend: type[BaseBleakScanner] | None
    log: Log
    heard: OnSighting | None = None
    retry_s: float = RETRY_S
    failures: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    _pauses: int = 0
    _resume: asyncio.Event = field(default_factory=asyncio.Event)
    _pause: asyncio.Event = field(default_factory=asyncio.Event)
    _quiet: asyncio.Event = field(default_factory=asyncio.Event)
    _failed: str | None = None

    async def run(self) -> None:
        """Scan until cancelled. A radio that is missing or wedged is tried again; it is said once."""
        self._quiet.set()
        while True:
            if self._pauses:
                await self._resume.wait()
            try:
                await self._scan_until_paused()
            except (BleakError, OSError, EOFError, TimeoutError) as error:
                self._quiet.set()
                if _ending():
                    # A radio that fails while it is let go must not keep the agent from ending.
                    raise asyncio.CancelledError from error
                self.failures += 1
                self._say(type(error).__name__)
                await asyncio.sleep(self.retry_s)

    async def _scan_until_paused(self) -> None:
        self._pause.clear()
        self._quiet.clear()
        try:
            async with BleakScanner(self._on_advertisement, backend=self.backend):
                self.failures = 0
                self._say(None)
                await self._pause.wait()
        finally:
            self._quiet.set()

    def restart(self) -> None:
        """Begin the scan anew: the one that is running may be one that bluetoothd has forgotten."""
        self._pause.set()

    @property
    def failure(self) -> str | None:
        """The class of the error that keeps it from listening, if one does."""
        return self._failed

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Be silent meanwhile: scanning while connecting resets some adapters."""
        self._pauses += 1
        self._resume.clear()
        self._pause.set()
        try:
            await self._quiet.wait()
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._resume.set()

    def _on_advertisement(self, device: BLEDevice, data: AdvertisementData) -> None:
        # Stored devices are told of too, when anything about them changes: after a restart of bluetoothd each
        # bonded one would be connected to in vain, and whoever measures then waits behind them.
        if data.rssi == _NOT_HEARD:
            return
        sighting = Sighting(
            address=device.address.upper(),
            name=data.local_name or device.name,
            services=frozenset(uuid.lower() for uuid in data.service_uuids),
            manufacturer_data=dict(data.manufacturer_data),
            service_data={uuid.lower(): value for uuid, value in data.service_data.items()},
            rssi=data.rssi,
        )
        self.heard_at = time.monotonic()
        if self.heard is not None:
            self.heard(sighting, device)

    def _say(self, failure: str | None) -> None:
        if failure == self._failed:
            return
        self._failed = failure
        if failure is None:
            self.log.info("radio_listens_again")
        else:
            self.log.error("radio_unavailable", error=failure)


def _ending() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
