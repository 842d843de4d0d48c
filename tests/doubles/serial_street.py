"""A home with meters on real ptys: the agent's own visitor, its link over pyserial, and a real outbox."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from device_drivers.catalogue import SERIAL_DRIVERS, Catalogue
from device_drivers.profile import DeviceProfile
from edge_agent.cables import Cables
from edge_agent.clock import GatewayClock, vouched
from edge_agent.config import Adoption, CableSection, SerialSection, Visits
from edge_agent.home import Home
from edge_agent.outbox import Limits, Outbox
from edge_agent.outbox_file import EnvelopeKey
from edge_agent.pairing import Devices
from edge_agent.serial_link import Port, mark_of
from edge_agent.serial_visit import SerialVisitor
from edge_agent.sink import GatewayVoice, Sealer
from edge_agent.steps import Step
from service_kit.log import Log
from tests.doubles.edge_readings import BOOT, bridge_keys, gateway_keys
from virtual_home.serial.abbott import FreeStyleLiteMeter, FreeStyleOptiumMeter
from virtual_home.serial.cable import Cable, Faults
from virtual_home.serial.codefree import CodeFreeMeter
from virtual_home.serial.lifescan import Ultra2Meter, UltraEasyMeter
from virtual_home.serial.meter import Result, SerialMeter
from virtual_home.serial.taidoc import TaiDocMeter
from wire_format.codec import Item, decode_items
from wire_format.envelope import open_sealed
from wire_format.measurement import Measurement
from wire_format.statements import Assignment, DeviceEvent, Undecodable

NOON = dt.datetime(2026, 11, 24, 4, 0, tzinfo=dt.UTC)
ZONE = 480
PATIENCE_S = 20.0
METERS: Mapping[str, tuple[type[SerialMeter], str]] = {
    "lifescan/onetouch_ultra2": (Ultra2Meter, "ABC123DEY"),
    "lifescan/onetouch_ultraeasy": (UltraEasyMeter, "ABC1234X"),
    "abbott/freestyle_lite": (FreeStyleLiteMeter, "DABC123-X4567"),
    "abbott/freestyle_optium": (FreeStyleOptiumMeter, "XABC123-X4567"),
    "sd_biosensor/codefree": (CodeFreeMeter, ""),
    "taidoc/td42xx": (TaiDocMeter, "4277123456789012"),
}


def memory(count: int = 12) -> list[Result]:
    """Results of the last days, each at a minute and with a value of its own, oldest first."""
    first = dt.datetime(2026, 11, 20, 7, 0)  # noqa: DTZ001 - a meter's clock has no zone
    return [Result(first + dt.timedelta(minutes=30 * n), 90 + n) for n in range(count)]


def meter(profile: str, *, results: list[Result] | None = None, serial: str | None = None) -> SerialMeter:
    kind, number = METERS[profile]
    kept = memory() if results is None else results
    return kind(number if serial is None else serial, lambda: NOON, ZONE, memory=kept)


def quick(profile: DeviceProfile) -> DeviceProfile:
    """The same profile with the patience of a test."""
    records = profile.records.model_copy(update={"first_s": Decimal("1.5"), "idle_s": Decimal("0.6")})
    protocol = {**profile.protocol, "answer_s": "0.6", "quiet_s": "0.05"}
    protocol["tries"] = min(protocol.get("tries", 2), 2)
    return profile.model_copy(update={"records": records, "protocol": protocol})


def section(
    profile: str | None, path: Path | None = None, person: str = "p-1", **more: object
) -> CableSection:
    keys = {"port": None if path is None else str(path), "profile": profile, "person": person, **more}
    return CableSection.model_validate({"since": NOON - dt.timedelta(days=300), **keys})


class Lines:
    """A log that is only remembered: event and facts of each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    warning = error = info

    def of(self, event: str) -> list[dict[str, object]]:
        return [facts for name, facts in self.lines if name == event]


@dataclass
class Street:
    """The agent's side. `visits` counts those that ended."""

    home: Home
    visitor: SerialVisitor
    log: "Lines"
    visits: int = 0
    _opened: dict[EnvelopeKey, list[Item]] = field(default_factory=dict)

    def items(self) -> list[Item]:
        def opened(data: bytes) -> bytes:
            return open_sealed(data, lambda _: gateway_keys().signing.public, bridge_keys().by_id).payload

        box = self.home.outbox
        for key in box.unsettled():
            if key not in self._opened:
                self._opened[key] = decode_items(opened(box.load(key) or b""))
        return [item for items in self._opened.values() for item in items]

    def measured(self) -> list[Measurement]:
        return [item for item in self.items() if isinstance(item, Measurement)]

    def strays(self) -> list[Undecodable]:
        return [item for item in self.items() if isinstance(item, Undecodable)]

    def events(self) -> list[DeviceEvent]:
        return [item for item in self.items() if isinstance(item, DeviceEvent)]

    def people(self) -> dict[str | None, set[str | None]]:
        """Whose readings of which meter's serial number there are."""
        owner = {a.measurement_id: a.person for a in self.items() if isinstance(a, Assignment)}
        found: dict[str | None, set[str | None]] = {}
        for m in self.measured():
            found.setdefault(owner[m.measurement_id], set()).add(m.device.serial)
        return found

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for something, looking after each visit and now and then."""
        async with asyncio.timeout(PATIENCE_S):
            while not done():  # noqa: ASYNC110 - what is waited for is in a file, and in other tasks
                await asyncio.sleep(0.02)

    async def after_visits(self, number: int) -> None:
        aim = self.visits + number
        await self.until(lambda: self.visits >= aim)


@asynccontextmanager
async def street(
    folder: Path,
    *sections: CableSection,
    adapters: Callable[[], list[Port]] = list,
    adopt: bool = False,
    rest_s: float = 0.05,
    limits: Limits | None = None,
) -> AsyncIterator[Street]:
    """Run the visitor of a home whose clock stands at `NOON`."""
    clock = GatewayClock(BOOT, uncertainty=vouched(5), utc=lambda: NOON)
    box = Outbox(folder / "outbox", "gw-1", utc=lambda: NOON, limits=limits)
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
    profiles = {n: quick(p) for n, p in Catalogue().profiles.items() if p.driver in SERIAL_DRIVERS}
    catalogue = Catalogue(profiles, enabled=tuple(profiles))
    counted: list[Street] = []
    log = Lines()

    def observer(step: Step, _facts: Mapping[str, object]) -> None:
        if step is Step.VISIT_ENDED:
            counted[0].visits += 1

    home = Home(
        "0.1.0",
        clock,
        ZONE,
        box,
        sealer,
        GatewayVoice(box, sealer, clock),
        Devices.open(folder / "devices.json", (), Adoption(person="p-9") if adopt else None),
        catalogue,
        Visits(rest_s=0.05, longest_rest_s=0.2),
        cast("Log", log),
        observer,
    )
    cables = Cables(sections, catalogue, adopting=adopt, adapters=adapters)
    visitor = SerialVisitor(home, cables, SerialSection(poll_s=0.02, ask_s=0.05, rest_s=rest_s))
    counted.append(Street(home, visitor, log))
    running: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        running.add(task)
        task.add_done_callback(running.discard)

    looking = asyncio.create_task(visitor.run(spawn))
    try:
        yield counted[0]
    finally:
        tasks = [looking, *running]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        box.close()


@asynccontextmanager
async def plugged(path: Path, of: SerialMeter, faults: Faults | None = None) -> AsyncIterator[Cable]:
    """A meter on a cable that is plugged in."""
    cable = Cable(path, of, faults or Faults())
    cable.plug()
    pressing = asyncio.create_task(_press(cable))
    try:
        yield cable
    finally:
        pressing.cancel()
        if cable.plugged:
            cable.unplug()


async def _press(cable: Cable) -> None:
    """Switch the meter on whenever nothing is said: some speak only then."""
    while True:
        before = cable.said, len(cable.received)
        await asyncio.sleep(0.25)
        if cable.plugged and (cable.said, len(cable.received)) == before:
            cable.switch_on()


def adapter(path: Path, usb: str, location: str) -> list[Port]:
    """What the USB tree says of a pty, which is in none."""
    mark = mark_of(str(path))
    return [] if mark is None else [Port(str(path), mark, usb, location, location)]
