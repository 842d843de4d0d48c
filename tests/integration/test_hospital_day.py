"""A day of fifty patients through the bridge's own store and delivery loop, on a real FHIR server.

What the hospital has afterwards is compared with what happened, reading by reading; a resend of the whole day
and twelve deliveries at once create nothing; every resource is valid, and follows what the guide and R4 bind.
"""

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from cloud_bridge.connectors.base import AlertOrder, CareContext, Identifier, ReadingOrder
from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.store import schema
from cloud_bridge.store.base import EnrolledGateway
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.bridge_home import SITE, SealingHome
from tests.doubles.bridge_orders import BASE
from tests.doubles.bridge_readings import NOW
from tests.doubles.edge_readings import gateway_keys
from tests.doubles.fhir_bindings import wrong_bindings
from tests.doubles.hospital_day import Day, Said
from tests.doubles.hospital_truth import STAMP, Observed, Person, observed
from tests.doubles.phd_guide import broken_rules
from virtual_home.hospital import Desk
from virtual_home.servers import fhir_server

KINDS = ("Observation", "Device", "DetectedIssue", "Task", "CommunicationRequest", "Provenance")
WORKERS = 12
STAFF = Identifier(f"{BASE}/staff", "nurse-1")
PHYSICIAN = Identifier(f"{BASE}/staff", "physician-1")
WARD = Identifier(f"{BASE}/organization", "ward-1")


class Hospital:
    """The bridge with its homes on one side, the FHIR server on the other."""

    def __init__(self, bridge: BridgeDesk, base: str) -> None:
        self.bridge, self.base = bridge, base
        self._homes: dict[str, SealingHome] = {}

    def enrol(self, person: Person) -> None:
        """Enrol a patient, and their home with a gateway of its own."""
        if person.gateway not in self._homes:
            self._homes[person.gateway] = SealingHome(person.gateway)
            system_id = f"dca632fffe{len(self._homes):06x}"
            home = EnrolledGateway(person.gateway, SITE, gateway_keys().public, system_id)
            self.bridge.store.registry.enrol_gateway(home, NOW)
        who = Identifier(f"{BASE}/patient", person.number)
        care = CareContext(who, STAFF, PHYSICIAN, WARD, "zh-Hans")
        registry = self.bridge.store.registry
        registry.enrol_person(person.gateway, person.pseudonym, person.patient, care)

    def hear(self, said: list[Said]) -> None:
        """Let the homes say it."""
        for one in said:
            home = self._homes[one.person.gateway]
            self.bridge.store.intake.accept(home.topic, home.seal(one.items).data, self.bridge.now)
        while self.bridge.ingest.drain():
            pass

    def hear_again(self) -> None:
        """Let every home send everything that it ever sent, once more."""
        for home in self._homes.values():
            for one in home.sealed:
                self.bridge.store.intake.accept(home.topic, one.data, self.bridge.now)
        while self.bridge.ingest.drain():
            pass

    def want_everything_again(self) -> None:
        """As after a backup that knew of no delivery."""
        with self.bridge.store.engine.begin() as connection:
            connection.execute(update(schema.delivery).values(delivered=0))

    async def deliver(self, workers: int = 1) -> None:
        """Deliver what is due by loops of their own, until nothing waits."""
        store = self.bridge.store.deliveries
        async with AsyncExitStack() as stack:
            loops = []
            for _ in range(workers):
                connector = await stack.enter_async_context(FhirR4Connector(self.base, test_data=True))
                loops.append(DeliveryLoop(store, {"fhir": connector}, lambda: self.bridge.now, log=silent()))
            for _ in range(100):
                await asyncio.gather(*(one.round() for one in loops))
                if not store.waiting():
                    break
                self.bridge.now += dt.timedelta(seconds=5)  # of what two wrote at once, one comes again
        assert store.waiting() == 0
        assert self.bridge.store.alerts.dead_letters() == []

    async def has(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that the hospital has, digit by digit."""
        async with httpx.AsyncClient(base_url=self.base, timeout=60) as client:
            return {kind: await _all_of(client, kind) for kind in (*KINDS, "Patient")}


async def _all_of(client: httpx.AsyncClient, kind: str) -> list[dict[str, Any]]:
    address: str | None = f"/{kind}?_count=500"
    found: list[dict[str, Any]] = []
    while address is not None:
        answer = await client.get(address)
        bundle = json.loads(answer.text, parse_float=Decimal)
        found += [entry["resource"] for entry in bundle.get("entry", [])]
        address = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return found


@asynccontextmanager
async def hospital(folder: Path, day: Day) -> AsyncIterator[Hospital]:
    server, base = fhir_server(folder)
    await server.start()
    bridge = BridgeDesk(folder)
    one = Hospital(bridge, base)
    try:
        async with Desk(base) as desk:
            await desk.know("Organization", WARD.system, WARD.value)
            for staff in (STAFF, PHYSICIAN):
                await desk.know("Practitioner", staff.system, staff.value)
            for person in day.people:
                one.enrol(person)
                await desk.know("Patient", f"{BASE}/patient", person.number)
        yield one
    finally:
        bridge.close()
        await server.stop()


def counts(found: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    return {kind: len(found[kind]) for kind in KINDS}


def identities(found: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
    return {(kind, one["id"]) for kind in KINDS for one in found[kind]}


def of_people(found: dict[str, list[dict[str, Any]]]) -> Counter[Observed]:
    patients = {f"Patient/{p['id']}": p["identifier"][0]["value"] for p in found["Patient"]}
    own = [o for o in found["Observation"] if not _is_stamp(o)]
    return Counter(observed(one, patients) for one in own)


def _is_stamp(one: dict[str, Any]) -> bool:
    return any(c["code"] == STAMP for c in one["code"]["coding"])


def as_it_was(found: dict[str, list[dict[str, Any]]], day: Day) -> None:
    """Compare what the hospital has with the truth of the day."""
    assert of_people(found) == day.truth.observed
    patients = {f"Patient/{p['id']}": p["identifier"][0]["value"] for p in found["Patient"]}
    issues = [
        (patients[i["patient"]["reference"]], i["code"]["coding"][0]["code"]) for i in found["DetectedIssue"]
    ]
    assert Counter(issues) == day.truth.alerts
    assert counts(found) == day.truth.counts()


def is_well_formed(found: dict[str, list[dict[str, Any]]]) -> None:
    """Valid R4 by a model of its own, the required bindings, and the guide."""
    for kind in KINDS:
        model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        for one in found[kind]:
            model.model_validate(one)
            assert (kind, wrong_bindings(one), broken_rules(one)) == (kind, [], [])


async def test_a_day_of_fifty_patients(tmp_path_factory: pytest.TempPathFactory) -> None:
    day = Day()
    async with hospital(tmp_path_factory.mktemp("day"), day) as one:
        one.bridge.now = NOW + dt.timedelta(hours=1)
        one.hear(day.first)
        await one.deliver()
        as_it_was(await one.has(), day)
        day.afternoon()
        one.bridge.now = NOW + dt.timedelta(hours=7)
        one.hear(day.then)
        await one.deliver()
        found = await one.has()
        as_it_was(found, day)
        is_well_formed(found)
        moment = day.redated_to.astimezone(dt.timezone(dt.timedelta(hours=8))).isoformat()
        again = [o for o in found["Observation"] if str(day.redated.measurement_id) in str(o["identifier"])]
        assert {o["effectiveDateTime"] for o in again} == {moment}
        # Every home sends its whole day again; then the bridge has forgotten that it delivered anything.
        one.hear_again()
        assert one.bridge.store.deliveries.waiting() == 0
        one.want_everything_again()
        await one.deliver()
        after = await one.has()
        assert identities(after) == identities(found)
        as_it_was(after, day)
        await twelve_at_once(one, day)


async def twelve_at_once(one: Hospital, day: Day) -> None:
    """Twelve workers with claims that ran out hand over the same new alert and reading, each by itself."""
    person = day.people[-1]
    severe = day.pressure(person, systolic=201, diastolic=126)
    day.truth.alerts[person.number, "BP-SEVERE"] += 1
    one.hear([day.say(person, severe)])
    store = one.bridge.store
    (alert,) = [a.alert_id for a in store.alerts.open_alerts() if a.finding.subject == person.patient]

    async def worker() -> None:
        async with FhirR4Connector(one.base, test_data=True) as connector:
            filed = store.deliveries.load_reading_order(severe.measurement_id)
            raised = store.deliveries.load_alert_order(alert)
            assert isinstance(filed, ReadingOrder)
            assert isinstance(raised, AlertOrder)
            await connector.deliver(filed)
            await connector.deliver(raised)

    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    as_it_was(await one.has(), day)
