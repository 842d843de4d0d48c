"""Each kind of virtual device through the whole of it: radio, agent, broker, bridge, FHIR server."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from virtual_home.lab import Lab
from virtual_home.scenario import DeviceEntry, Scenario, numbered_device
from virtual_home.truth import Difference, compare, idle, stored_readings
from wire_format.measurement import Measurement, Remark
from wire_format.nomenclature import Quantity, Term
from wire_format.statements import DeviceEventKind

CODE = 3752
PASSKEY = 123_456
VALUES: dict[str, dict[str, str]] = {
    "enhanced_cuff": {"systolic": "131", "diastolic": "84", "pulse": "71"},
    "continuous_oximeter": {"saturation": "96", "pulse": "72"},
    "glucose_monitor": {"mg_dl": "104"},
    "composition_scale": {"weight": "79.96", "fat": "19.4"},
    "health_sensor": {"systolic": "128", "diastolic": "82", "pulse": "70"},
}


def device(number: int, kind: str) -> DeviceEntry:
    one = numbered_device(number, kind, kind)
    return one.model_copy(update={"consent_code": CODE, "slot": 2})


def street() -> Scenario:
    devices = tuple(device(number, kind) for number, kind in enumerate(VALUES, start=1))
    return Scenario(title="Every later standard", seed=1, devices=devices)


def numbers(m: Measurement) -> dict[Term, str]:
    return {part.term: str(part.value) for part in m.components}


@pytest.mark.timeout(240)
async def test_each_kind_is_read_as_it_measured(tmp_path_factory: pytest.TempPathFactory) -> None:
    scenario = street()
    async with Lab(tmp_path_factory.mktemp("d"), scenario) as lab:
        for one in scenario.devices:
            await lab.home.ask("measure", device=one.key, values=VALUES[one.key])
        await lab.until(lambda: len(stored_readings(lab.database)) >= 6, "all are stored", 60)
        await lab.until(lambda: idle(lab.database), "all are delivered", 60)
        stored, ledger = stored_readings(lab.database), await lab.home.ask("ledger")
        assert compare(ledger, stored, scenario.devices) == Difference((), (), (), ())
        assert all(entry["fate"] == "confirmed" for entry in ledger)
        found = {(s.measurement.device.model, s.measurement.quantity): s.measurement for s in stored}

        cuff = found["enhanced_cuff-1", Quantity.BLOOD_PRESSURE]
        assert numbers(cuff)[Term.SYSTOLIC] == "131"
        assert (cuff.time.zone_offset_minutes, cuff.provenance.raw[0].source) == (0, "2B34")
        stream = found["continuous_oximeter-1", Quantity.PULSE_OXIMETRY]
        assert (numbers(stream)[Term.OXYGEN_SATURATION], stream.time.stated) == ("96", None)
        sugar = found["glucose_monitor-1", Quantity.CONTINUOUS_GLUCOSE]
        assert (numbers(sugar), sugar.record and sugar.record.sequence) == ({Term.GLUCOSE: "104"}, 5)
        assert Remark.STORED_RECORD in sugar.remarks
        weight = found["composition_scale-1", Quantity.BODY_WEIGHT]
        assert (numbers(weight), weight.user) == ({Term.BODY_WEIGHT: "79.960"}, 2)
        body = found["composition_scale-1", Quantity.BODY_COMPOSITION]
        assert numbers(body) == {Term.BODY_FAT: "19.4", Term.IMPEDANCE: "500.0"}
        sensor = found["health_sensor-1", Quantity.BLOOD_PRESSURE]
        assert numbers(sensor) == {Term.SYSTOLIC: "128", Term.DIASTOLIC: "82", Term.PULSE_RATE: "70"}
        assert len(sensor.provenance.raw) > 1
        for key in ("glucose_monitor", "health_sensor"):
            assert await lab.home.ask("deletions_asked", device=key) == 0


def events(database: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [str(row) for row in connection.execute("SELECT kind, body FROM item")]


@pytest.mark.timeout(240)
async def test_a_wrong_code_gives_nothing_and_says_what_to_do(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scenario = Scenario(title="A wrong code", seed=1, devices=(device(1, "composition_scale"),))
    lab = Lab(tmp_path_factory.mktemp("w"), scenario)
    config = lab.folder / "agent.toml"
    config.write_text(config.read_text().replace(f"consent_code = {CODE}", "consent_code = 1"))
    async with lab:
        await lab.home.ask("measure", device="composition_scale", values=VALUES["composition_scale"])
        await lab.until(
            lambda: any(DeviceEventKind.CONSENT_REFUSED in text for text in events(lab.database)),
            "it is told",
            30,
        )
        assert stored_readings(lab.database) == []
        assert {e["fate"] for e in await lab.home.ask("ledger")} == {"measured"}


def beurer() -> DeviceEntry:
    """A scale that shows a passkey."""
    habits = {"name": "BF788", "pairing": "passkey_display", "passkey": PASSKEY}
    return device(1, "beurer_scale").model_copy(update=habits)


async def pair(lab: Lab, scale: DeviceEntry) -> None:
    """Do what an installer does who reads the digits off the scale."""
    words = ["--address", scale.address, "--person", scale.person, "--slot", "2", "--passkey", str(PASSKEY)]
    command = [sys.executable, "-m", "edge_agent.cli", "pair", "--yes", "--json", *words]
    done = await asyncio.create_subprocess_exec(*command, "--config", str(lab.folder / "agent.toml"))
    assert await done.wait() == 0


@pytest.mark.timeout(240)
async def test_a_beurer_scale_composes_after_its_profile_was_confirmed_and_unchanged(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scenario = Scenario(title="A scale of a maker's own ways", seed=1, devices=(beurer(),))
    async with Lab(tmp_path_factory.mktemp("b"), scenario) as lab:
        await lab.home.ask("measure", device="beurer_scale", values={"weight": "79.800", "fat": "24.2"})
        await pair(lab, scenario.devices[0])
        for weight in ("79.960", "80.100"):
            values = {"weight": weight, "fat": "24.3" if weight == "79.960" else "24.4"}
            await lab.home.ask("measure", device="beurer_scale", values=values)
        await lab.until(lambda: len(stored_readings(lab.database)) >= 6, "all are stored", 60)
        stored, ledger = stored_readings(lab.database), await lab.home.ask("ledger")
        assert compare(ledger, stored, scenario.devices) == Difference((), (), (), ())
        bodies = [m for m in (s.measurement for s in stored) if m.quantity is Quantity.BODY_COMPOSITION]
        assert sorted(numbers(m)[Term.BODY_FAT] for m in bodies) == ["24.2", "24.3", "24.4"]
        weights = {
            s.measurement.time.stated for s in stored if s.measurement.quantity is Quantity.BODY_WEIGHT
        }
        assert all(m.time.stated in weights and m.user == 2 for m in bodies)
        assert await lab.home.ask("profile_changes", device="beurer_scale") == []
