"""Readings of a meter and a scale, sealed at home, become work orders on a real FHIR server."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.alerts import AlertState, Outcome
from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.work_orders import WorkOrders
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk, assigned, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure, glucose, weight
from tests.doubles.story_kit import DAY
from virtual_home.hospital import Desk
from virtual_home.servers import fhir_server
from wire_format.measurement import Measurement
from wire_format.nomenclature import Unit


class Way:
    """A home, the bridge's store, and a hospital that knows its patients."""

    def __init__(
        self, bridge: BridgeDesk, desk: Desk, loop: DeliveryLoop, connector: FhirR4Connector
    ) -> None:
        self.bridge, self.desk, self._loop, self.connector = bridge, desk, loop, connector
        self.home = SealingHome()

    async def measure(self, *measured: Measurement, person: str = "p-1") -> None:
        """Let readings arrive one after the other, and deliver everything that follows."""
        for m in measured:
            self.bridge.now = max(self.bridge.now, m.time.received_at)
            self.bridge.receive(self.home, self.home.seal(told(m, person)))
        await self.deliver()

    async def deliver(self) -> None:
        """Deliver what is due; of what two rows write at once, one is told to come again."""
        for _ in range(5):
            while await self._loop.round():
                pass
            if not self.bridge.store.deliveries.waiting():
                break
            self.bridge.now += dt.timedelta(seconds=60)
        assert self.bridge.store.alerts.dead_letters() == []
        assert self.bridge.store.deliveries.waiting() == 0

    async def tasks(self) -> list[dict[str, Any]]:
        return sorted(await self.desk.find("Task"), key=lambda t: str(t["description"]))


@asynccontextmanager
async def path(folder: Path) -> AsyncIterator[Way]:
    server, base = fhir_server(folder)
    await server.start()
    bridge = BridgeDesk(folder)
    bridge.now = NOW
    try:
        async with Desk(base) as desk, FhirR4Connector(base, test_data=True) as connector:
            for patient in ("1", "2"):
                await desk.know("Patient", "https://hospital.example/id/patient", patient)
            for kind in ("Practitioner", "Organization"):
                await desk.know(kind, "https://hospital.example/id/staff", "1")
            connectors = {"fhir": connector}
            loop = DeliveryLoop(bridge.store.deliveries, connectors, lambda: bridge.now, log=silent())
            yield Way(bridge, desk, loop, connector)
    finally:
        bridge.close()
        await server.stop()


async def test_a_low_glucose_becomes_a_work_order(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with path(tmp_path_factory.mktemp("p")) as way:
        way.bridge.join("patient-1", "diabetes")
        await way.measure(glucose("50", unit=Unit.MG_PER_DL))
        (task,) = await way.tasks()
        assert (task["priority"], task["status"]) == ("stat", "requested")
        assert task["description"].startswith("Very low glucose: 50 mg/dL (<54). Call the patient now")
        (issue,) = await way.desk.find("DetectedIssue")
        assert issue["code"]["coding"] == [
            {"system": "urn:kiteline:rule", "code": "GLU-LOW-2", "version": "1"}
        ]
        (observation,) = await way.desk.find("Observation")
        assert observation["valueQuantity"]["unit"] == "mg/dL"
        assert issue["evidence"][0]["detail"][0]["reference"] == f"Observation/{observation['id']}"
        assert len(await way.desk.find("CommunicationRequest")) == 2
        # A second one soon after is the same work; one that is nobody's any more takes it back.
        second = glucose("52", unit=Unit.MG_PER_DL, minutes=30)
        await way.measure(second)
        (task,) = await way.tasks()
        assert len(task["input"]) == 2
        assert task["description"].startswith("Very low glucose: 52 mg/dL")


async def test_a_gain_of_weight_becomes_a_work_order_and_a_correction_takes_it_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with path(tmp_path_factory.mktemp("p")) as way:
        way.bridge.join("patient-1", "heart_failure")
        heavy = weight("82.5")
        await way.measure(weight("80.0", minutes=-2 * DAY), heavy)
        (task,) = await way.tasks()
        assert (task["priority"], task["businessStatus"]["text"]) == ("urgent", "unconfirmed")
        assert task["description"].startswith("Weight rose by 2.5 kg within 2 days, to 82.5 kg. Call")
        (issue,) = await way.desk.find("DetectedIssue")
        assert issue["code"]["coding"][0]["code"] == "WEIGHT-HF"
        # It was the neighbour who stood on the scale.
        way.bridge.receive(way.home, way.home.seal([assigned(heavy, "p-2", later=60)]))
        await way.deliver()
        (task,) = await way.tasks()
        assert (task["status"], task["businessStatus"]["text"]) == ("cancelled", "withdrawn")
        assert {m["status"] for m in await way.desk.find("CommunicationRequest")} == {"revoked"}


async def test_silence_late_data_and_what_is_asked_of_the_patient_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with path(tmp_path_factory.mktemp("p")) as way:
        way.bridge.join("patient-1", "hypertension", "diabetes")
        # Late: three days old. Shown and due, and nobody is told anything on their phone.
        await way.measure(glucose("2.4", minutes=-3 * DAY))
        (task,) = await way.tasks()
        assert task["priority"] == "routine"
        assert "(received late)" in task["description"]
        assert await way.desk.find("CommunicationRequest") == []
        # A third reading is asked of the patient: a message, and no work order.
        await way.measure(blood_pressure("140"), blood_pressure("125", minutes=1))
        assert len(await way.tasks()) == 1
        (asked,) = await way.desk.find("CommunicationRequest")
        assert "Patient/" in asked["recipient"][0]["reference"]
        # Two days on: silence, for which no reading speaks but the last one.
        way.bridge.wake(NOW + dt.timedelta(days=2, minutes=2))
        await way.deliver()
        tasks = {t["description"].split(".")[0]: t for t in await way.tasks()}
        silent = (
            "No blood pressure for 2 days; nothing else came from the home either: the gateway may be off"
        )
        assert silent in tasks
        assert len(tasks[silent]["input"]) == 1
        await way.measure(blood_pressure("121", minutes=3 * DAY))
        ended = [t for t in await way.tasks() if t["businessStatus"]["text"] == "resolved"]
        assert [t["status"] for t in ended] == ["cancelled"]


async def test_a_severe_repeat_is_the_same_work_order_asked_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with path(tmp_path_factory.mktemp("p")) as way:
        await way.measure(blood_pressure("192", "124"))
        (task,) = await way.tasks()
        await way.desk.take_on(task)
        alert = way.bridge.store.alerts.open_alerts()[0].alert_id
        assert way.bridge.store.alerts.acknowledge(alert, "nurse-1", way.bridge.now)
        await way.deliver()
        await way.measure(blood_pressure("201", "126", minutes=DAY - 1))
        (again,) = await way.tasks()
        assert (again["id"], again["status"], again["priority"]) == (task["id"], "requested", "stat")
        assert again["description"].startswith("One severe reading: 201/126 mmHg")
        assert "2 episodes in this item" in again["description"]
        assert len([i for i in again["input"] if i["type"]["text"] == "reading"]) == 2
        (issue,) = await way.desk.find("DetectedIssue")
        assert len(issue["implicated"]) == 2
        # The patient is told again what to do, of each episode once.
        kinds = [m["category"][0]["coding"][0]["code"] for m in await way.desk.find("CommunicationRequest")]
        assert sorted(kinds) == ["alert", "alert", "reminder", "reminder"]
        # A second reading of the episode is no new asking, and no new message.
        await way.desk.take_on(again)
        await way.measure(blood_pressure("199", "125", minutes=DAY + 3))
        (confirmed,) = await way.tasks()
        assert (confirmed["status"], confirmed["businessStatus"]["text"]) == ("accepted", "confirmed")
        assert len(await way.desk.find("CommunicationRequest")) == 4


async def test_a_nurse_in_the_hospitals_own_system_takes_over_and_closes_the_alert_here(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with path(tmp_path_factory.mktemp("p")) as way:
        bridge, told = way.bridge, list[bool]()
        await way.desk.know("Practitioner", "https://hospital.example/id/staff", "2")
        await way.measure(blood_pressure("192", "124"))
        (alert,) = bridge.store.alerts.open_alerts()
        orders = WorkOrders(
            bridge.store.alerts,
            bridge.store.first_visits,
            way.connector,
            lambda: bridge.now,
            interval_s=1,
            log=silent(),
            on_acknowledged=lambda: told.append(True),
        )
        # Another nurse makes it hers: owner and status in one change.
        (task,) = await way.tasks()
        (other,) = await way.desk.find("Practitioner", identifier="https://hospital.example/id/staff|2")
        hers = f"Practitioner/{other['id']}"
        assert task["owner"]["reference"] != hers
        await way.desk.take_on(task | {"owner": {"reference": hers}}, "in-progress")
        await orders.round()
        (begun,) = bridge.store.alerts.open_alerts()
        assert (begun.state, begun.acknowledged_by) == (AlertState.IN_PROGRESS, hers)
        assert [row["gateway"] for row in bridge.table("downlink")] == ["gw-1"]  # the home is told, once
        # A second reading says it again: the work order stays hers, and under way.
        await way.measure(blood_pressure("190", "122", minutes=3))
        (task,) = await way.tasks()
        assert (task["owner"]["reference"], task["status"]) == (hers, "in-progress")
        assert task["businessStatus"]["text"] == "confirmed"
        said = {"coding": [{"system": "urn:kiteline:outcome", "code": "medication_changed"}]}
        output = [{"type": {"text": "outcome"}, "valueCodeableConcept": said}]
        await way.desk.take_on(task | {"output": output}, "completed")
        await orders.round()
        assert bridge.store.alerts.open_alerts() == []
        closed = bridge.store.alerts.alert(alert.alert_id)
        assert closed is not None
        assert (closed.state, closed.outcome, closed.moved_by) == (
            AlertState.RESOLVED,
            Outcome.MEDICATION_CHANGED,
            hers,
        )
        # What goes back to the hospital says the same, and changes nothing that she did.
        await way.deliver()
        (after,) = await way.tasks()
        assert (after["status"], after["owner"]["reference"], after["output"]) == ("completed", hers, output)
        assert len(bridge.table("downlink")) == 1
        assert told == [True, True]
