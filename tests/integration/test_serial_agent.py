"""The agent as a process of its own, a virtual home with a meter on a cable, a broker and a hospital."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from device_drivers.capture import Kind, parse_capture
from service_kit.key_files import write_private
from tests.doubles.edge_hospital import GATEWAY, SITE, Hospital, eventually
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from virtual_home.home import HomeControl
from virtual_home.processes import Program
from virtual_home.servers import broker
from wire_format.keys import dump_keys
from wire_format.measurement import ClockTrust, Measurement
from wire_format.nomenclature import Term
from wire_format.statements import Assignment, DeviceEvent, DeviceEventKind

CONFIG = """
site = "{site}"
gateway = "{gateway}"
state = "{folder}/state"
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
zone_offset_minutes = 480
[serial]
poll_s = 0.1
rest_s = 0.5
[[cable]]
port = "{folder}/meter.tty"
profile = "lifescan/onetouch_ultra2"
person = "p-1"
since = 2026-01-01T00:00:00Z
"""
SCENARIO = """
title = "One meter on a cable, its clock seven hours slow"
seed = 1
[[devices]]
key = "cuff"
kind = "cuff"
address = "C0:49:5F:00:00:01"
name = "BP-1"
maker = "Example"
model = "BP-1"
serial = "BP-0001"
person = "p-1"
[[cables]]
key = "meter"
kind = "ultra2"
serial = "ABC123DEY"
person = "p-1"
clock_offset_s = -25200
"""


@asynccontextmanager
async def street(folder: Path) -> AsyncIterator[tuple[HomeControl, Hospital, Program]]:
    server, port = broker(folder / "broker")
    (folder / "scenario.toml").write_text(SCENARIO)
    (folder / "agent.toml").write_text(CONFIG.format(site=SITE, gateway=GATEWAY, folder=folder, port=port))
    write_private(folder / "gateway.key", gateway_keys())
    (folder / "hospital.pub").write_bytes(dump_keys(bridge_keys().public))

    async def ready() -> bool:
        return (folder / "control").exists()

    async def at_once() -> bool:
        return True

    # A bus that does not answer: what a machine without Bluetooth has.
    env = {"PYTHONPATH": os.curdir, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/no-bus"}
    asked = ["--radio", f"{folder}/radio", "--control", f"{folder}/control"]
    scenario = ["--scenario", f"{folder}/scenario.toml"]
    home = Program(
        "devices",
        [sys.executable, "-m", "virtual_home.cli", "devices", *asked, *scenario],
        log=folder / "devices.log",
        ready=ready,
        env=env,
    )
    agent = Program(
        "agent",
        [sys.executable, "-m", "edge_agent.cli", "run", "--config", f"{folder}/agent.toml"],
        log=folder / "agent.log",
        ready=at_once,
        env=env,
    )
    for one in (server, home, agent):
        await one.start()
    hospital = Hospital(port)
    control = await HomeControl.connect(folder / "control")
    try:
        yield control, hospital, agent
    finally:
        await control.close()
        hospital.close()
        for one in (agent, home, server):
            await one.stop()


async def test_a_meter_on_a_cable_reaches_the_hospital_once_and_rightly_dated(tmp_path: Path) -> None:
    async with street(tmp_path) as (home, hospital, agent):

        def measured() -> list[Measurement]:
            return [item for item in hospital.items() if isinstance(item, Measurement)]

        await home.ask("measure", device="meter", values={"mg_dl": "104"})
        await eventually(lambda: len(measured()) == 1)
        (first,) = measured()
        assert (first.value(Term.GLUCOSE), first.device.serial) == (104, "ABC123DEY")
        # Seven hours slow, and dated by the gateway's time.
        assert first.time.trust is ClockTrust.COMPARED
        assert first.time.measured is not None
        off = first.time.received_at - first.time.measured.utc
        assert 0 <= off.total_seconds() < 120
        await eventually(lambda: any(isinstance(item, DeviceEvent) for item in hospital.items()))
        assert await home.ask("unplug", device="meter") is False
        await home.ask("measure", device="meter", values={"mg_dl": "251"})
        assert await home.ask("plug", device="meter") is True
        await eventually(lambda: len(measured()) == 2)
        assert [m.value(Term.GLUCOSE) for m in measured()] == [104, 251]
        assert [i.kind for i in hospital.items() if isinstance(i, DeviceEvent)] == [DeviceEventKind.CLOCK_SET]
        people = {item.person for item in hospital.items() if isinstance(item, Assignment)}
        assert people == {"p-1"}
        assert "ABC123DEY" not in agent.log.read_text()
    assert f"meter: {tmp_path}/meter.tty" in (tmp_path / "devices.log").read_text()


def another_path(port: Path) -> Path:
    """Another path to the same port, as /dev/serial/by-id has."""
    path = port.with_name("again.tty")
    path.symlink_to(port.resolve())
    return path


async def test_a_visit_to_a_cable_becomes_a_capture_without_the_meters_number(tmp_path: Path) -> None:
    async with street(tmp_path) as (home, hospital, agent):
        await home.ask("measure", device="meter", values={"mg_dl": "104"})
        await eventually(lambda: any(isinstance(item, Measurement) for item in hospital.items()))
        await agent.stop()
        port = another_path(tmp_path / "meter.tty")
        to = tmp_path / "it.capture.json"
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge_agent.cli", "record", str(port), "--to", str(to), "--within", "60",
            "--config", f"{tmp_path}/agent.toml",
            env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/no-bus"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(run.communicate(), 100)
        finally:
            if run.returncode is None:
                run.kill()
                await run.wait()
        assert run.returncode == 0, err.decode()
    said, capture = json.loads(out), parse_capture("it", to.read_bytes())
    assert (said["profile"], capture.profile) == ("lifescan/onetouch_ultra2",) * 2
    kinds = {event.kind for event in capture.sessions[0].exchange}
    assert kinds == {Kind.SENT, Kind.RECEIVED}
    assert "serial number" in said["left_out"]
    assert b"ABC123DEY".hex() not in to.read_text()
    # Its number is in lines with a sum, which does not hold without it: that is said.
    assert any("changes what the driver reads" in remark for remark in said["remarks"])
