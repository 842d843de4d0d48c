"""`edge-agent record` as a process, over the virtual radio: a cuff, a meter, and a device nobody knows."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from device_drivers.capture import Capture, Kind, parse_capture
from edge_agent.replay import replay
from service_kit.key_files import write_private
from tests.doubles.edge_hospital import GATEWAY, SITE
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from tests.integration.test_edge_agent import BOOT, CONFIG, SCENARIO, program
from virtual_home.home import HomeControl
from wire_format.keys import dump_keys

CUFF, METER = "C0:49:5F:00:00:01", "C0:49:5F:00:00:02"
NO_BROKER = 9  # the port of "discard": nobody listens


@asynccontextmanager
async def home(folder: Path) -> AsyncIterator[HomeControl]:
    (folder / "scenario.toml").write_text(SCENARIO.format(keeps="true"))
    radio = f'{{ virtual = "unix:{folder}/radio" }}'
    (folder / "agent.toml").write_text(
        CONFIG.format(site=SITE, gateway=GATEWAY, folder=folder, port=NO_BROKER, boot=BOOT, radio=radio)
    )
    write_private(folder / "gateway.key", gateway_keys())
    (folder / "hospital.pub").write_bytes(dump_keys(bridge_keys().public))
    code = (
        "import asyncio; from pathlib import Path; from virtual_home.home import run_home; "
        f"from virtual_home.scenario import load_scenario; f = Path({str(folder)!r}); "
        "asyncio.run(run_home(load_scenario(f / 'scenario.toml'), f / 'radio', f / 'control'))"
    )
    devices = program("devices", code, folder, folder / "control")
    await devices.start()
    control = await HomeControl.connect(folder / "control")
    try:
        yield control
    finally:
        await control.close()
        await devices.stop()


async def command(folder: Path, *argv: str) -> tuple[int, str, str]:
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_agent.cli", *argv, "--config", str(folder / "agent.toml"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(100):
            out, err = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
            await run.wait()
    return run.returncode or 0, out.decode(), err.decode()


async def recorded(folder: Path, address: str, *more: str) -> tuple[dict[str, Any], Capture]:
    file = folder / "it.capture.json"
    status, out, err = await command(folder, "record", address, "--to", str(file), *more)
    assert status == 0, err
    return json.loads(out), parse_capture("it", file.read_bytes())


def unsaid(capture: Path, *secrets: bytes) -> None:
    text = capture.read_text()
    for secret in secrets:
        assert secret.decode("ascii", "replace") not in text
        assert secret.hex() not in text


async def test_a_visit_becomes_a_capture_and_the_reading_goes_its_way(tmp_path: Path) -> None:
    async with home(tmp_path) as devices:
        await devices.ask(
            "measure", device="cuff", values={"systolic": "192", "diastolic": "124", "pulse": "96"}
        )
        said, capture = await recorded(tmp_path, CUFF)
        (entry,) = await devices.ask("ledger")
        status, out, _ = await command(tmp_path, "status")
    assert (said["profile"], said["device"]) == ("standard/blood_pressure", "Example BP-1")
    assert {"serial number", "System ID (it holds the address)"} <= set(said["left_out"])
    (session,) = capture.sessions
    assert [e.hex for e in session.exchange if e.kind is Kind.NOTIFY] == [entry["packet"]]
    assert (entry["fate"], status) == ("confirmed", 0)
    assert json.loads(out)["waiting"] >= 2  # the agent's own words, and the reading
    file = tmp_path / "it.capture.json"
    unsaid(file, b"BP-0001", b"C0:49:5F:00:00:01", bytes.fromhex("0100005f49c0"))


async def test_a_memory_that_was_read_replays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with home(tmp_path) as devices:
        for value in ("95", "101"):
            await devices.ask("measure", device="meter", values={"mg_dl": value})
        said, capture = await recorded(tmp_path, METER)
    assert said["profile"] == "standard/glucose"
    assert len(said["remarks"]) == 1  # not that redaction changed what is read
    assert Kind.WRITE in {e.kind for e in capture.sessions[0].exchange}
    file = tmp_path / "it.capture.json"
    # In a thread: a replay has an event loop of its own.
    assert await asyncio.to_thread(replay, file) == 1
    assert await asyncio.to_thread(replay, file, write_expect=True) == 0
    assert await asyncio.to_thread(replay, file) == 0
    assert capsys.readouterr().out
    expected = parse_capture("it", file.read_bytes()).sessions[0].expect
    assert [(e["record"], e["values"]["glucose"]) for e in expected] == [
        (1, "95 mg/dL"),
        (2, "101 mg/dL"),
    ]


async def test_an_unknown_device_is_looked_at_and_keeps_what_it_has(tmp_path: Path) -> None:
    async with home(tmp_path) as devices:
        await devices.ask("measure", device="cuff")
        said, capture = await recorded(tmp_path, CUFF, "--survey", "--within", "2")
        (entry,) = await devices.ask("ledger")
    assert entry["sent_times"] == 0
    assert (capture.profile, said["services"]["1810"]["2A35"]) == ("unknown", ["indicate"])
    (session,) = capture.sessions
    assert {e.kind for e in session.exchange} >= {Kind.ADVERT, Kind.READ, Kind.SUBSCRIBE}
    assert all(e.on not in {"2A25", "2A23"} for e in session.exchange)
    assert Kind.WRITE not in {e.kind for e in session.exchange}
    unsaid(tmp_path / "it.capture.json", b"BP-0001")


async def test_what_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    async with home(tmp_path) as devices:
        to = tmp_path / "it.capture.json"
        argv = ("record", "C0:49:5F:00:00:77", "--to", str(to), "--within", "0.5")
        status, _, err = await command(tmp_path, *argv)
        assert (status, "was not heard within 0.5 s" in err) == (1, True)
        text = (tmp_path / "agent.toml").read_text().replace('adopt = { person = "p-1" }', "")
        (tmp_path / "agent.toml").write_text(text)
        await devices.ask("measure", device="cuff")
        status, _, err = await command(tmp_path, "record", CUFF, "--to", str(to))
        assert (status, "not one of this home" in err) == (2, True)
        assert not to.exists()
        to.write_text("mine")
        status, _, err = await command(tmp_path, "record", CUFF, "--to", str(to))
        assert (status, "never overwritten" in err, to.read_text()) == (2, True, "mine")
