"""The whole agent in a process of its own: virtual devices, a real broker, and a hospital that receipts."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from service_kit.key_files import write_private
from tests.doubles.edge_hospital import GATEWAY, SITE, Hospital, eventually
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from virtual_home.home import HomeControl
from virtual_home.processes import Program
from virtual_home.servers import broker
from wire_format.keys import dump_keys
from wire_format.measurement import Measurement, Remark
from wire_format.nomenclature import Quantity, Term
from wire_format.statements import Assignment, GatewayEvent, GatewayEventKind, Redating
from wire_format.status import Presence, decode_status

BOOT = UUID(int=11)
CONFIG = """
site = "{site}"
gateway = "{gateway}"
state = "{folder}/state"
radio = {radio}
adopt = {{ person = "p-1" }}
[keys]
gateway = "{folder}/gateway.key"
hospital = "{folder}/hospital.pub"
[broker]
host = "127.0.0.1"
port = {port}
longest_pause_s = 0.2
[retransmission]
first_s = 1
[clock]
vouched_uncertainty_ms = 5
boot_id = "{boot}"
zone_offset_minutes = 480
[visits]
rest_s = 0.5
"""
SCENARIO = """
title = "One cuff, one meter"
seed = 1
acts = []
[[devices]]
key = "cuff"
kind = "cuff"
address = "C0:49:5F:00:00:01"
name = "BP-1"
maker = "Example"
model = "BP-1"
serial = "BP-0001"
person = "p-1"
keeps = {keeps}
[[devices]]
key = "meter"
kind = "glucose_meter"
address = "C0:49:5F:00:00:02"
name = "GL-1"
maker = "Example"
model = "GL-1"
serial = "GL-0001"
person = "p-1"
"""
SLOW_THREAD = """
import time
from service_kit.mqtt_line import MqttLine
answered, parting = MqttLine._on_publish, MqttLine.say_goodbye
MqttLine.slow_s = 0
def slow(self, *arguments):
    answered(self, *arguments)
    time.sleep(self.slow_s)
def goodbye(self, letter):
    self.slow_s = 0.5
    return parting(self, letter)
MqttLine._on_publish, MqttLine.say_goodbye = slow, goodbye
"""
"""Goes before the agent's own code: when its goodbye is answered, its network thread gets no turn."""


@dataclass
class Street:
    """Everything that runs: the devices, the agent, and the hospital."""

    folder: Path
    agent: Program
    devices: HomeControl
    hospital: Hospital

    def measurements(self) -> list[Measurement]:
        return [item for item in self.hospital.items() if isinstance(item, Measurement)]

    def log(self) -> list[dict[str, str]]:
        lines = self.agent.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def program(name: str, code: str, folder: Path, ready: Path | None = None) -> Program:
    async def is_ready() -> bool:
        return ready is None or ready.exists()  # noqa: ASYNC240 - one look at a local file

    return Program(
        name,
        [sys.executable, "-c", code],
        log=folder / f"{name}.log",
        ready=is_ready,
        # A bus that does not answer: what a machine without Bluetooth has.
        env={"PYTHONPATH": ".", "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/no-bus"},
    )


@asynccontextmanager
async def street(
    folder: Path,
    *,
    keeps: bool = True,
    bluez: bool = False,
    scenario: str | None = None,
    before: str = "",
    enabled: tuple[str, ...] = (),
) -> AsyncIterator[Street]:
    server, port = broker(folder / "broker")
    radio = '"bluez"' if bluez else f'{{ virtual = "unix:{folder}/radio" }}'
    home_of = scenario or SCENARIO.format(keeps="true" if keeps else "false")
    (folder / "scenario.toml").write_text(home_of)
    (folder / "agent.toml").write_text(
        CONFIG.format(site=SITE, gateway=GATEWAY, folder=folder, port=port, boot=BOOT, radio=radio)
        + f"[profiles]\nenable = {json.dumps(enabled)}\n"
    )
    write_private(folder / "gateway.key", gateway_keys())
    (folder / "hospital.pub").write_bytes(dump_keys(bridge_keys().public))
    home = program(
        "devices",
        "import asyncio; from pathlib import Path; from virtual_home.home import run_home; "
        "from virtual_home.scenario import load_scenario; "
        f"f = Path({str(folder)!r}); "
        "asyncio.run(run_home(load_scenario(f / 'scenario.toml'), f / 'radio', f / 'control'))",
        folder,
        folder / "control",
    )
    agent = program(
        "agent",
        f"{before}import sys; from edge_agent.cli import main; "
        f"sys.argv = ['edge-agent', 'run', '--config', {str(folder / 'agent.toml')!r}]; main()",
        folder,
    )
    await server.start()
    await home.start()
    await agent.start()
    # Whoever measures before it runs is not yet the person that it adopts devices for.
    await eventually(lambda: "agent_started" in agent.log.read_text())
    hospital = Hospital(port)
    devices = await HomeControl.connect(folder / "control")
    try:
        yield Street(folder, agent, devices, hospital)
    finally:
        await devices.close()
        hospital.close()
        for one in (agent, home, server):
            await one.stop()


async def severe(street: Street, systolic: int) -> None:
    values = {"systolic": str(systolic), "diastolic": "124", "pulse": "96"}
    await street.devices.ask("measure", device="cuff", values=values)


async def test_a_cuff_reading_reaches_the_hospital_as_it_was_measured(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        await severe(one, 192)
        await eventually(lambda: len(one.measurements()) == 1)
        (found,) = one.measurements()
        assert found.quantity is Quantity.BLOOD_PRESSURE
        assert (found.value(Term.SYSTOLIC), found.value(Term.DIASTOLIC)) == (Decimal(192), Decimal(124))
        assert (found.device.serial, found.device.maker) == ("BP-0001", "Example")
        assert (found.time.boot_id, found.time.received_uncertainty_ms) == (BOOT, 5)
        assert (found.provenance.gateway, found.provenance.visit) == (GATEWAY, 1)
        (assignment,) = [item for item in one.hospital.items() if isinstance(item, Assignment)]
        assert assignment.measurement_id == found.measurement_id
        # What is known of the clock goes in an envelope of its own.
        await eventually(
            lambda: any(isinstance(i, Redating) and i.boot_id == BOOT for i in one.hospital.items())
        )
        told = {item.kind for item in one.hospital.items() if isinstance(item, GatewayEvent)}
        assert told == {GatewayEventKind.STARTED, GatewayEventKind.OUTBOX_OPENED}

        await severe(one, 188)
        await eventually(lambda: len(one.measurements()) == 2)
        assert one.measurements()[1].value(Term.SYSTOLIC) == Decimal(188)
        owners = [item.person for item in one.hospital.items() if isinstance(item, Assignment)]
        assert owners == ["p-1", "p-1"]


async def test_a_meter_is_read_by_its_records_and_only_what_is_newer(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        for _ in range(3):
            await one.devices.ask("measure", device="meter")
        await eventually(lambda: len(one.measurements()) >= 3)
        await one.devices.ask("measure", device="meter")
        await eventually(lambda: len(one.measurements()) >= 4)
        found = one.measurements()
        assert all(m.quantity is Quantity.GLUCOSE and Remark.STORED_RECORD in m.remarks for m in found)
        sequences = [m.record.sequence for m in found if m.record]
        assert sequences == sorted(set(sequences))
        assert len(sequences) == len(found) == 4
        assert await one.devices.ask("deletions_asked", device="meter") == 0


async def test_killed_and_started_again_it_goes_on_in_its_chain(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        await severe(one, 181)
        await eventually(lambda: len(one.measurements()) == 1)
        await one.agent.kill()
        await severe(one, 182)
        await one.agent.start()
        await eventually(lambda: {m.value(Term.SYSTOLIC) for m in one.measurements()} == {181, 182})
        headers = {opened.header.sequence: opened.header for opened in one.hospital.arrived}
        assert len({h.outbox_id for h in headers.values()}) == 1
        assert sorted(headers) == list(range(1, len(headers) + 1))
        digests = {opened.header.sequence: opened.digest for opened in one.hospital.arrived}
        assert all(headers[n].previous == digests[n - 1] for n in headers if n > 1)
        assert len({m.measurement_id for m in one.measurements()}) == 2


async def test_it_ends_cleanly_and_says_goodbye(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        await eventually(lambda: bool(one.hospital.statuses))
        await one.agent.stop()
        assert one.agent.returncode == 0
        await eventually(lambda: len(one.hospital.statuses) >= 2)
        presences = [decode_status(status).presence for status in one.hospital.statuses]
        assert presences == [Presence.ONLINE, Presence.OFFLINE]
        assert [line["event"] for line in one.log()][-1] == "agent_ended"


async def test_the_hospital_hears_goodbye_last_though_the_network_thread_had_no_turn(
    tmp_path: Path,
) -> None:
    """As on a loaded machine, just when the broker has answered: the process could end before the thread."""
    async with street(tmp_path, before=SLOW_THREAD) as one:
        await eventually(lambda: any(isinstance(item, Redating) for item in one.hospital.items()))
        await one.agent.stop()
        assert one.agent.returncode == 0
        log = tmp_path / "broker" / "broker.log"
        await eventually(
            lambda: re.search(rf"Client kiteline-{SITE}-{GATEWAY} ", log.read_text()) is not None
        )
        await eventually(lambda: len(one.hospital.statuses) >= 2)
        presences = [decode_status(status).presence for status in one.hospital.statuses]
        assert presences == [Presence.ONLINE, Presence.OFFLINE]
        assert f"Client kiteline-{SITE}-{GATEWAY} disconnected." in log.read_text()


async def test_nothing_readable_lies_on_the_card(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        await severe(one, 192)
        await eventually(lambda: len(one.measurements()) == 1)
        await one.agent.kill()
        raw = one.measurements()[0].provenance.raw[0].data
        card = b"".join(p.read_bytes() for p in sorted((tmp_path / "state" / "outbox").iterdir()))
        assert len(card) > 10_000
        for canary in (raw, b"systolic", b"BP-0001", b"C0:49:5F", b"p-1", b"Example"):
            assert canary not in card, canary


async def test_without_bluetooth_it_says_so_once_and_the_line_holds(tmp_path: Path) -> None:
    async with street(tmp_path, bluez=True) as one:
        await eventually(lambda: any(line["event"] == "radio_unavailable" for line in one.log()))
        await eventually(lambda: any(isinstance(item, GatewayEvent) for item in one.hospital.items()))
        assert one.agent.running
        assert [line["event"] for line in one.log()].count("radio_unavailable") == 1


async def test_a_device_that_discards_is_read_once(tmp_path: Path) -> None:
    async with street(tmp_path, keeps=False) as one:
        await severe(one, 192)
        await eventually(lambda: len(one.measurements()) == 1)
        ledger = await one.devices.ask("ledger")
        assert [(entry["fate"], entry["discarded"]) for entry in ledger] == [("confirmed", True)]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from edge_agent.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True
    )


async def test_a_running_agent_takes_a_device_that_an_installer_pairs(tmp_path: Path) -> None:
    config = ("--config", str(tmp_path / "agent.toml"))
    async with street(tmp_path) as one:
        await severe(one, 192)
        await eventually(lambda: len(one.measurements()) == 1)
        wish = ("--yes", "--address", "C0:49:5F:00:00:01", "--person", "p-2", "--json")
        paired = await asyncio.to_thread(command, "pair", *config, *wish)
        assert paired.returncode == 0, paired.stderr
        assert json.loads(paired.stdout)["users"][-1]["person"] == "p-2"
        await severe(one, 193)
        await eventually(lambda: len(one.measurements()) == 2)
        stated = {i.measurement_id: i for i in one.hospital.items() if isinstance(i, Assignment)}
        first, second = (stated[m.measurement_id].person for m in one.measurements())
        assert first != second == "p-2"
        status = await asyncio.to_thread(command, "status", *config)
        assert json.loads(status.stdout)["radio"]["state"] == "listening"
        listed = await asyncio.to_thread(command, "devices", *config, "--json")
        assert [d["bonded"] for d in json.loads(listed.stdout)] == [True]
        await one.agent.stop()
        status = await asyncio.to_thread(command, "status", *config)
        assert json.loads(status.stdout)["radio"] is None


async def test_commands_tell_what_the_outbox_holds(tmp_path: Path) -> None:
    made = command("keys", "--private", str(tmp_path / "own"), "--public", str(tmp_path / "pub"))
    assert (made.returncode, set(json.loads(made.stdout))) == (0, {"signing", "sealing"})
    again = command("keys", "--private", str(tmp_path / "own"), "--public", str(tmp_path / "pub"))
    assert (again.returncode, "never overwritten" in again.stderr) == (2, True)
    async with street(tmp_path) as one:
        early = command("status", "--config", str(tmp_path / "nowhere.toml"))
        assert (early.returncode, "nowhere.toml cannot be read" in early.stderr) == (2, True)
        await severe(one, 192)
        await eventually(lambda: len(one.measurements()) == 1)
        while True:  # until all that was sealed has its receipt
            told = await asyncio.to_thread(command, "status", "--config", str(tmp_path / "agent.toml"))
            assert told.returncode == 0
            shown = json.loads(told.stdout)
            if shown["waiting"] == 0:
                break
        await one.agent.stop()
        told = command("status", "--config", str(tmp_path / "agent.toml"))
        shown = json.loads(told.stdout)
        assert shown["waiting"] + shown["settled"] == len({o.digest for o in one.hospital.arrived}) > 0
        decoded = command("decode", "--profile", "standard/blood_pressure", "--characteristic", "2A35", "00")
        assert decoded.returncode == 1
