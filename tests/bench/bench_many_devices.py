"""A hundred devices of another process on one agent: how long until all is stored, and the agent's memory."""

import time
from pathlib import Path

import pytest

from tests.bench.figures import section, show
from tests.integration.test_many_devices import MANY, street
from virtual_home.lab import Lab
from virtual_home.truth import stored_readings


async def test_a_hundred_devices(tmp_path_factory: pytest.TempPathFactory) -> None:
    scenario = street(MANY)
    async with Lab(tmp_path_factory.mktemp("m"), scenario) as lab:
        began = time.perf_counter()
        for device in scenario.devices:
            await lab.home.ask("measure", device=device.key, values={})
        await lab.until(lambda: len(stored_readings(lab.database)) >= MANY, "all are stored", 200)
        passed = time.perf_counter() - began
        peak = peak_mb(lab.agent.pid)
    section("A hundred devices on one agent (ratio: to the aim)")
    show("measured -> stored at the hospital", [passed], unit="s", against=60)
    show("agent with its virtual radio, peak RSS", [peak], unit="MB", against=80)


def peak_mb(pid: int) -> float:
    """Return the most memory that a process ever held resident."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
