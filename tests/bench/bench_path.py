"""How long the home's part of the path takes, beside what a durable write costs on the same disk."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from device_drivers.catalogue import Catalogue
from device_drivers.driver import Visit
from device_drivers.drivers.gatt_push import GattPush
from edge_agent.assignment import Pairing
from edge_agent.clock import GatewayClock, vouched
from edge_agent.outbox import Outbox
from edge_agent.sink import OutboxSink, Sealer
from tests.bench.figures import Probe, section, show, timed
from tests.doubles.bridge_desk import told
from tests.doubles.bridge_readings import NOW, blood_pressure
from tests.doubles.edge_readings import BOOT, CUFF, NOON, bridge_keys, gateway_keys
from tests.doubles.gatt_link import ScriptedDevice
from wire_format.codec import encode_items
from wire_format.envelope import EnvelopeHeader, Sealed, open_sealed, seal
from wire_format.keys import Kem, OpenKey

ROUNDS = 300
PROFILE = "standard/blood_pressure"


def indication(number: int) -> bytes:
    """A 0x2A35 with time stamp, pulse and status, another minute each time."""
    hour, minute = divmod(number, 60)
    moment = (2026).to_bytes(2, "little") + bytes([11, 24, hour, minute, 0])
    return bytes([0x16, 124, 0, 86, 0, 97, 0]) + moment + bytes([51, 0, 0, 0])


@dataclass
class TimedDevice(ScriptedDevice):
    """Times each call of the driver's handler, and asks the disk before it."""

    probe: Probe = field(kw_only=True)
    times: list[float] = field(default_factory=list)

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        def called(data: bytes) -> None:
            self.times.append(self.probe.beside(partial(handler, data)))

        await super().subscribe(characteristic, called)


def visit(outbox: Outbox) -> Visit:
    clock = GatewayClock(BOOT, uncertainty=vouched(5))
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
    pairing = Pairing(CUFF.device_id, "p-1", None, NOON.replace(year=2020))
    return Visit(
        device=CUFF,
        profile=Catalogue().named(PROFILE),
        firmware="1.0",
        gateway=outbox.gateway,
        software="0.1.0",
        boot_id=BOOT,
        number=1,
        zone_offset_minutes=480,
        cursor=None,
        now=clock.now,
        sink=OutboxSink(outbox, sealer, clock, CUFF.device_id, (pairing,)),
    )


async def test_handler_to_durable(tmp_path: Path) -> None:
    """From the driver's handler, called with bytes, to sealed and durable when it returns."""
    probe, outbox = Probe(tmp_path), Outbox(tmp_path / "outbox", "gw-1")
    device = TimedDevice([("2A35", indication(n)) for n in range(ROUNDS)], probe=probe)
    await GattPush().collect(device, visit(outbox))
    waiting = outbox.counts().waiting
    outbox.close()
    probe.close()
    assert waiting == len(device.times) == ROUNDS
    section("At home")
    disk = show("probe: write and fsync 4 KiB", probe.times)
    aim = f"to be seen against 10 ms + 2 x probe = {10 + 2 * disk:.3f} ms"
    show("handler called -> sealed and durable", device.times, against=disk, note=aim)


def seal_and_open(key: OpenKey) -> tuple[list[float], list[float], int]:
    """Times of sealing and of opening one reading to one recipient, and the size of the envelope."""
    payload, signer = encode_items(told(blood_pressure("130"))), gateway_keys().signing
    made: list[Sealed] = []

    def close_one(header: EnvelopeHeader) -> None:
        made.append(seal(payload, header, signer, (key.public,)))

    def open_one() -> None:
        open_sealed(made[-1].data, lambda _: signer.public, {key.public.key_id: key})

    sealed, opened = [], []
    for number in range(1, ROUNDS + 1):
        header = EnvelopeHeader("gw-1", UUID(int=1), number, NOW, bytes(32))
        sealed.append(timed(partial(close_one, header)))
        opened.append(timed(open_one))
    return sealed, opened, len(made[-1].data)


def test_seal_and_open() -> None:
    """The ratio is to X25519, the classical recipient."""
    section("One reading, one recipient (ratio: to x25519)")
    sealed, opened, size = seal_and_open(OpenKey.generate(Kem.X25519))
    sealing = show("seal, x25519", sealed, note=f"{size} bytes")
    opening = show("verify and open, x25519", opened)
    sealed, opened, size = seal_and_open(OpenKey.generate(Kem.MLKEM768_X25519))
    show("seal, mlkem768-x25519", sealed, against=sealing, note=f"{size} bytes")
    show("verify and open, mlkem768-x25519", opened, against=opening)


def peak_mb(code: str) -> float:
    """Return the peak of resident memory of a process that ran `code`, in MB."""
    asked = f"{code}\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return int(found.stdout) / 1024


def test_memory() -> None:
    """Of a process each. The ratio is to an interpreter that does nothing."""
    section("Peak resident memory (ratio: to a bare interpreter)")
    bare = show("bare interpreter", [peak_mb("pass")], unit="MB")
    for what, code in (
        (
            "every published packet decoded 100 times",
            "from tests.bench import bench_decoding as b; b.run(100)",
        ),
        ("the whole agent imported", "import edge_agent.app"),
        ("the whole bridge imported", "import cloud_bridge.app"),
    ):
        show(what, [peak_mb(code)], unit="MB", against=bare)
