"""The first visit after a discharge: the family doctor's Task, the nurse's when overdue, closed when made."""

import asyncio
import datetime as dt
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hl7.client import MLLPClient

from cloud_bridge.access.model import DataType
from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.base import Order, VisitOrder, VisitState, WorkReport, WorkState
from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.connectors.fhir_visit import visit_bundle
from cloud_bridge.connectors.webhook_map import visit_event
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.discharge.plan import DischargePlan
from cloud_bridge.replay import found_again
from cloud_bridge.rules.base import Queue
from cloud_bridge.store.base import Among
from cloud_bridge.store.engine import reading
from cloud_bridge.store.first_visits import visit_order
from cloud_bridge.work_orders import WorkOrders
from service_kit.key_files import write_private
from service_kit.log import silent
from tests.doubles.bridge_connector import ScriptedConnector
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.discharge_desk import HOUR, after_discharge
from tests.doubles.discharge_desk import take as taken
from tests.doubles.discharge_messages import a03
from tests.doubles.discharge_plans import BASE, MADE, plan
from tests.doubles.edge_readings import bridge_keys
from virtual_home.hospital import Desk
from virtual_home.processes import Program, accepts, free_port
from virtual_home.servers import broker, fhir_server

CLINIC = "webhook:clinic"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    yield from after_discharge(tmp_path)


def take(desk: BridgeDesk, made: DischargePlan) -> UUID:
    return taken(desk, made).plan_id


def visit(desk: BridgeDesk, plan_id: UUID) -> VisitOrder:
    """What the FHIR server would be handed now."""
    with_visits = [c for c in desk.store.deliveries.claim_deliveries(desk.now, 50) if c.key.kind == "visit"]
    (claimed,) = [c for c in with_visits if c.key.subject == plan_id]
    order = desk.store.deliveries.load(claimed, desk.now)
    desk.store.deliveries.let_go(claimed)
    assert isinstance(order, VisitOrder)
    return order


def deliver(desk: BridgeDesk) -> None:
    for claimed in desk.store.deliveries.claim_deliveries(desk.now, 50):
        desk.store.deliveries.mark_delivered(claimed, desk.now)


def inbox(desk: BridgeDesk) -> list[tuple[str, str]]:
    return [one for one in desk.queue(Queue.CLINICAL) if one[0] == "FIRST-VISIT"]


def without_family_doctor(by_id: dict[str, dict[str, Any]]) -> None:
    del by_id["p"]["generalPractitioner"]


# --- asked ---


def test_the_family_doctor_is_asked_with_the_medication_list_and_the_plan(desk: BridgeDesk) -> None:
    order = visit(desk, take(desk, plan()))
    assert order.due_at == dt.datetime(2026, 11, 27, 2, 0, tzinfo=dt.UTC)
    assert order.medications == (
        "Amlodipine 5 mg: 1 tablet in the morning",
        "Metoprolol 25 mg: 1 tablet twice a day",
        "Nitroglycerin spray: at chest pain",
    )
    assert order.follow_up == (
        "Blood pressure at home for three months",
        "Potassium and creatinine (2026-12-08)",
    )
    bundle = visit_bundle(order, [], test_data=True)
    assert bundle is not None
    (task,) = [entry["resource"] for entry in bundle["entry"]]
    import_module("fhir.resources.R4B.task").Task.model_validate(task)
    assert task["owner"] == {"reference": f"Practitioner?identifier={BASE}/staff|doctor-7"}
    assert task["restriction"]["period"]["end"] == "2026-11-27T02:00:00+00:00"
    assert [one["type"]["text"] for one in task["input"]] == ["medication"] * 3 + ["follow-up"] * 2 + [
        "care-plan",
        "family-doctor",
    ]
    assert bundle["entry"][0]["request"]["ifNoneExist"].startswith("identifier=urn:kiteline:task|")
    event = visit_event(order)
    assert (event.body["to"]["value"], event.body["state"]) == ("doctor-7", "asked")
    assert event.event_id == visit_event(order).event_id


def test_a_practice_alone_is_asked_as_an_organization(desk: BridgeDesk) -> None:
    def practice(by_id: dict[str, dict[str, Any]]) -> None:
        del by_id["gp"]["practitioner"]

    bundle = visit_bundle(visit(desk, take(desk, plan(practice))), [], test_data=False)
    assert bundle is not None
    owner = bundle["entry"][0]["resource"]["owner"]["reference"]
    assert owner == f"Organization?identifier={BASE}/organization|practice-7"


def test_without_a_family_doctor_nobody_is_asked_and_the_nurse_finds_it(desk: BridgeDesk) -> None:
    take(desk, plan(without_family_doctor))
    assert not [row for row in desk.table("delivery") if row["kind"] == "visit"]
    desk.wake(MADE + 72 * HOUR)
    assert inbox(desk) == [("FIRST-VISIT", "overdue")]


# --- overdue, and closed ---


def test_what_is_not_made_in_72_hours_is_an_item_of_the_nurses_until_it_is(desk: BridgeDesk) -> None:
    plan_id = take(desk, plan())
    due = dt.datetime(2026, 11, 27, 2, 0, tzinfo=dt.UTC)
    desk.wake(due - dt.timedelta(seconds=1))
    assert inbox(desk) == []
    desk.wake(due)
    assert inbox(desk) == [("FIRST-VISIT", "overdue")]
    (alert,) = [a for a in desk.store.alerts.open_alerts() if a.finding.rule == "FIRST-VISIT"]
    order = desk.store.deliveries.load_alert_order(alert.alert_id)
    assert order is not None
    assert (order.asked, order.owner.value, order.gateway) == ("nurse", "nurse-1", None)
    assert "72" in order.reason
    assert [(one.role, one.to.value) for one in order.copies] == [("family_doctor", "doctor-7")]
    assert order.copies[0].text.startswith("The first visit that you were asked for")
    # Made at last: the item is over.
    done = WorkReport(plan_id, WorkState.COMPLETED, "doctor-7", due + HOUR)
    desk.now = due + HOUR
    assert desk.store.first_visits.take_report(done, desk.now)
    assert not desk.store.first_visits.take_report(done, desk.now)
    desk.wake()
    assert inbox(desk) == []
    closed = desk.store.alerts.alert(alert.alert_id)
    assert closed is not None
    assert (closed.state, dict(closed.finding.reason)["text"]) == (AlertState.WITHDRAWN, "over")
    # Found again from what was kept, as any finding.
    assert [found_again(one) for one in desk.store.judgements.of_alert(alert.alert_id)] == [True, True]


def test_what_is_made_in_time_never_was_an_item(desk: BridgeDesk) -> None:
    plan_id = take(desk, plan())
    desk.now += HOUR
    report = WorkReport(plan_id, WorkState.COMPLETED, "doctor-7", desk.now)
    assert desk.store.first_visits.take_report(report, desk.now)
    desk.wake(MADE + 100 * HOUR)
    assert inbox(desk) == []
    # A later version of the plan does not ask again for what was done.
    take(desk, plan(lambda b: b["m1"]["medicationCodeableConcept"].update(text="Other"), MADE + HOUR))
    assert visit(desk, plan_id).state is VisitState.DONE


@pytest.mark.parametrize("state", [WorkState.WAITING, WorkState.ACCEPTED, WorkState.BEGUN])
def test_taking_it_on_is_not_making_it(desk: BridgeDesk, state: WorkState) -> None:
    plan_id = take(desk, plan())
    report = WorkReport(plan_id, state, "doctor-7", desk.now)
    assert not desk.store.first_visits.take_report(report, desk.now)
    desk.wake(MADE + 72 * HOUR)
    assert inbox(desk) == [("FIRST-VISIT", "overdue")]


def test_what_is_given_back_is_the_nurses_at_once(desk: BridgeDesk) -> None:
    plan_id = take(desk, plan())
    deliver(desk)
    report = WorkReport(plan_id, WorkState.REFUSED, "doctor-7", desk.now)
    assert desk.store.first_visits.take_report(report, desk.now)
    desk.wake()
    assert inbox(desk) == [("FIRST-VISIT", "given_back")]
    done = WorkReport(plan_id, WorkState.COMPLETED, "doctor-8", desk.now + HOUR)
    assert desk.store.first_visits.take_report(done, desk.now + HOUR)
    desk.wake(desk.now + HOUR)
    assert inbox(desk) == []


def test_a_plan_that_is_over_takes_the_visit_back(desk: BridgeDesk) -> None:
    plan_id = take(desk, plan())

    def revoke(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["c"]["status"] = "revoked"

    take(desk, plan(revoke, MADE + HOUR))
    assert visit(desk, plan_id).state is VisitState.WITHDRAWN
    desk.wake(MADE + 100 * HOUR)
    assert inbox(desk) == []


# --- consent ---


async def test_a_practice_of_another_organization_is_asked_once_the_patient_consents(tmp_path: Path) -> None:
    to = "organization:practice-7"
    desk = BridgeDesk(tmp_path, destinations=(CLINIC,), consent_needed={CLINIC: to})
    desk.now = MADE + HOUR
    try:
        take(desk, plan())
        (row,) = [row for row in desk.table("patient") if row["family_doctor_value"]]
        connector = ScriptedConnector()
        loop = DeliveryLoop(desk.store.deliveries, {CLINIC: connector}, lambda: desk.now, log=silent())
        await loop.round(Among(frozenset({CLINIC})))
        assert [(one.data, one.count) for one in desk.store.deliveries.held()] == [("medication", 1)]
        assert connector.taken == []
        desk.store.access.give_consent(
            row["id"], to, DataType.MEDICATION, text_version="1", by=row["id"], now=desk.now
        )
        await loop.round(Among(frozenset({CLINIC})))
        (order,) = connector.taken
        assert isinstance(order, VisitOrder)
    finally:
        desk.close()


# --- at the hospital's own server ---


@asynccontextmanager
async def hospital(folder: Path) -> AsyncIterator[tuple[FhirR4Connector, Desk]]:
    server, base = fhir_server(folder)
    await server.start()
    try:
        async with Desk(base) as staff, FhirR4Connector(base, test_data=True) as connector:
            await staff.know("Patient", f"{BASE}/patient", "42")
            for one in ("nurse-1", "physician-1"):
                await staff.know("Practitioner", f"{BASE}/staff", one)
            await staff.know("Organization", f"{BASE}/organization", "ward-1")
            yield connector, staff
    finally:
        await server.stop()


async def test_a_real_server_has_one_task_and_its_completion_is_read_back(
    tmp_path: Path, desk: BridgeDesk
) -> None:
    async with hospital(tmp_path / "fhir") as (connector, staff):
        plan_id = take(desk, plan())
        loop = DeliveryLoop(desk.store.deliveries, {"fhir": connector}, lambda: desk.now, log=silent())
        # A family doctor whom the server does not know is a dead letter that people see, and can mend.
        await loop.round()
        (letter,) = desk.store.alerts.dead_letters()
        assert (letter.key.kind, await staff.find("Task")) == ("visit", [])
        await staff.know("Practitioner", f"{BASE}/staff", "doctor-7")
        desk.store.deliveries.retry_dead(letter.key, desk.now)
        await loop.round()
        (task,) = await staff.find("Task")
        assert (task["status"], task["performerType"][0]["coding"][0]["code"]) == ("requested", "62247001")
        # Asked again as it was, and by a worker who knows nothing: one Task, as it was.
        order: Order = visit_again(desk, plan_id)
        for _ in range(2):
            await connector.deliver(order)
        assert [one["meta"]["versionId"] for one in await staff.find("Task")] == [task["meta"]["versionId"]]
        # The practice takes it on; then the plan changes: what is new is there, and it is still taken on.
        await staff.take_on(task)
        take(
            desk,
            plan(lambda b: b["m1"]["medicationCodeableConcept"].update(text="Amlodipine 10 mg"), MADE + HOUR),
        )
        await loop.round()
        (task,) = await staff.find("Task")
        assert task["status"] == "accepted"
        assert "Amlodipine 10 mg: 1 tablet in the morning" in [
            one.get("valueString") for one in task["input"]
        ]
        asking = WorkOrders(
            desk.store.alerts,
            desk.store.first_visits,
            connector,
            lambda: desk.now,
            interval_s=1,
            log=silent(),
            on_acknowledged=list,
        )
        await asking.round()
        assert desk.store.first_visits.delivered_visits() == [plan_id]
        await staff.take_on(task, "completed")
        await asking.round()
        assert desk.store.first_visits.delivered_visits() == []
        desk.wake(MADE + 100 * HOUR)
        assert inbox(desk) == []


def visit_again(desk: BridgeDesk, plan_id: UUID) -> VisitOrder:
    with reading(desk.store.engine) as connection:
        order = visit_order(connection, plan_id, "en")
    assert order is not None
    return order


# --- the whole path, each part a process of its own ---


def configured(folder: Path, base: str, broker_port: int, mllp_port: int) -> Path:
    write_private(folder / "bridge.key", bridge_keys())
    who = {"nurse": ("staff", "nurse-1"), "organization": ("organization", "ward-1")}
    named = [
        f'{name} = {{ system = "{BASE}/{kind}", value = "{value}" }}' for name, (kind, value) in who.items()
    ]
    lines = "\n".join(named)
    (folder / "bridge.toml").write_text(f"""
site = "ward"
state = "{folder}"
zone = "Asia/Shanghai"
[keys]
bridge = "{folder}/bridge.key"
[broker]
host = "127.0.0.1"
port = {broker_port}
[fhir]
base_url = "{base}"
test_data = true
[mllp]
port = {mllp_port}
[discharge]
patient_system = "{BASE}/patient"
{lines}
authorities = {{ HOSP = "{BASE}/patient", STAFF = "{BASE}/staff", VISITS = "{BASE}/stay" }}
[[discharge.programme]]
system = "I10"
code = "I10"
programme = "hypertension"
""")
    return folder / "bridge.toml"


async def test_an_a03_over_the_wire_becomes_a_task_at_the_hospitals_server(tmp_path: Path) -> None:
    (tmp_path / "bridge").mkdir()
    mosquitto, broker_port = broker(tmp_path / "broker")
    mllp_port = free_port()

    async with hospital(tmp_path / "fhir") as (connector, staff):
        base = str(connector._client.base_url).rstrip("/")  # noqa: SLF001 - where the server is
        config = configured(tmp_path / "bridge", base, broker_port, mllp_port)
        bridge = Program(
            "bridge",
            [sys.executable, "-m", "cloud_bridge.cli", "run", "--config", str(config)],
            log=tmp_path / "bridge.log",
            ready=lambda: accepts(mllp_port),
        )
        await staff.know("Practitioner", f"{BASE}/staff", "doctor-7")
        await mosquitto.start()
        try:
            await bridge.start()
            now = dt.datetime.now(dt.UTC).replace(microsecond=0)
            home = (("20261124100000+0800", f"{now:%Y%m%d%H%M%S}+0000"),)
            message = a03(made=now, changes=home)

            def send() -> bytes:
                with MLLPClient("127.0.0.1", mllp_port) as client:
                    answer: bytes = client.send_message(message.decode())
                    return answer

            assert b"MSA|AA|A1" in await asyncio.to_thread(send)
            for _ in range(200):
                if tasks := await staff.find("Task"):
                    break
                await asyncio.sleep(0.05)
            (task,) = [one for one in tasks if one["performerType"][0]["coding"][0]["code"] == "62247001"]
            assert task["restriction"]["period"]["end"] == (now + 72 * HOUR).isoformat()
        finally:
            await bridge.stop()
            await mosquitto.stop()
        log = (tmp_path / "bridge.log").read_text()
        assert not [word for word in ("doctor-7", "stay-1", "Essential") if word in log]
