"""Consents leave as FHIR and come in again: through the command line, a real FHIR server, and the queue."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud_bridge.access.model import DataType
from cloud_bridge.delivery import DeliveryLoop
from service_kit.key_files import write_private
from service_kit.log import silent
from tests.doubles.bridge_connector import ScriptedConnector
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.clinic import CLINIC, NEEDED, TO, bring, give, held, withdraw
from tests.doubles.command_line import Done, cloud_bridge
from tests.doubles.edge_readings import bridge_keys
from virtual_home.servers import fhir_server

DAY = dt.timedelta(days=1)


class Bridge:
    """A bridge's folder, its command line, and its store."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.desk = BridgeDesk(folder, destinations=(CLINIC,), consent_needed=NEEDED)
        write_private(folder / "bridge.key", bridge_keys())
        (folder / "bridge.toml").write_text(f"""
site = "ward"
state = "{folder}"
zone = "Asia/Shanghai"
[keys]
bridge = "{folder}/bridge.key"
[broker]
host = "127.0.0.1"
port = 1883
[[webhook]]
name = "clinic"
url = "https://clinic.example/hook"
secret_file = "secret"
sends = ["readings", "alerts"]
consent = "required"
recipient = "{TO}"
""")

    def command(self, *arguments: str) -> Done:
        return cloud_bridge("consent", *arguments, "--config", str(self.folder / "bridge.toml"))

    def export(self) -> dict[str, Any]:
        done = self.command("export", "patient-1")
        assert done.returncode == 0, done.stderr
        bundle: dict[str, Any] = json.loads(done.stdout)
        return bundle

    def take(self, document: object) -> dict[str, int]:
        (self.folder / "in.json").write_text(json.dumps(document))
        done = self.command("import", f"{self.folder}/in.json")
        assert done.returncode == 0, done.stderr
        counts: dict[str, int] = json.loads(done.stdout)
        return counts


@pytest.fixture
def bridges(tmp_path: Path) -> Iterator[tuple[Bridge, Bridge]]:
    made = Bridge(tmp_path / "one"), Bridge(tmp_path / "two")
    yield made
    for one in made:
        one.desk.close()


def test_what_one_bridge_exports_another_takes_once(bridges: tuple[Bridge, Bridge]) -> None:
    one, two = bridges
    give(one.desk, DataType.ALERTS, DataType.BLOOD_PRESSURE, DataType.GLUCOSE)
    withdraw(one.desk, DataType.GLUCOSE)
    bundle = one.export()
    assert len(bundle["entry"]) == 3
    assert two.take(bundle) == {"given": 2, "withdrawn": 1, "known": 0}
    assert two.take(bundle) == {"given": 0, "withdrawn": 0, "known": 3}
    assert two.desk.store.access.consents("patient-1") == one.desk.store.access.consents("patient-1")
    assert two.export() == bundle
    # What is withdrawn later follows; what was withdrawn here does not come back with the old file.
    withdraw(one.desk, DataType.ALERTS)
    later = one.export()
    assert two.take(later) == {"given": 0, "withdrawn": 1, "known": 2}
    assert two.take(bundle) == {"given": 0, "withdrawn": 0, "known": 3}
    assert two.export() == later


def test_a_file_is_taken_whole_or_not_at_all(bridges: tuple[Bridge, Bridge]) -> None:
    one, two = bridges
    give(one.desk, DataType.ALERTS, DataType.GLUCOSE)
    bundle = one.export()
    bundle["entry"][1]["resource"]["provision"]["provision"] = [{"type": "deny"}]
    (two.folder / "in.json").write_text(json.dumps(bundle))
    done = two.command("import", f"{two.folder}/in.json")
    assert (done.returncode, "provision.provision" in done.stderr) == (1, True)
    assert two.desk.store.access.consents("patient-1") == []
    right = one.export()
    assert two.take(right)["given"] == 2
    right["entry"][0]["resource"]["sourceAttachment"]["title"] = "2027-1"
    (two.folder / "in.json").write_text(json.dumps(right))
    done = two.command("import", f"{two.folder}/in.json")
    assert (done.returncode, "kept here with other words" in done.stderr) == (1, True)


def test_a_consent_that_was_an_error_is_withdrawn_and_none_is_made_of_it(
    bridges: tuple[Bridge, Bridge],
) -> None:
    one, two = bridges
    give(one.desk, DataType.ALERTS)
    bundle = one.export()
    void = json.loads(json.dumps(bundle))
    void["entry"][0]["resource"]["status"] = "entered-in-error"
    assert two.take(void) == {"given": 0, "withdrawn": 0, "known": 1}
    assert two.desk.store.access.consents("patient-1") == []
    assert two.take(bundle)["given"] == 1
    assert two.take(void)["withdrawn"] == 1
    (kept,) = two.desk.store.access.consents("patient-1")
    assert kept.withdrawn_by == "import"


def test_what_is_no_file_and_who_is_no_patient_are_named(bridges: tuple[Bridge, Bridge]) -> None:
    one, _ = bridges
    (one.folder / "in.json").write_text("{")
    done = one.command("import", f"{one.folder}/in.json")
    assert (done.returncode, "cannot be read as JSON" in done.stderr) == (2, True)
    done = one.command("export", "patient-9")
    assert (done.returncode, "no patient patient-9" in done.stderr) == (1, True)


async def test_what_is_taken_lets_go_and_holds_back(bridges: tuple[Bridge, Bridge]) -> None:
    one, two = bridges
    give(one.desk, DataType.BLOOD_PRESSURE)
    given = one.export()
    withdraw(one.desk, DataType.BLOOD_PRESSURE)
    bring(two.desk, blood_pressure("128"))
    clinic = ScriptedConnector()
    now = dt.datetime.now(dt.UTC) + DAY  # the command line has its own clock
    loop = DeliveryLoop(two.desk.store.deliveries, {CLINIC: clinic}, lambda: now, log=silent())
    await loop.round()
    assert held(two.desk) == [("blood_pressure", 1)]
    two.take(given)
    await loop.round()
    assert len(clinic.taken) == 1
    two.take(one.export())
    bring(two.desk, blood_pressure("129", minutes=5), outbox=2)
    await loop.round()
    assert len(clinic.taken) == 1
    assert held(two.desk) == [("blood_pressure", 1)]


async def test_a_real_fhir_server_keeps_them_and_gives_them_back(
    bridges: tuple[Bridge, Bridge], tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, two = bridges
    give(one.desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    withdraw(one.desk, DataType.ALERTS)
    server, base = fhir_server(tmp_path_factory.mktemp("h"))
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=base, timeout=10) as client:
            kept = []
            for entry in one.export()["entry"]:
                checked = await client.post("/Consent/$validate", json=entry["resource"])
                issues = checked.json()["issue"]
                assert not [i for i in issues if i["severity"] in {"error", "fatal"}], issues
                created = await client.post("/Consent", json=entry["resource"])
                assert created.status_code == 201, created.text
                found = await client.get(f"/Consent/{created.json()['id']}")
                kept.append({"resource": found.json()})
    finally:
        await server.stop()
    assert "versionId" in kept[0]["resource"]["meta"]
    assert two.take({"resourceType": "Bundle", "type": "collection", "entry": kept}) == {
        "given": 1,
        "withdrawn": 1,
        "known": 0,
    }
    assert two.desk.store.access.consents("patient-1") == one.desk.store.access.consents("patient-1")
