"""The process of a home's devices: the radio on one socket, commands and events on another.

Commands are JSON lines: {"do": "measure", "device": "cuff", "values": {"systolic": "192", ...}},
{"do": "ledger"}, {"do": "forget_bonds", "device": ...}, {"do": "set_clock", "device": ..., "offset_s": ...},
{"do": "type_passkey", "device": ..., "passkey": ...}, {"do": "disturb", "device": ..., "how": "drop"} (see
`Disturbance`), {"do": "advertise" | "silence" | "release", "device": ...}.
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

from virtual_home.devices.glucose_meter import GlucoseMeter
from virtual_home.devices.peripheral import Disturbance, Peripheral, real_time
from virtual_home.devices.pushing import Cuff, Oximeter, Scale, Thermometer
from virtual_home.people import Person
from virtual_home.radio import Air, serve_controller
from virtual_home.scenario import Scenario

KINDS: Final[dict[str, type[Cuff | Scale | Thermometer | Oximeter | GlucoseMeter]]] = {
    "cuff": Cuff,
    "glucose_meter": GlucoseMeter,
    "scale": Scale,
    "thermometer": Thermometer,
    "oximeter": Oximeter,
}

MINUTE: Final = dt.timedelta(minutes=1)


class Home:
    """The devices of one scenario, powered on and silent until somebody measures."""

    def __init__(self, scenario: Scenario) -> None:
        self.air: Air = Air()
        self.listeners: set[asyncio.StreamWriter] = set()
        self._now = scenario.begins_at
        zone = scenario.zone_offset_minutes
        self.devices = {
            entry.key: KINDS[entry.kind](entry.spec(zone), self.air, self.announce, self.now)
            for entry in scenario.devices
        }
        people = {entry.person: Person(scenario.seed, entry.person) for entry in scenario.devices}
        self._next: dict[str, Iterator[dict[str, Decimal]]] = {
            entry.key: people[entry.person].readings(entry.kind) for entry in scenario.devices
        }

    def now(self) -> dt.datetime:
        """Return the time that this home's clocks go by, in UTC."""
        return self._now or real_time()

    async def power_on(self) -> None:
        """Switch all devices on."""
        for device in self.devices.values():
            await device.power_on()

    def announce(self, event: dict[str, Any]) -> None:
        """Tell every listener."""
        line = json.dumps({**event, "monotonic_ns": time.monotonic_ns()}).encode() + b"\n"
        for writer in self.listeners:
            writer.write(line)

    async def measure(self, key: str, values: dict[str, str]) -> dict[str, Any]:
        """Let somebody measure; without values the person's next plausible ones."""
        device = self.devices[key]
        if self._now is not None:
            self._now += MINUTE
        chosen = {name: Decimal(value) for name, value in values.items()} or next(self._next[key])
        entry = await device.measure(**chosen)  # type: ignore[arg-type]  # names are checked by the call itself
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
            case {"do": "deletions_asked", "device": str(key)}:
                device = self.devices[key]
                return device.deletions_asked if isinstance(device, GlucoseMeter) else 0
            case {"device": str(key)}:
                await self._treat(self.devices[key], asked)
                return True
            case _:
                raise ValueError(f"unknown command {asked!r}")

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
            case {"do": "release"}:
                device.released.set()
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


async def run_home(scenario: Scenario, radio: Path, control: Path) -> None:
    """Serve a home until cancelled."""
    home = Home(scenario)
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
