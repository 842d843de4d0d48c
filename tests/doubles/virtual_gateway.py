"""The agent's radio side in this process, on the virtual radio: virtual devices, real ATT, SMP and GATT."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_agent.ble_link import BleRadio
from edge_agent.home import Home
from edge_agent.nearby import Nearby
from edge_agent.pairing_desk import PairingDesk
from edge_agent.scanner import Scanner
from edge_agent.steps import Step
from edge_agent.visit import Visitor
from service_kit.log import silent
from tests.doubles.bluez_gateway import fast_clock
from tests.doubles.edge_home import items_of, make_home
from virtual_home import home as devices
from virtual_home.bleak_backend import VirtualRadio
from virtual_home.radio import serve_controller
from virtual_home.scenario import Scenario
from wire_format.measurement import Measurement
from wire_format.statements import DeviceEvent, DeviceEventKind


@dataclass
class Street:
    """The devices and the gateway; `steps` is what happened, in order."""

    devices: devices.Home
    radio: VirtualRadio
    home: Home
    visitor: Visitor
    desk: PairingDesk
    steps: list[tuple[Step, Mapping[str, object]]] = field(default_factory=list)

    def measurements(self) -> list[Measurement]:
        return [item for item in items_of(self.home) if isinstance(item, Measurement)]

    def events(self) -> list[DeviceEventKind]:
        return [item.kind for item in items_of(self.home) if isinstance(item, DeviceEvent)]


@asynccontextmanager
async def street(
    folder: Path, scenario: Scenario, *, stale: bool = False, fast: bool = False, **home: Any
) -> AsyncIterator[Street]:
    """Run it; with `fast` the visits' clock runs twenty times faster. `home` is what `make_home` takes."""
    around = devices.Home(scenario)
    await around.power_on()
    server = await serve_controller(around.air, folder / "radio")
    radio = await VirtualRadio.open(f"unix:{folder / 'radio'}", folder / "bonds.json")
    steps: list[tuple[Step, Mapping[str, object]]] = []
    made = replace(make_home(folder, **home), observer=lambda step, facts: steps.append((step, facts)))
    scanner = Scanner(radio.scanner, silent())
    running: set[asyncio.Task[None]] = set()

    def spawn(work: Any) -> None:
        running.add(asyncio.ensure_future(work))

    ble = BleRadio(radio.client, scanner, 5.0, radio)
    clock = {"monotonic": fast_clock} if fast else {}
    visitor = Visitor(made, ble, spawn, remove_stale_bonds=stale, **clock)
    nearby = Nearby()

    def heard(sighting: Any, handle: object) -> None:
        nearby.heard(sighting, handle)
        visitor.heard(sighting, handle)

    scanner.heard = heard
    tasks = [asyncio.create_task(scanner.run()), asyncio.create_task(around.air.supervise())]
    try:
        yield Street(around, radio, made, visitor, PairingDesk(made, ble, visitor, nearby, 5.0), steps)
    finally:
        visitor.close()
        for task in [*tasks, *running]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await radio.close()
        server.close()
        made.outbox.close()
