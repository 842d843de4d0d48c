"""How long the parts of the path take, beside what a durable write costs on the same disk in the same run."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from device_drivers.catalogue import Catalogue
from device_drivers.decoding import DECODERS
from edge_agent.clock import GatewayClock, vouched
from edge_agent.outbox import Outbox
from edge_agent.sink import OutboxSink, Sealer
from tests.bench.figures import Probe, show, timed
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from tests.doubles.edge_readings import BOOT, CUFF, bridge_keys, gateway_keys, pressure
from wire_format.codec import encode_items
from wire_format.envelope import EnvelopeHeader, Sealed, open_sealed, seal
from wire_format.errors import MalformedPacket
from wire_format.keys import Kem, OpenKey

ROUNDS = 300
CAPTURES = Path(__file__).parents[1] / "captures" / "standard.json"


def test_handler_to_durable(tmp_path: Path) -> None:
    """A reading decoded, sealed and committed, as within the handler of an indication."""
    probe = Probe(tmp_path)
    outbox = Outbox(tmp_path / "outbox", "gw-1")
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
    sink = OutboxSink(outbox, sealer, GatewayClock(BOOT, uncertainty=vouched(5)), CUFF.device_id, ())
    readings = [pressure(60 + n % 190, user=n) for n in range(ROUNDS)]
    times = []
    for reading in readings:
        probe()
        times.append(timed(lambda reading=reading: sink.commit([reading])))
    outbox.close()
    probe.close()
    show("fsync probe", probe.times)
    show(
        "handler called -> sealed and durable",
        times,
        against=f"bound 10 + 2 x probe = {10 + 2 * probe.median:.3f} ms",
    )


def seal_and_open(key: OpenKey) -> tuple[list[float], list[float], int]:
    """Times of sealing and of opening one reading to one recipient, and the size of the envelope."""
    m, statement = told(blood_pressure("130"))
    payload, signer = encode_items([m, statement]), gateway_keys().signing
    made: list[Sealed] = []
    sealed, opened = [], []
    for number in range(1, ROUNDS + 1):
        header = EnvelopeHeader("gw-1", UUID(int=1), number, NOW, bytes(32))
        sealed.append(timed(lambda h=header: made.append(seal(payload, h, signer, (key.public,)))))
        keys = {key.public.key_id: key}
        opened.append(timed(lambda k=keys: open_sealed(made[-1].data, lambda _: signer.public, k)))
    return sealed, opened, len(made[-1].data)


def test_seal_and_open() -> None:
    for kem in Kem:
        sealed, opened, size = seal_and_open(OpenKey.generate(kem))
        show(f"seal one reading, {kem}", sealed, against=f"{size} bytes")
        show(f"verify and open it, {kem}", opened)


def test_ingest(tmp_path: Path) -> None:
    """From the inbox to stored, judged and receipt due, on a real database file."""
    probe, desk, home = Probe(tmp_path), BridgeDesk(tmp_path), SealingHome()
    times = []
    for number in range(ROUNDS // 3):
        one = home.seal(told(blood_pressure("130", minutes=-number)))
        probe()
        times.append(timed(lambda one=one: desk.receive(home, one)))
    desk.close()
    probe.close()
    show("envelope committed to the inbox, opened, stored", times, against=f"probe {probe.median:.3f} ms")


def test_decoding() -> None:
    """Each published packet of the captures that decodes alone, many times over."""
    standard = Catalogue()
    profiles = {
        "2A35": "standard/blood_pressure",
        "2A18": "standard/glucose",
        "2A9D": "standard/weight_scale",
    }
    by_source: dict[str, list[float]] = {}
    for vector in json.loads(CAPTURES.read_text()):
        source = vector["characteristic"].removeprefix("0x")
        if source not in profiles:
            continue
        rules = standard.named(profiles[source]).decode
        data = bytes.fromhex(vector["hex"])
        try:
            DECODERS[source](data, rules)
        except MalformedPacket:
            continue
        for _ in range(100):
            by_source.setdefault(source, []).append(
                timed(lambda s=source, d=data, r=rules: DECODERS[s](d, r)) * 1000
            )
    for source, times in sorted(by_source.items()):
        show(f"decode {source}", times, "us")


def test_memory() -> None:
    """Resident memory of a process that imported the whole agent."""
    code = "import edge_agent.app; print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    show("agent imported, peak RSS", [int(found.stdout) / 1024], "MB")
