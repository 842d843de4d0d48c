"""Devices outside, a gateway in the machine, and what its outbox holds, opened with the hospital's keys.

Times are host monotonic nanoseconds; the guest's are converted with an offset whose error is known.
"""

import asyncio
import datetime as dt
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic_ns
from typing import Any, Self

from tests.vm.home_devices import prepare
from tests.vm.machine import compile_code, machine
from virtual_home.home import HomeControl
from virtual_home.processes import Program
from virtual_home.scenario import DeviceEntry
from wire_format.codec import Item, decode_items
from wire_format.envelope import open_sealed
from wire_format.measurement import Measurement
from wire_format.statements import Assignment, DeviceEvent

PATIENCE_S = 60.0
BOOT_S = 120.0
ANSWER_S = 90.0
PINGS = 15


class Failed(AssertionError):  # noqa: N818 - the name says what is true
    """What a scenario promised did not happen."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One measurement of the outbox, whose it is said to be, and when its envelope was committed."""

    item: Measurement
    person: str | None
    committed_ns: int


class GuestLine:
    """The machine's port: commands, as many at a time as there are, and events as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = count(1)
        self._task = asyncio.create_task(self._listen())

    async def ask(self, do: str, *arguments: Any, **fields: Any) -> Any:
        """Carry out one command; raises `Failed` with what the guest said."""
        number = next(self._numbers)
        message = {"id": number, "do": do, "arguments": arguments, **fields}
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(message).encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._waiting[number]
        except TimeoutError:
            raise Failed(f"The guest did not answer {do} within {ANSWER_S:g} s") from None
        finally:
            del self._waiting[number]
        if "error" in answer:
            raise Failed(f"The guest could not {do}: {answer['error']}")
        return answer["answer"]

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            message = json.loads(line)
            if "event" in message:
                self.events.put_nowait(message)
            elif message["id"] in self._waiting:
                self._waiting[message["id"]].set_result(message)


@dataclass
class Rig:
    """Use as `async with Rig(folder) as rig`: one boot. `gateway`: it is started at once, or later."""

    folder: Path
    gateway: bool = True
    events: list[dict[str, Any]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    other: list[Item] = field(default_factory=list)
    offset_ns: int = 0
    offset_error_ns: int = 0
    up_s: float = 0.0
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scenario, self._gateway_keys, self._bridge_keys = prepare(self.folder)
        self.entries = {device.key: device for device in self.scenario.devices}
        self.since = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).isoformat()
        self._happened = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._open: list[Callable[[], Awaitable[None]]] = []

    # --- life ---

    async def __aenter__(self) -> Self:
        began = monotonic_ns()
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        self.up_s = (monotonic_ns() - began) / 1e9
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _start(self) -> None:
        await asyncio.to_thread(compile_code)
        await self._begin(self._devices())
        self.home = await HomeControl.connect(self.folder / "control")
        self._open.append(self.home.close)
        await self._begin(machine(self.folder))
        line = await asyncio.open_unix_connection(str(self.folder / "guest"), limit=1 << 24)
        self.guest = GuestLine(*line)
        self._open.append(self.guest.close)
        self._tasks = [
            asyncio.create_task(self._collect(self.home.events, self._device_event)),
            asyncio.create_task(self._collect(self.guest.events, self._guest_event)),
        ]
        await self.until(lambda: self.happened("up"), "the guest came up", BOOT_S)
        await self._compare_clocks()
        # The gateway's imports take as long as the adapter needs to come up.
        work = [self.guest.ask("begin"), *([self.start_gateway()] if self.gateway else [])]
        await asyncio.gather(*work)

    async def start_gateway(self, *, again: bool = False) -> None:
        """Start the gateway if it was not started yet, or again; it answers BlueZ when this returns."""
        starts = len(self.logged("pairing_agent_registered"))
        if starts and not again:
            return
        await self.guest.ask("gateway", what="start")
        ready = "the gateway started, and registered its pairing agent"
        await self.until(lambda: len(self.logged("pairing_agent_registered")) > starts, ready, BOOT_S)

    async def _stop(self) -> None:
        with suppress(
            Failed, TimeoutError, AttributeError, OSError
        ):  # what can be had of a machine that failed
            await self._keep_logs()
        for task in self._tasks:
            task.cancel()
        for close in reversed(self._open):
            await close()

    async def _begin(self, program: Program) -> None:
        await program.start()
        self._open.append(program.stop)

    def _devices(self) -> Program:
        control = self.folder / "control"
        places = ["--radio", str(self.folder / "radio"), "--control", str(control)]
        what = ["--scenario", str(self.folder / "home.json")]

        async def ready() -> bool:
            return control.exists()

        command = [sys.executable, "-m", "virtual_home.cli", "devices", *places, *what]
        return Program("devices", command, log=self.folder / "devices.log", ready=ready)

    async def _compare_clocks(self) -> None:
        """Learn the guest's clock: the question that was answered fastest says most."""
        best: tuple[int, int] | None = None
        for _ in range(PINGS):
            asked = monotonic_ns()
            said = await self.guest.ask("clock")
            answered = monotonic_ns()
            found = (answered - asked, said - (asked + answered) // 2)
            best = min(best or found, found)
        if best is not None:
            self.offset_error_ns, self.offset_ns = best[0] // 2, best[1]

    async def _keep_logs(self) -> None:
        """Write down what happened, and copy the guest's logs out of it."""
        lines = [json.dumps(event) for event in self.events]
        (self.folder / "events.log").write_text("\n".join(lines))
        for name in ("bluetoothd", "btattach", "kernel", "gateway"):
            (self.folder / f"guest-{name}.log").write_text(await self.guest.ask("log", name=name))

    async def silence(self) -> None:
        """Let all devices be silent, so that a scenario does not disturb the next."""
        for key in self.entries:
            await self.home.ask("silence", device=key)

    # --- what happens ---

    async def _collect(
        self, queue: asyncio.Queue[dict[str, Any]], take: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        while True:
            event = await queue.get()
            await take(event)
            async with self._happened:
                self.events.append(event)
                self._happened.notify_all()

    async def _device_event(self, event: dict[str, Any]) -> None:
        event["at_ns"] = event["monotonic_ns"]

    async def _guest_event(self, event: dict[str, Any]) -> None:
        if "monotonic_ns" in event:
            event["at_ns"] = event["monotonic_ns"] - self.offset_ns
        if event.get("step") == "outbox_committed":
            facts = event["facts"]
            data = await self.guest.ask("envelope", **facts)
            self._open_envelope(bytes.fromhex(data), event["at_ns"])

    def _open_envelope(self, data: bytes, committed_ns: int) -> None:
        """Verify, decrypt and decode, as the hospital does."""
        opened = open_sealed(data, lambda _: self._gateway_keys.signing.public, self._bridge_keys.by_id)
        items = decode_items(opened.payload)
        people = {item.measurement_id: item.person for item in items if isinstance(item, Assignment)}
        for item in items:
            if isinstance(item, Measurement):
                self.kept.append(Kept(item, people.get(item.measurement_id), committed_ns))
            else:
                self.other.append(item)

    async def until(self, true: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until something holds; raises `Failed` naming it."""
        try:
            async with asyncio.timeout(timeout_s), self._happened:
                await self._happened.wait_for(true)
        except TimeoutError:
            raise Failed(f"It did not happen within {timeout_s:g} s: {what}") from None

    def happened(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """Return the events of a kind that have these facts, in order."""
        wanted = {"event": event, **facts}
        return [e for e in self.events if all(e.get(name) == value for name, value in wanted.items())]

    def logged(self, what: str) -> list[dict[str, Any]]:
        """Return the lines of the gateway's log that say this."""
        return self.happened("log", said=what)

    def steps(self, step: str) -> list[dict[str, Any]]:
        """Return the gateway's steps of a kind."""
        return self.happened("step", step=step)

    # --- readings ---

    def readings(self, key: str) -> list[Kept]:
        """Return the measurements of a device that the outbox holds."""
        return [kept for kept in self.kept if kept.item.device.address == self.entries[key].address]

    def device_events(self, key: str) -> list[DeviceEvent]:
        """Return what the outbox says of a device beside its measurements."""
        address = self.entries[key].address
        return [e for e in self.other if isinstance(e, DeviceEvent) and e.device.address == address]

    async def ledger(self, key: str) -> list[dict[str, Any]]:
        """Return what a device knows that it measured."""
        return [entry for entry in await self.home.ask("ledger") if entry["device"] == key]

    async def all_sealed(self, key: str, timeout_s: float = PATIENCE_S) -> list[Kept]:
        """Wait until each reading of a device is in the outbox, exactly once and for the right person."""
        truth = Counter(entry["packet"] for entry in await self.ledger(key))
        missing = f"{sum(truth.values())} readings of {key} sealed"
        await self.until(lambda: len(self.readings(key)) >= len(truth), missing, timeout_s)
        return await self.nothing_else(key)

    async def nothing_else(self, key: str) -> list[Kept]:
        """Check that the outbox has of a device what it measured, once, and nothing that it did not."""
        truth = {entry["packet"] for entry in await self.ledger(key)}
        found = self.readings(key)
        packets = Counter(packet_of(kept) for kept in found)
        doubled = [packet for packet, times in packets.items() if times > 1]
        if doubled or set(packets) != truth:
            raise Failed(
                f"{key}: {len(truth)} measured, {len(packets)} sealed, {len(doubled)} more than once"
            )
        owner = self.entries[key].person
        if any(kept.person != owner for kept in found):
            raise Failed(f"{key}: a reading is not said to be {owner}'s")
        return found

    async def visit_ended(self, key: str, since: int) -> None:
        """Wait until a connection of a device that began after `since` events has ended."""

        def over() -> bool:
            later = [e for e in self.events[since:] if e.get("device") == key]
            return any(e["event"] == "disconnected" for e in later)

        await self.until(over, f"the connection with {key} ended")

    @property
    def now(self) -> int:
        """How many events there were so far."""
        return len(self.events)

    def entry(self, key: str) -> DeviceEntry:
        """Return a device's declaration."""
        return self.entries[key]

    async def measure(self, key: str, **values: Any) -> dict[str, Any]:
        """Let somebody measure: values as the virtual device takes them; it advertises at once."""
        entry: dict[str, Any] = await self.home.ask(
            "measure", device=key, values={name: str(value) for name, value in values.items()}
        )
        return entry

    def seconds(self, key: str, since: int) -> float | None:
        """Return how long a device's first reading after `since` took, from advertisement to outbox."""
        began = [e for e in self.events[since:] if e["event"] == "measured" and e["device"] == key]
        found = [k for k in self.readings(key) if began and packet_of(k) == began[0]["packet"]]
        return (found[0].committed_ns - began[0]["at_ns"]) / 1e9 if found else None


def packet_of(kept: Kept) -> str:
    """Return the bytes of a measurement as they came from the device."""
    return kept.item.provenance.raw[0].data.hex()
