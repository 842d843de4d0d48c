"""What needs a consent waits for it, visibly; a withdrawal reaches what is queued, and what is under way."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.connectors.base import AlertOrder, Connector, Order, ReadingOrder, WithdrawnReading
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.steps import Step
from cloud_bridge.store.base import ConsentGoneError
from cloud_bridge.store.consent_holds import HOLD_LASTS
from cloud_bridge.store.deliveries import SqlDeliveries
from cloud_bridge.store.sql import SqlStore
from service_kit.key_files import write_private
from service_kit.log import silent
from tests.doubles.bridge_connector import ScriptedConnector
from tests.doubles.bridge_desk import BridgeDesk, assigned, sealer
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.clinic import CLINIC, FHIR, NEEDED, TO, bring, give, held, withdraw
from tests.doubles.command_line import cloud_bridge
from tests.doubles.databases import Databases
from tests.doubles.edge_readings import bridge_keys
from tests.doubles.page_visitor import visitor
from wire_format.errors import Unreachable

on_each_engine = pytest.mark.usefixtures("each_engine")

SEVERE = blood_pressure("192", "124")
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path, destinations=(FHIR, CLINIC), consent_needed=NEEDED)
    yield made
    made.close()


class Pair:
    """The hospital's own system, which needs no consent, and the clinic's, which does."""

    def __init__(self, desk: BridgeDesk, *failures: Exception) -> None:
        self.hospital, self.clinic = ScriptedConnector(), ScriptedConnector(*failures)
        connectors: dict[str, Connector] = {FHIR: self.hospital, CLINIC: self.clinic}
        self.loop = DeliveryLoop(desk.store.deliveries, connectors, lambda: desk.now, log=silent())

    async def deliver(self) -> None:
        """Deliver until nothing is due."""
        for _ in range(50):
            if not await self.loop.round():
                return
        raise AssertionError("something is due for ever")


def noted(desk: BridgeDesk) -> list[tuple[str, bool, str]]:
    entries = [one for one, _ in desk.store.access.entries("patient-1", Action.READ)]
    assert {(one.account, one.role) for one in entries} <= {(CLINIC, "destination")}
    assert desk.store.access.broken_at() is None
    return [(one.data or "", one.allowed, one.reason) for one in entries]


@on_each_engine
async def test_without_consent_it_is_held_and_with_it_let_go(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    bring(desk, SEVERE)
    await pair.deliver()
    assert len(pair.hospital.taken) == 2
    assert pair.clinic.taken == []
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]
    assert desk.store.deliveries.waiting() == 0
    assert desk.store.alerts.dead_letters() == []
    assert noted(desk) == [
        ("alerts", False, f"1 held back: {TO} has no consent"),
        ("blood_pressure", False, f"1 held back: {TO} has no consent"),
    ]
    give(desk, DataType.GLUCOSE)
    give(desk, DataType.BLOOD_PRESSURE, patient="patient-2")
    await pair.deliver()
    assert pair.clinic.taken == []
    give(desk, DataType.ALERTS)
    await pair.deliver()
    (alert,) = pair.clinic.taken
    assert isinstance(alert, AlertOrder)
    assert alert.readings == ()  # of the readings it stands on it may not be told
    give(desk, DataType.BLOOD_PRESSURE)
    await pair.deliver()
    (_, reading) = pair.clinic.taken
    assert isinstance(reading, ReadingOrder)
    assert held(desk) == []
    assert noted(desk)[2:] == [
        ("alerts", True, f"1 let go: {TO} has consent"),
        ("blood_pressure", True, f"1 let go: {TO} has consent"),
    ]


async def test_with_consent_to_both_an_alert_has_its_readings(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    (alert,) = pair.clinic.alerts
    assert len(alert.readings) == 1
    assert len(pair.clinic.taken) == 2
    assert noted(desk) == []


async def test_a_withdrawal_reaches_what_waits_to_be_tried_again(desk: BridgeDesk) -> None:
    pair = Pair(desk, *[Unreachable("away")] * 2)
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    assert desk.store.deliveries.waiting() == 2
    withdraw(desk, *DataType)
    await pair.deliver()  # at the same moment: the pause after a failure is not waited for
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]
    desk.now += HOUR
    await pair.deliver()
    assert pair.clinic.taken == []
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    await pair.deliver()
    assert len(pair.clinic.taken) == 2


async def test_a_withdrawal_counts_although_its_writer_s_clock_is_ahead(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    withdraw(desk, *DataType, at=desk.now + HOUR)
    bring(desk, SEVERE)
    await pair.deliver()
    assert pair.clinic.taken == []


async def test_what_was_sent_is_not_unsent_and_what_follows_is_held(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, *DataType)
    bring(desk, SEVERE)
    await pair.deliver()
    withdraw(desk, *DataType)
    bring(desk, blood_pressure("128", minutes=5), outbox=2)
    await pair.deliver()
    assert not [one for one in pair.clinic.taken if isinstance(one, WithdrawnReading)]
    assert len(pair.clinic.taken) == 2
    assert ("blood_pressure", 1) in held(desk)


async def test_a_consent_counts_from_its_beginning_to_its_end(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    bring(desk, SEVERE)
    await pair.deliver()
    times = {"valid_from": desk.now + HOUR, "valid_until": desk.now + 2 * HOUR}
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE, **times)
    await pair.deliver()
    assert pair.clinic.taken == []
    desk.now += HOUR
    await pair.deliver()
    assert len(pair.clinic.taken) == 2
    desk.now += HOUR
    bring(desk, blood_pressure("128", minutes=5), outbox=2)
    await pair.deliver()
    assert len(pair.clinic.taken) == 2


async def test_what_nobody_consents_to_becomes_a_dead_letter_in_the_end(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    bring(desk, SEVERE)
    await pair.deliver()
    desk.now += HOLD_LASTS - HOUR
    await pair.deliver()
    assert desk.store.alerts.dead_letters() == []
    desk.now += HOUR
    await pair.deliver()
    letters = desk.store.alerts.dead_letters()
    assert [one.key.destination for one in letters] == [CLINIC] * 2
    assert "organization:clinic had no consent to" in letters[0].last_error
    assert held(desk) == []
    for letter in letters:  # to try again is not to get round it
        desk.store.deliveries.retry_dead(letter.key, desk.now)
    await pair.deliver()
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]
    assert pair.clinic.taken == []


@on_each_engine
async def test_a_reading_that_is_somebody_elses_is_taken_back_and_held(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    home = SealingHome(outbox=2)
    desk.receive(home, home.seal([assigned(SEVERE, "p-2", later=60)]))
    await pair.deliver()
    first, second = pair.clinic.taken
    assert isinstance(first, ReadingOrder)
    assert second == WithdrawnReading(SEVERE.measurement_id)
    mine = [one for one in desk.store.deliveries.held() if one.patient == "patient-2"]
    assert [(one.data, one.count) for one in mine if one.data == "blood_pressure"] == [("blood_pressure", 1)]
    give(desk, DataType.BLOOD_PRESSURE, patient="patient-2")
    await pair.deliver()
    third = pair.clinic.taken[-1]
    assert isinstance(third, ReadingOrder)
    assert third.reading.patient == "patient-2"


async def test_what_is_held_of_one_is_sent_when_it_is_another_s_who_consents(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.BLOOD_PRESSURE, patient="patient-2")
    bring(desk, SEVERE)
    await pair.deliver()
    assert pair.clinic.taken == []
    home = SealingHome(outbox=2)
    desk.receive(home, home.seal([assigned(SEVERE, "p-2", later=60)]))
    await pair.deliver()
    (reading,) = pair.clinic.taken
    assert isinstance(reading, ReadingOrder)
    assert reading.reading.patient == "patient-2"


class Crowded(Connector):
    """Notes how many orders it was given at a time; it keeps them until as many came as were expected."""

    name = "clinic"

    def __init__(self, expected: int) -> None:
        self.now, self.most, self.all = 0, 0, 0
        self._enough, self._expected = asyncio.Event(), expected

    async def deliver(self, order: Order) -> None:
        del order
        self.now, self.all = self.now + 1, self.all + 1
        self.most = max(self.most, self.now)
        if self.most >= self._expected:
            self._enough.set()
        async with asyncio.timeout(4):
            await self._enough.wait()
        await asyncio.sleep(0.01)
        self.now -= 1


@pytest.mark.parametrize(("destination", "most"), [(CLINIC, 1), (FHIR, 4)])
async def test_where_time_is_counted_none_waits_behind_another(
    desk: BridgeDesk, destination: str, most: int
) -> None:
    give(desk, *DataType)
    bring(desk, *(blood_pressure("128", minutes=minute) for minute in range(9)))
    crowd = Crowded(most)
    loop = DeliveryLoop(desk.store.deliveries, {destination: crowd}, lambda: desk.now, log=silent())
    for _ in range(9):
        await loop.round()
    assert (crowd.most, crowd.all) == (most, 9)


async def test_a_reading_that_is_nobodys_is_taken_back_without_a_consent(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    withdraw(desk, *DataType)
    home = SealingHome(outbox=2)
    desk.receive(home, home.seal([assigned(SEVERE, None, later=60)]))
    await pair.deliver()
    assert WithdrawnReading(SEVERE.measurement_id) in pair.clinic.taken


@on_each_engine
async def test_a_withdrawal_between_claim_and_sending_stops_it(desk: BridgeDesk) -> None:
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    clinic = ScriptedConnector()

    def observe(step: Step, _facts: object) -> None:
        if step is Step.DELIVERY_CLAIMED:
            withdraw(desk, *DataType)

    loop = DeliveryLoop(desk.store.deliveries, {CLINIC: clinic}, lambda: desk.now, observe, log=silent())
    for _ in range(4):
        await loop.round()
    assert clinic.taken == []
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]


def test_an_order_is_made_only_of_what_its_claim_stood_on(desk: BridgeDesk) -> None:
    give(desk, DataType.ALERTS)
    bring(desk, SEVERE)
    claims = desk.store.deliveries.claim_deliveries(desk.now, 100)
    (claimed,) = [one for one in claims if one.key.destination == CLINIC]
    assert desk.store.deliveries.load(claimed, desk.now) is not None
    withdraw(desk, DataType.ALERTS)
    with pytest.raises(ConsentGoneError):
        desk.store.deliveries.load(claimed, desk.now)


async def test_a_destination_that_needs_none_any_more_gets_what_was_held(
    desk: BridgeDesk, tmp_path: Path
) -> None:
    bring(desk, SEVERE)
    await Pair(desk).deliver()
    again = SqlStore(Databases.of(tmp_path), sealer, (FHIR, CLINIC), consent_needed=NEEDED)
    again.deliveries.needs_changed(desk.now)
    assert again.deliveries.claim_deliveries(desk.now, 10) == []
    again.close()
    other = {CLINIC: "organization:other"}
    again = SqlStore(Databases.of(tmp_path), sealer, (FHIR, CLINIC), consent_needed=other)
    again.deliveries.needs_changed(desk.now)
    assert again.deliveries.claim_deliveries(desk.now, 10) == []
    assert {one.recipient for one in again.deliveries.held()} == {"organization:other"}
    again.close()
    again = SqlStore(Databases.of(tmp_path), sealer, (FHIR, CLINIC))
    again.deliveries.needs_changed(desk.now)
    assert len(again.deliveries.claim_deliveries(desk.now, 10)) == 2
    again.close()


# --- what people see ---


async def test_the_patient_and_the_auditor_see_that_a_system_was_kept_from_data(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        engine, now = one.desk.store.engine, one.desk.now
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        one.hire("a1", Role.AUDITOR, "hospital")
        needing = SqlDeliveries(engine, "en", consent_needed={FHIR: TO})
        assert needing.claim_deliveries(now, 100) == []
        give(one.desk, DataType.ALERTS)
        await one.sign_in("p1")
        page = (await one.http.get("/mine")).text
        assert f"<td>{FHIR}</td><td>another system</td><td>read: alerts</td>" in page
        assert "another system</td><td>read: blood pressure" not in page  # it was kept from it
        await one.sign_in("a1")
        page = (await one.http.get("/audit")).text
        assert f"<td>{FHIR}</td><td>another system</td><td>read: blood pressure</td>" in page
        assert f"held back: {TO} has no consent" in page


def test_status_says_what_is_held_and_why(tmp_path: Path) -> None:
    write_private(tmp_path / "bridge.key", bridge_keys())
    config = tmp_path / "bridge.toml"
    config.write_text(f"""
site = "ward"
state = "{tmp_path}"
database = "{Databases.of(tmp_path)}"
[keys]
bridge = "{tmp_path}/bridge.key"
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
    desk = BridgeDesk(tmp_path, destinations=(CLINIC,), consent_needed=NEEDED)
    bring(desk, SEVERE)
    assert desk.store.deliveries.claim_deliveries(desk.now, 20) == []
    desk.close()
    done = cloud_bridge("status", "--config", str(config))
    status = json.loads(done.stdout)
    assert (status["destinations"], status["deliveries_waiting"]) == ([CLINIC], 0)
    assert [(one["patient"], one["count"], one["reason"]) for one in status["held_back"]] == [
        ("patient-1", 1, f"{TO} has no consent to alerts"),
        ("patient-1", 1, f"{TO} has no consent to blood_pressure"),
    ]
