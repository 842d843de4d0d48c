"""The process of a home's devices: the radio on one socket, commands and events on another.

Commands are JSON lines: {"do": "measure", "device": "cuff", "values": {"systolic": "192", ...}},
{"do": "ledger"}, {"do": "forget_bonds", "device": ...}, {"do": "set_clock", "device": ..., "offset_s": ...},
{"do": "type_passkey", "device": ..., "passkey": ...}, {"do": "profile_changes", "device": ...},
{"do": "hold", ...} (as "measure", but unheard until {"do": "release"}), {"do": "break_after", "packets": n},
{"do": "disturb", "device": ..., "how": "drop"} (see `Disturbance`), {"do": "advertise" | "silence", ...}.
Each is answered by one line with "answer"; events of all devices are lines with "event", to every listener.
"""

import asyncio
import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from virtual_home.devices.advertising import S400, MiCompositionScale, MiScale
from virtual_home.devices.and_devices import AndCuff, AndScale
from virtual_home.devices.beurer_scale import BeurerScale
from virtual_home.devices.composition_scale import CompositionScale
from virtual_home.devices.continuous import ContinuousOximeter, GlucoseMonitor
from virtual_home.devices.glucose_meter import GlucoseMeter
from virtual_home.devices.health_sensor import HealthSensor
from virtual_home.devices.microlife_cuff import MicrolifeCuff
from virtual_home.devices.omron_cuffs import OmronMemoryCuff, OmronTimedCuff
from virtual_home.devices.peripheral import Disturbance, Entry, Peripheral, real_time
from virtual_home.devices.pushing import Cuff, EnhancedCuff, Oximeter, Scale, Thermometer
from virtual_home.devices.record_keeper import RecordKeeper
from virtual_home.devices.transtek_scale import TranstekScale
from virtual_home.devices.vendor_meters import CareSensMeter, ContourMeter, RenumberingMeter, VerioMeter
from virtual_home.devices.yonker_cuff import YonkerCuff
from virtual_home.people import Person
from virtual_home.radio import Air, serve_controller
from virtual_home.scenario import CableEntry, DeviceEntry, Scenario
from virtual_home.serial.cable import Cable
from virtual_home.serial.kinds import CABLE_KINDS

KINDS: Final[dict[str, type[Peripheral]]] = {
    "cuff": Cuff,
    "glucose_meter": GlucoseMeter,
    "scale": Scale,
    "thermometer": Thermometer,
    "oximeter": Oximeter,
    "omron_memory": OmronMemoryCuff,
    "omron_timed": OmronTimedCuff,
    "and_cuff": AndCuff,
    "and_scale": AndScale,
    "microlife": MicrolifeCuff,
    "yonker": YonkerCuff,
    "enhanced_cuff": EnhancedCuff,
    "continuous_oximeter": ContinuousOximeter,
    "glucose_monitor": GlucoseMonitor,
    "composition_scale": CompositionScale,
    "beurer_scale": BeurerScale,
    "health_sensor": HealthSensor,
    "mi_scale": MiScale,
    "mi_composition_scale": MiCompositionScale,
    "xiaomi_s400": S400,
    "transtek_scale": TranstekScale,
    "contour": ContourMeter,
    "caresens": CareSensMeter,
    "dm30b": RenumberingMeter,
    "verio_flex": VerioMeter,
}

TRICKS: Final = frozenset({"hold", "release", "break_after", "unacknowledged"})
MINUTE: Final = dt.timedelta(minutes=1)


class Home:
    """The devices of one scenario, powered on and silent until somebody measures."""

    def __init__(self, scenario: Scenario, folder: Path | None = None) -> None:
        self.air: Air = Air()
        self.listeners: set[asyncio.StreamWriter] = set()
        self._now = scenario.begins_at
        zone = scenario.zone_offset_minutes
        self.devices = {
            entry.key: KINDS[entry.kind](entry.spec(zone), self.air, self.announce, self.now)
            for entry in scenario.devices
        }
        self.cables = {
            entry.key: Cable(
                (folder or Path()) / f"{entry.key}.tty",
                CABLE_KINDS[entry.kind](
                    entry.serial, self.now, zone, dt.timedelta(seconds=entry.clock_offset_s)
                ),
            )
            for entry in scenario.cables
        }
        every: list[DeviceEntry | CableEntry] = [*scenario.devices, *scenario.cables]
        people = {entry.person: Person(scenario.seed, entry.person) for entry in every}
        self._next: dict[str, Iterator[dict[str, Decimal]]] = {
            entry.key: people[entry.person].readings(
                "glucose_meter" if entry.key in self.cables else entry.kind
            )
            for entry in every
        }

    def now(self) -> dt.datetime:
        """Return the time that this home's clocks go by, in UTC."""
        return self._now or real_time()

    async def power_on(self) -> None:
        """Switch all devices on."""
        for device in self.devices.values():
            await device.power_on()
        for cable in self.cables.values():
            cable.plug()

    def announce(self, event: dict[str, Any]) -> None:
        """Tell every listener."""
        line = json.dumps({**event, "monotonic_ns": time.monotonic_ns()}).encode() + b"\n"
        for writer in self.listeners:
            writer.write(line)

    async def measure(self, key: str, values: dict[str, str]) -> dict[str, Any]:
        """Let somebody measure; without values the person's next plausible ones."""
        if self._now is not None:
            self._now += MINUTE
        chosen = {name: Decimal(value) for name, value in values.items()} or next(self._next[key])
        if key in self.cables:
            return _measured(key, self.cables[key], chosen["mg_dl"])
        device = self.devices[key]
        entry: Entry = await device.measure(**chosen)  # type: ignore[attr-defined]  # every kind measures
        return asdict(entry) | {"values": {name: str(value) for name, value in chosen.items()}}

    def ledger(self) -> list[dict[str, Any]]:
        """Return the truth: every reading of every device, and what became of it."""
        return [asdict(entry) for device in self.devices.values() for entry in device.ledger]

    async def command(self, asked: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Carry out one command."""
        match asked:
            case {"do": "measure", "device": str(key), **rest}:
                return await self.measure(key, dict(rest.get("values", {})))
            case {"do": "ledger"}:
                return self.ledger()
            case {"do": "plug" | "unplug" as turn, "device": str(key)}:
                cable = self.cables[key]
                if cable.plugged != (turn == "plug"):
                    cable.plug() if turn == "plug" else cable.unplug()
                return cable.plugged
            case {"do": str(trick), "device": str(key), **rest} if trick in TRICKS:
                return await self._trick(trick, key, rest)
            case {"do": "profile_changes" | "deletions_asked" as what, "device": str(key)}:
                return _suffered(self.devices[key], what)
            case {"device": str(key)}:
                await self._treat(self.devices[key], asked)
            case _:
                raise ValueError(f"unknown command {asked!r}")
        return True

    async def _trick(self, trick: str, key: str, rest: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Let a device do what devices do now and then: measure unheard, or lose its connection."""
        device = self.devices[key]
        if trick == "unacknowledged":
            return getattr(device, trick, 0)
        if trick == "break_after":
            device.break_after = int(rest["packets"])
            return True
        device.silent, was_silent = trick == "hold", device.silent
        if trick == "hold":
            return await self.measure(key, dict(rest.get("values", {})))
        device.released.set()
        if was_silent:
            await device.advertise()
        return True

    @staticmethod
    async def _treat(device: Peripheral, asked: dict[str, Any]) -> None:
        match asked:
            case {"do": "forget_bonds"}:
                await device.forget_bonds()
            case {"do": "set_clock", "offset_s": int(offset)}:
                device.clock.offset = dt.timedelta(seconds=offset)
            case {"do": "type_passkey", "passkey": int(digits)}:
                device.panel.type_passkey(digits)
            case {"do": "advertise"}:
                await device.advertise()
            case {"do": "silence"}:
                await device.silence()
            case {"do": "disturb", "how": str(how)}:
                device.disturbances.add(Disturbance(how))
            case _:
                raise ValueError(f"unknown command {asked!r}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one listener until it goes."""
        self.listeners.add(writer)
        try:
            while line := await reader.readline():
                try:
                    answer = {"answer": await self.command(json.loads(line))}
                except (ValueError, KeyError, TypeError, InvalidOperation) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            return
        finally:
            self.listeners.discard(writer)
            writer.close()


def _suffered(device: Peripheral, what: str) -> list[int] | int:
    """Return what was done to a device that nobody may do."""
    if what == "profile_changes":
        return device.changed if isinstance(device, BeurerScale) else []
    return device.deletions_asked if isinstance(device, RecordKeeper) else 0


def _measured(key: str, cable: Cable, mg_dl: Decimal) -> dict[str, Any]:
    """Let somebody measure with a meter that may be on its cable at the same time."""
    if mg_dl != mg_dl.to_integral_value():
        raise ValueError(f"{key} measures whole mg/dL")
    taken = cable.meter.measure(int(mg_dl)).taken
    if cable.plugged:
        cable.switch_on()
    return {"device": key, "taken": taken.isoformat(), "values": {"mg_dl": str(mg_dl)}}


async def run_home(scenario: Scenario, radio: Path, control: Path) -> None:
    """Serve a home until cancelled."""
    home = Home(scenario, control.parent)
    await home.power_on()
    await serve_controller(home.air, radio)
    await asyncio.to_thread(control.unlink, missing_ok=True)
    server = await asyncio.start_unix_server(home.serve, str(control))
    async with server, asyncio.TaskGroup() as tasks:
        tasks.create_task(home.air.supervise())
        tasks.create_task(server.serve_forever())


class HomeControl:
    """The other end of the control socket: commands, and the events as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, control: Path) -> "HomeControl":
        """Connect to a running home."""
        return cls(*await asyncio.open_unix_connection(str(control), limit=1 << 24))

    async def ask(self, do: str, **fields: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Send one command and return its answer; raises `ValueError` with what the home said."""
        self._writer.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        await self._writer.drain()
        answer = await self._answers.get()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["answer"]

    async def close(self) -> None:
        """Hang up."""
        self._task.cancel()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            message = json.loads(line)
            (self.events if "event" in message else self._answers).put_nowait(message)
