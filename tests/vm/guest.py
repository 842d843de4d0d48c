"""Inside the machine: starts what the host asks for, tells it what happens. `python -m tests.vm.guest DIR`

Both ways JSON lines on a virtio port. {"id": 7, "do": ..., **fields} is answered by {"id": 7, "answer": ...}
or {"id": 7, "error": ...}; events come in between: a step of the gateway, a line of its log, a question to
whoever pairs. This program has nothing of the product's code: it starts it, and looks on.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

STATE = Path("/run/kiteline")
PORT = "kiteline.control"
BLUETOOTHD = Path(".cache/vm/bluez/usr/libexec/bluetooth/bluetoothd")
BTATTACH = Path(".cache/vm/bluez/usr/bin/btattach")
ADAPTER = "/org/bluez/hci0"
READY_S = 60
CONTROL = STATE / "state" / "control"
ENVELOPE = """
SELECT data FROM envelope JOIN chain ON envelope.chain = chain.number WHERE outbox_id = ? AND sequence = ?
"""


def port() -> int:
    """Open the virtio port of our name."""
    for place in sorted(Path("/sys/class/virtio-ports").iterdir()):
        name = place / "name"
        if name.exists() and name.read_text().strip() == PORT:
            return os.open(f"/dev/{place.name}", os.O_RDWR | os.O_NONBLOCK)
    raise FileNotFoundError(PORT)


def kernel_log() -> str:
    """Return what the kernel has said so far."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    said = []
    try:
        while True:
            said.append(os.read(log, 8192).decode(errors="replace").partition(";")[2])
    except BlockingIOError:
        return "".join(said)
    finally:
        os.close(log)


class Guest:
    """The machine's processes, each started here and ended by its pid."""

    def __init__(self, folder: Path, say: Callable[[dict[str, Any]], None]) -> None:
        self.folder = folder
        self.say = say
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.bus: MessageBus | None = None

    # --- processes ---

    async def start(self, name: str, *command: str) -> None:
        log = os.open(STATE / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.processes[name] = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        os.close(log)

    async def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def do_begin(self) -> None:
        """Hand the UART to the kernel, start bluetoothd, and wait for the adapter."""
        await self.start("btattach", str(BTATTACH), "-B", "/dev/ttyS1", "-P", "h4", "-S", "921600")
        self.bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        await self.do_bluetoothd("start")

    async def do_bluetoothd(self, what: str) -> None:
        if what in {"stop", "restart"}:
            await self.stop("bluetoothd")
        if what in {"start", "restart"}:
            await self.start("bluetoothd", str(BLUETOOTHD), "-n")
            await self.do_until_powered()

    async def do_until_powered(self) -> None:
        async with asyncio.timeout(READY_S):
            while not await self.powered():  # noqa: ASYNC110 - it lies in another process
                await asyncio.sleep(0.1)

    async def do_gateway(self, what: str) -> None:
        if what == "start":
            config, steps = self.folder / "agent.toml", STATE / "steps"
            arguments = ["--config", str(config), "--steps", str(steps)]
            await self.start("gateway", sys.executable, "-m", "virtual_home.launch", "agent", *arguments)
        elif what == "stop":
            await self.stop("gateway")
        elif what == "kill":
            await self.stop("gateway", signal.SIGKILL)
        else:
            number = {"freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}[what]
            self.processes["gateway"].send_signal(number)

    # --- BlueZ ---

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> Any:
        assert self.bus is not None
        message = Message(
            destination="org.bluez",
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        reply = await asyncio.wait_for(self.bus.call(message), 25)
        if reply.message_type is MessageType.ERROR:
            raise RuntimeError(f"{member}: {reply.error_name} {reply.body}")
        return reply.body

    async def powered(self) -> bool:
        try:
            arguments = ("ss", "org.bluez.Adapter1", "Powered")
            body = await self.call(ADAPTER, "org.freedesktop.DBus.Properties", "Get", *arguments)
        except RuntimeError:
            return False
        return bool(body[0].value)

    async def do_power(self, on: bool) -> None:
        value = ("ssv", "org.bluez.Adapter1", "Powered", Variant("b", on))
        await self.call(ADAPTER, "org.freedesktop.DBus.Properties", "Set", *value)

    async def do_remove(self, address: str) -> None:
        """Remove a bond, as `bluetoothctl remove` does."""
        device = f"{ADAPTER}/dev_{address.replace(':', '_')}"
        await self.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", device)

    # --- the person who pairs ---

    async def do_run(self, *command: str) -> dict[str, Any]:
        """Run a program of this checkout with this Python; return its exit status and what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, stdout=PIPE, stderr=STDOUT, stdin=DEVNULL
        )
        printed, _ = await process.communicate()
        return {"status": process.returncode, "printed": printed.decode(errors="replace")}

    async def do_pair(self, *, passkey: int | None = None, **order: Any) -> dict[str, Any]:
        """Pair as `edge-agent pair` does, over the agent's control socket; return its last word."""
        await self.nearby(order["address"])
        reader, writer = await asyncio.open_unix_connection(CONTROL)
        try:
            writer.write(json.dumps({"do": "pair", **order}).encode() + b"\n")
            while line := await reader.readline():
                said = json.loads(line)
                if "ask" not in said:
                    return dict(said)
                self.say({"event": "asked", "what": said["ask"], "address": order["address"], **said})
                if said["ask"] == "passkey":
                    digits = None if passkey is None else f"{passkey:06}"
                    writer.write(json.dumps({"passkey": digits}).encode() + b"\n")
        finally:
            writer.close()
        raise ConnectionError("the agent hung up")

    async def nearby(self, address: str) -> None:
        """Wait until the agent hears a device."""
        async with asyncio.timeout(READY_S):
            while True:
                reader, writer = await asyncio.open_unix_connection(CONTROL)
                writer.write(b'{"do": "nearby"}\n')
                heard = json.loads(await reader.readline())["nearby"]
                writer.close()
                if any(offer["address"] == address for offer in heard):
                    return
                await asyncio.sleep(0.3)

    # --- what there is to see ---

    async def do_clock(self) -> int:
        return time.monotonic_ns()

    async def do_envelope(self, outbox_id: str, sequence: int) -> str | None:
        """Read an envelope as it lies in the gateway's outbox; this process has none of its code."""
        rows = []
        for path in sorted((STATE / "state" / "outbox").glob("*.sqlite")):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as outbox:
                rows += outbox.execute(ENVELOPE, (UUID(outbox_id).bytes, sequence)).fetchall()
        return rows[0][0].hex() if rows else None

    async def do_log(self, name: str) -> str:
        if name == "kernel":
            return await asyncio.to_thread(kernel_log)
        return (STATE / f"{name}.log").read_text(errors="replace")[-200_000:]

    async def follow(self, path: Path, kind: str) -> None:
        """Tell the host each JSON line that is appended to a file."""
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it; one look
            await asyncio.sleep(0.02)
        with path.open("rb") as file:
            begun = b""
            while True:
                lines = (begun + file.read()).split(b"\n")
                begun = lines.pop()
                for line in lines:
                    if line.startswith(b"{"):
                        told = json.loads(line)
                        self.say({**told, "event": kind, "said": told.get("event")})
                await asyncio.sleep(0.03)

    async def command(self, asked: dict[str, Any]) -> None:
        """Carry out one command, and answer it."""
        number, name, fields = asked.pop("id"), asked.pop("do"), asked
        try:
            answer = await getattr(self, f"do_{name}")(*fields.pop("arguments", ()), **fields)
            self.say({"id": number, "answer": answer})
        except Exception as error:  # noqa: BLE001 - the host is told, and decides
            self.say({"id": number, "error": f"{type(error).__name__}: {error}"})


async def main(folder: Path) -> None:
    """Serve the host until the machine is switched off."""
    channel = port()
    waiting: list[bytes] = []

    def say(message: dict[str, Any]) -> None:
        waiting.append(json.dumps(message).encode() + b"\n")
        flush()

    def flush() -> None:
        while waiting:
            try:
                sent = os.write(channel, waiting[0])
            except BlockingIOError:
                loop.call_later(0.01, flush)
                return
            waiting[0] = waiting[0][sent:]
            if not waiting[0]:
                waiting.pop(0)

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    begun = bytearray()

    def readable() -> None:
        begun.extend(os.read(channel, 65536))
        *whole, rest = begun.split(b"\n")
        begun[:] = rest
        for line in whole:
            lines.put_nowait(line)

    loop.add_reader(channel, readable)
    guest = Guest(folder, say)
    say({"event": "up"})
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(guest.follow(STATE / "steps", "step"))
        tasks.create_task(guest.follow(STATE / "gateway.log", "log"))
        while True:
            tasks.create_task(guest.command(json.loads(await lines.get())))


if __name__ == "__main__":
    STATE.mkdir(exist_ok=True)
    asyncio.run(main(Path(sys.argv[1])))
