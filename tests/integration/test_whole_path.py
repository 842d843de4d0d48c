"""The whole street, each part a process of its own: what the demonstration shows, what nobody may read."""

import asyncio
import datetime as dt
import json
import sys
from uuid import UUID

import pytest

from virtual_home.lab import Lab
from virtual_home.scenario import Scenario, load_scenario
from virtual_home.truth import stored_readings

PERSON = "canary-pseudonym"


def named(begins_at: dt.datetime | None = None) -> Scenario:
    """The demonstration's home, with words that would be found anywhere."""
    scenario = load_scenario("first_line")
    devices = tuple(
        device.model_copy(
            update={
                "person": PERSON,
                "maker": "Canary",
                "serial": f"CANARY-{device.key}",
                "clock_writable": False,
            }
        )
        for device in scenario.devices
    )
    return scenario.model_copy(update={"devices": devices, "begins_at": begins_at})


async def carried(lab: Lab, *, receipted: bool = True) -> set[UUID]:
    """Carry out the scenario's acts; return the ids of what the hospital stored."""
    done = "receipt_settled" if receipted else "puback"
    for number, act in enumerate(lab.scenario.acts, start=1):
        values = {name: str(value) for name, value in act.values.items()}
        await lab.home.ask("measure", device=act.device, values=values)

        def there(number: int = number) -> bool:
            kept = {s.facts["sequence"] for s in lab.steps() if s.step == "outbox_committed"}
            told = {s.facts["sequence"] for s in lab.steps() if s.step == done}
            ended = sum(s.step == "visit_ended" for s in lab.steps())
            return ended >= number and kept <= told

        await lab.until(there, f"act {number} is through")
    return {one.measurement.measurement_id for one in stored_readings(lab.database)}


async def test_the_demonstration_ends_with_its_figures() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "virtual_home.cli", "demo", "--once", "--language", "zh-Hans",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    lines = out.decode().splitlines()
    figures = json.loads(lines[-1])
    assert figures["measured"] == figures["stored"] == 4
    assert (figures["raised"], figures["tasks"], figures["acknowledged"], figures["heard_at_home"]) == (
        1,
        1,
        1,
        1,
    )
    assert all(value is not None for value in figures["latency_ms"].values())
    assert any("复测已确认" in line for line in lines)


async def test_one_seed_gives_the_same_measurement_ids(tmp_path_factory: pytest.TempPathFactory) -> None:
    begins = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(minutes=5)
    found = []
    for _ in range(2):
        async with Lab(tmp_path_factory.mktemp("l"), named(begins)) as lab:
            found.append(await carried(lab))
    assert len(found[0]) == 4
    assert found[0] == found[1]


async def test_neither_broker_nor_outbox_holds_anything_readable(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with Lab(tmp_path_factory.mktemp("l"), named()) as lab:
        # The broker holds everything for a bridge that is away.
        await lab.bridge.stop()
        await carried(lab, receipted=False)
        ledger = await lab.home.ask("ledger")
        await lab.agent.stop()
        await lab.broker.stop()
        files = [
            p
            for kept in ("broker", "home/state/outbox")
            for p in (lab.folder / kept).rglob("*")
            if p.is_file()
        ]
        secrets = [PERSON.encode(), b"Canary", b"CANARY", *(bytes.fromhex(e["packet"]) for e in ledger)]
        secrets += [d.address.encode() for d in lab.scenario.devices]
        assert sum(path.stat().st_size for path in files) > 10_000
        assert [p.name for p in files for secret in secrets if secret in p.read_bytes()] == []
        assert (lab.folder / "broker" / "mosquitto.db").stat().st_size > 4 * len(ledger)
