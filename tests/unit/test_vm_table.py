"""The table of the radio tests is whole, its document names each row, and its machine says what it lacks."""

from pathlib import Path

import pytest

from tests.vm import machine
from tests.vm.home_devices import PAIRED_BY_HAND, devices, prepare
from tests.vm.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]


def test_each_scenario_is_named_said_timed_and_documented() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names) >= 20
    keys = {device.key for device in devices()}
    document = (ROOT / "docs" / "radio_tests.md").read_text()
    for scenario in SCENARIOS:
        assert scenario.says.endswith(".")
        assert scenario.device in keys
        assert f"| `{scenario.name}` |" in document
    assert sum(scenario.in_slice for scenario in SCENARIOS) in range(3, 6)


def test_what_an_installer_pairs_and_a_neighbour_has_is_not_in_the_configuration(tmp_path: Path) -> None:
    home, _, _ = prepare(tmp_path)
    text = (tmp_path / "agent.toml").read_text()
    named = {device.key for device in home.devices if device.address in text}
    assert {device.key for device in home.devices} - named == {"neighbour", *PAIRED_BY_HAND}


def test_a_machine_that_cannot_be_made_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PARTS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.missing() == [
        "qemu-system-x86_64",
        "dbus-daemon",
        "Debian's kernel and bluetoothd in .cache/vm",
    ]
