"""The agent's whole radio side in this process, on an emulated bluetoothd: scanner, visits, keeper, pairing.

Its clock runs faster than the real one, so that patience of minutes is one of seconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.adapter_keeper import AdapterKeeper
from edge_agent.ble_link import BleRadio
from edge_agent.bluez_host import BluezHost
from edge_agent.config import Visits
from edge_agent.control import Control, RadioHealth
from edge_agent.control_line import CONTROL
from edge_agent.home import Home
from edge_agent.nearby import Nearby
from edge_agent.pairing_desk import PairingDesk
from edge_agent.scanner import Scanner
from edge_agent.visit import Visitor
from service_kit.log import silent
from tests.doubles.bluez_device import FakeCuff
from tests.doubles.bluez_emulator import FakeBluez
from tests.doubles.edge_home import items_of, make_home
from tests.doubles.private_bus import private_bus
from wire_format.measurement import Measurement
from wire_format.statements import DeviceEvent, DeviceEventKind, GatewayEvent, GatewayEventKind

FASTER = 20.0


def fast_clock() -> float:
    """Monotonic seconds, twenty for each real one."""
    return time.monotonic() * FASTER


async def until(true: Callable[[], bool], patience: float = 60) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(patience):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another process or connection
            await asyncio.sleep(0.01)


@dataclass
class Gateway:
    """The parts that a test looks at."""

    bluez: FakeBluez
    home: Home
    host: BluezHost
    scanner: Scanner
    visitor: Visitor
    control: Path

    def measurements(self) -> list[Measurement]:
        return [item for item in items_of(self.home) if isinstance(item, Measurement)]

    def device_events(self) -> list[DeviceEventKind]:
        return [item.kind for item in items_of(self.home) if isinstance(item, DeviceEvent)]

    def events(self) -> list[GatewayEventKind]:
        return [item.kind for item in items_of(self.home) if isinstance(item, GatewayEvent)]

    def keeper(self) -> AdapterKeeper:
        assert self.host.keeper is not None
        return self.host.keeper


@asynccontextmanager
async def gateway(
    folder: Path, *cuffs: FakeCuff, bluez: FakeBluez | None = None, stale: bool = False, **home: Any
) -> AsyncIterator[Gateway]:
    """Run it; `home` says what `make_home` takes."""
    async with private_bus(folder):
        daemon = bluez or FakeBluez(*cuffs)
        await daemon.start()
        made = make_home(folder, patience=Visits(rest_s=5, longest_rest_s=20, connect_s=1), **home)
        host = BluezHost.on_system_bus(silent())
        host.bus.retry_s = host.every_s = host.off_s = 0.05
        scanner = Scanner(None, silent(), retry_s=0.05)
        radio = BleRadio(None, scanner, 1.0, host)
        running: set[asyncio.Task[None]] = set()
        visitor = Visitor(
            made,
            radio,
            lambda work: running.add(asyncio.ensure_future(work)),
            fast_clock,
            remove_stale_bonds=stale,
        )
        nearby = Nearby()

        def heard(sighting: Any, handle: object) -> None:
            nearby.heard(sighting, handle)
            visitor.heard(sighting, handle)

        scanner.heard = heard
        desk = PairingDesk(made, radio, visitor, nearby, 5.0)
        control = Control(desk, RadioHealth(scanner, visitor, host.health), silent())
        tasks = [
            asyncio.create_task(work)
            for work in (
                scanner.run(),
                control.serve(folder / CONTROL),
                host.run(scanner, visitor, made.voice.tell),
            )
        ]
        try:
            await until(lambda: daemon.default_agent is not None and host.keeper is not None)
            yield Gateway(daemon, made, host, scanner, visitor, folder / CONTROL)
        finally:
            visitor.close()
            await _ended([*tasks, *running])
            await daemon.stop()
            made.outbox.close()


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
