"""One agent and many devices that all measure at the same moment: every reading once.

Here they are thirty, three of each kind; `make storm-devices` lets a hundred measure.
"""

import os
from collections import Counter

import pytest

from virtual_home.lab import Lab
from virtual_home.scenario import Scenario, numbered_device
from virtual_home.truth import Difference, compare, idle, stored_readings

# Those that keep to the standards: makers' own are known by names that these have not.
KINDS = (
    "cuff",
    "glucose_meter",
    "scale",
    "thermometer",
    "oximeter",
    "enhanced_cuff",
    "continuous_oximeter",
    "glucose_monitor",
    "composition_scale",
    "health_sensor",
)
MANY = int(os.environ.get("DEVICES", "30"))


def street(many: int) -> Scenario:
    devices = (numbered_device(n + 1, f"d{n}", KINDS[n % len(KINDS)]) for n in range(many))
    return Scenario(title="Many devices", seed=1, devices=tuple(devices))


def person(key: str, scenario: Scenario) -> str:
    return next(device.person for device in scenario.devices if device.key == key)


@pytest.mark.timeout(300)
async def test_many_devices_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    scenario = street(MANY)
    async with Lab(tmp_path_factory.mktemp("m"), scenario) as lab:
        for device in scenario.devices:
            await lab.home.ask("measure", device=device.key, values={})
        # A body composition scale gives two readings at each weighing.
        wanted = len(await lab.home.ask("ledger"))
        assert wanted == MANY + (MANY + 1) // len(KINDS)
        await lab.until(lambda: len(stored_readings(lab.database)) >= wanted, "all are stored", 200)
        await lab.until(lambda: idle(lab.database), "all are delivered", 60)
        stored = stored_readings(lab.database)
        ledger = await lab.home.ask("ledger")
        assert compare(ledger, stored, scenario.devices) == Difference((), (), (), ())
        assert Counter(one.patient for one in stored) == Counter(
            f"patient-{person(entry['device'], scenario)}" for entry in ledger
        )
