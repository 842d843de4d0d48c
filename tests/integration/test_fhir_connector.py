"""The FHIR connector against a real FHIR R4 server, and against one that behaves badly."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from cloud_bridge.alerts import AlertState, Outcome, Request
from cloud_bridge.connectors.base import Identifier, WithdrawnReading, WorkState
from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.rules.base import Standing
from cloud_bridge.rules.care import CareRole
from tests.doubles.bridge_orders import BASE, CARE, alert_order, order
from tests.doubles.bridge_readings import reading
from tests.doubles.fhir_bindings import wrong_bindings
from tests.doubles.odd_server import http, odd_server
from tests.doubles.phd_guide import PHD_DEVICE, broken_rules, holds, rules_of
from virtual_home.hospital import Desk
from virtual_home.servers import fhir_server
from wire_format.errors import KitelineError, Misconfigured, Rejected, Unreachable

KINDS = ("Observation", "Device", "DetectedIssue", "Task", "CommunicationRequest", "Provenance")
ALERT = UUID(int=77)


@asynccontextmanager
async def hospital(folder: Any) -> AsyncIterator[tuple[FhirR4Connector, Desk]]:
    server, base = fhir_server(folder)
    await server.start()
    try:
        async with Desk(base) as desk, FhirR4Connector(base, test_data=True) as connector:
            for patient in ("42", "43"):
                await desk.know("Patient", f"{BASE}/patient", patient)
            for staff in ("nurse-1", "physician-1"):
                await desk.know("Practitioner", f"{BASE}/staff", staff)
            await desk.know("Organization", f"{BASE}/organization", "ward-1")
            yield connector, desk
    finally:
        await server.stop()


async def contents(desk: Desk) -> Counter[str]:
    return Counter({kind: len(await desk.find(kind)) for kind in KINDS})


async def test_an_alert_arrives_whole_once_and_valid(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        # Twelve workers who know nothing of each other.
        await asyncio.gather(*(connector.deliver(alert_order()) for _ in range(12)))
        expected = Counter(
            Observation=6, Device=2, DetectedIssue=1, Task=1, CommunicationRequest=2, Provenance=2
        )
        assert await contents(desk) == expected
        # And the readings themselves, which the alert brought along already.
        for one in alert_order().readings:
            await connector.deliver(one)
        assert await contents(desk) == expected
        await follows_the_guide(desk)


async def follows_the_guide(desk: Desk) -> None:
    """What the Personal Health Device guide says, as FHIRPath; and what R4 binds."""
    for kind in KINDS:
        for one in await desk.find(kind):
            assert (kind, broken_rules(one), wrong_bindings(one)) == (kind, [], [])
    (phd,) = [d for d in await desk.find("Device") if rules_of(d) is PHD_DEVICE]
    assert holds(phd, "identifier.where(type.coding.code = 'SYSID').value = 'C0-49-5F-FF-FE-00-00-01'")
    assert holds(phd, "specialization.systemType.coding.where(code = '528391').exists()")


async def test_what_changes_here_changes_there_and_what_staff_did_stays(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        await connector.deliver(alert_order(standing=Standing.UNCONFIRMED))
        (task,) = await desk.find("Task")
        assert (task["status"], task["businessStatus"]["text"]) == ("requested", "unconfirmed")
        assert await connector.work_reports([ALERT]) == [
            replace(report, state=WorkState.WAITING) for report in await connector.work_reports([ALERT])
        ]
        await desk.take_on(task | {"note": [{"text": "no answer, calling again"}]}, "in-progress")
        await connector.deliver(alert_order(revision=2))
        (task,) = await desk.find("Task")
        assert (task["status"], task["businessStatus"]["text"]) == ("in-progress", "confirmed")
        assert task["note"] == [{"text": "no answer, calling again"}]
        (report,) = await connector.work_reports([ALERT, UUID(int=1)])
        assert (report.alert_id, report.state) == (ALERT, WorkState.BEGUN)
        assert report.by is not None
        assert report.by.startswith("Practitioner/")
        await connector.deliver(alert_order(revision=3, state=AlertState.WITHDRAWN))
        (issue,) = await desk.find("DetectedIssue")
        assert issue["status"] == "cancelled"
        assert {m["status"] for m in await desk.find("CommunicationRequest")} == {"revoked"}
        (task,) = await desk.find("Task")
        assert (task["status"], task["businessStatus"]["text"]) == ("in-progress", "withdrawn")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("accepted", WorkState.ACCEPTED),
        ("in-progress", WorkState.BEGUN),
        ("rejected", WorkState.REFUSED),
        ("cancelled", WorkState.REFUSED),
        ("completed", WorkState.COMPLETED),
    ],
)
async def test_what_staff_do_with_a_work_order_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, status: str, state: WorkState
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        await connector.deliver(alert_order())
        (task,) = await desk.find("Task")
        said = {"coding": [{"system": "urn:kiteline:outcome", "code": "medication_changed"}]}
        output = [{"type": {"text": "outcome"}, "valueCodeableConcept": said}]
        await desk.take_on(task | {"output": output}, status)
        (report,) = await connector.work_reports([ALERT])
        assert (report.state, report.outcome) == (state, Outcome.MEDICATION_CHANGED)
        assert report.request == Request()


async def test_cancelled_is_somebodys_refusal_only_if_we_did_not_say_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        states = (AlertState.OPEN, AlertState.WITHDRAWN, AlertState.OPEN)
        expected = ("requested", "cancelled", "requested")
        for revision, (state, status) in enumerate(zip(states, expected, strict=True), start=1):
            await connector.deliver(alert_order(revision=revision, state=state))
            (task,) = await desk.find("Task")
            assert (task["status"], "statusReason" in task) == (status, status == "cancelled")
            # What is asked anew may not have reached the server yet: our own word is no answer to it.
            (report,) = await connector.work_reports([ALERT])
            assert report.state is WorkState.WAITING
        why = {"statusReason": {"text": "not our patient"}}
        await desk.take_on(task | why, "cancelled")
        await connector.deliver(alert_order(revision=4))  # before anybody read it back
        (task,) = await desk.find("Task")
        assert (task["status"], task["statusReason"]) == ("cancelled", why["statusReason"])
        (report,) = await connector.work_reports([ALERT])
        assert report.state is WorkState.REFUSED


async def test_the_next_role_gets_the_same_work_order_with_its_history(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        await connector.deliver(alert_order())
        (task,) = await desk.find("Task")
        await desk.take_on(task, "rejected")
        nurse = task["owner"]["reference"]
        asked = replace(alert_order(revision=2, escalation=1), asked=CareRole.PHYSICIAN)
        for _ in range(2):
            await connector.deliver(asked)
            (task,) = await desk.find("Task")
            assert (task["status"], task["owner"]["reference"] == nurse) == ("requested", False)
        (report,) = await connector.work_reports([ALERT])
        assert (report.state, report.request) == (WorkState.WAITING, Request(0, 1))
        done = alert_order(revision=3, escalation=1, state=AlertState.RESOLVED, outcome=Outcome.CALLED)
        await connector.deliver(replace(done, asked=CareRole.PHYSICIAN))
        (report,) = await connector.work_reports([ALERT])
        assert (report.state, report.outcome) == (WorkState.COMPLETED, Outcome.CALLED)


async def test_an_amended_reading_is_the_same_observation(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        first = order(reading("150"))
        await connector.deliver(first)
        before = {o["id"] for o in await desk.find("Observation")}
        await connector.deliver(replace(first, revision=2))
        after = await desk.find("Observation")
        assert {o["id"] for o in after} == before
        assert {o["status"] for o in after} == {"amended"}


async def test_a_reading_that_was_another_persons_is_not_left_with_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        first = order(reading("150"))
        await connector.deliver(first)
        other = replace(CARE, patient=Identifier(f"{BASE}/patient", "43"))
        await connector.deliver(replace(first, care=other))
        patients = {p["identifier"][0]["value"]: f"Patient/{p['id']}" for p in await desk.find("Patient")}
        found = await desk.find("Observation")
        by_patient = {
            who: {o["status"] for o in found if o["subject"]["reference"] == reference}
            for who, reference in patients.items()
        }
        assert by_patient == {"42": {"entered-in-error"}, "43": {"final"}}
        await connector.deliver(replace(first, care=other))
        assert len(await desk.find("Observation")) == len(found)


async def test_a_reading_that_became_nobodys_and_came_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        first = order(reading("150"))
        await connector.deliver(first)
        taken_back = WithdrawnReading(first.reading.id)
        for _ in range(2):
            await connector.deliver(taken_back)
            found = await desk.find("Observation")
            assert {o["status"] for o in found} == {"entered-in-error"}
        await connector.deliver(replace(first, revision=3))
        again = await desk.find("Observation")
        assert {o["id"] for o in again} == {o["id"] for o in found}
        assert {o["status"] for o in again} == {"amended"}


async def test_an_alert_whose_readings_were_somebody_elses_is_withdrawn_without_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        await connector.deliver(alert_order())
        gone = replace(alert_order(revision=2, state=AlertState.WITHDRAWN), readings=())
        await connector.deliver(gone)
        (issue,), (task,) = await desk.find("DetectedIssue"), await desk.find("Task")
        assert (issue["status"], task["status"]) == ("cancelled", "cancelled")
        assert not {"implicated", "evidence", "input"} & (issue.keys() | task.keys())
        await connector.deliver(gone)
        assert (await desk.find("Task"))[0]["meta"]["versionId"] == task["meta"]["versionId"]


async def test_a_patient_whom_the_hospital_does_not_have_is_refused_without_a_trace(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        stranger = replace(CARE, patient=Identifier(f"{BASE}/patient", "nobody"))
        with pytest.raises(Rejected, match="is the patient, nurse, physician and organization") as raised:
            await connector.deliver(order(reading("150"), care=stranger))
        assert "nobody" not in str(raised.value)
        assert sum((await contents(desk)).values()) == 0


EMPTY = b'{"resourceType": "Bundle", "type": "searchset"}'
OUTCOME = b'{"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": "192 of Li"}]}'


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http("500 Oops"), Unreachable),
        (http("503 Later"), Unreachable),
        (http("429 Too Many"), Unreachable),
        (http("409 Conflict"), Unreachable),
        (http("401 Who"), Misconfigured),
        (http("403 No"), Misconfigured),
        (http("422 Invalid", OUTCOME), Rejected),
        (http("404 Missing", b"<html>"), Rejected),
        (http("200 OK", b"<html>welcome</html>", "text/html"), Unreachable),
        (http("200 OK", b"[]"), Unreachable),
        (http("200 OK", b'{"resourceType": "Patient"}'), Unreachable),
        (http("200 OK", EMPTY), Unreachable),
        (b"garbage\r\n\r\n", Unreachable),
        (b"", Unreachable),
        (None, Unreachable),
    ],
)
async def test_a_server_that_misbehaves(answer: bytes | None, error: type[KitelineError]) -> None:
    search = http("200 OK", EMPTY)
    async with odd_server(search, answer) as base, FhirR4Connector(base, timeout_s=0.5) as connector:
        with pytest.raises(error) as raised:
            await connector.deliver(order(reading("150")))
        assert "192" not in str(raised.value)


async def test_a_transaction_taken_in_part_is_refused() -> None:
    ours = len((await bundle_of_one())["entry"])
    entries = b",".join([b'{"response": {"status": "422"}}'] * ours)
    body = b'{"resourceType": "Bundle", "type": "transaction-response", "entry": [' + entries + b"]}"
    async with (
        odd_server(http("200 OK", EMPTY), http("200 OK", body)) as base,
        FhirR4Connector(base) as connector,
    ):
        with pytest.raises(Rejected, match="a part of a transaction"):
            await connector.deliver(order(reading("150")))


async def bundle_of_one() -> dict[str, Any]:
    from cloud_bridge.connectors.fhir_map import reading_bundle  # noqa: PLC0415 - only to count its entries

    bundle = reading_bundle(order(reading("150")), test_data=False)
    assert bundle is not None
    return bundle


NONSENSE: list[Any] = [
    {},
    {"resource": None},
    {"resource": []},
    {"resource": {"resourceType": "Task"}},
    {"resource": {"resourceType": "Task", "status": "accepted", "meta": {}}},
    {"resource": {"resourceType": "Task", "status": ["accepted"], "meta": {"lastUpdated": 1}}},
    {"resource": {"resourceType": "OperationOutcome"}},
]


@pytest.mark.parametrize(
    "entries", [[one] for one in NONSENSE] + [{"a": 1}, "text", [None], [1]], ids=lambda one: str(one)[:40]
)
async def test_nonsense_about_work_orders_ends_nothing(entries: Any) -> None:
    body = json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()
    async with odd_server(http("200 OK", body)) as base, FhirR4Connector(base) as connector:
        assert await connector.work_reports([ALERT]) == []


async def test_pages_without_an_end_are_left() -> None:
    again = {"link": [{"relation": "next", "url": "Task?page=2"}]}
    body = json.dumps({"resourceType": "Bundle", "type": "searchset", **again}).encode()
    async with odd_server(*[http("200 OK", body)] * 60) as base, FhirR4Connector(base) as connector:
        with pytest.raises(Unreachable, match="no end of pages"):
            await connector.work_reports([ALERT])


async def test_one_task_that_cannot_be_read_hides_no_other() -> None:
    ours = [{"system": "urn:kiteline:task", "value": str(ALERT)}]
    good = {"resourceType": "Task", "status": "accepted", "identifier": ours}
    good["meta"] = {"lastUpdated": "2026-11-24T08:00:00Z"}
    odd = [{**good, "identifier": [{**ours[0], "value": "x"}]}, {**good, "meta": {"lastUpdated": "today"}}]
    entries = [{"resource": one} for one in (*odd, good)]
    body = json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()
    async with odd_server(http("200 OK", body)) as base, FhirR4Connector(base) as connector:
        (report,) = await connector.work_reports([ALERT])
    assert (report.alert_id, report.state) == (ALERT, WorkState.ACCEPTED)


async def test_a_server_that_is_not_there_and_a_token() -> None:
    async with FhirR4Connector("http://127.0.0.1:1/fhir") as connector:
        with pytest.raises(Unreachable, match="does not answer"):
            await connector.work_reports([ALERT])
    async with FhirR4Connector("http://127.0.0.1:1/fhir", token="t") as connector:  # noqa: S106 - an example
        assert connector._client.headers["Authorization"] == "Bearer t"  # noqa: SLF001 - never printed anywhere
        assert isinstance(connector._client, httpx.AsyncClient)  # noqa: SLF001 - as above


async def test_a_nurse_looks_again_when_only_the_wording_is_new(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with hospital(tmp_path_factory.mktemp("h")) as (connector, desk):
        await connector.deliver(alert_order(standing=Standing.UNCONFIRMED))
        (seen,) = await desk.find("Task")
        await connector.deliver(alert_order(revision=2))
        await desk.take_on(seen)
        (task,) = await desk.find("Task")
        assert (task["status"], task["businessStatus"]["text"]) == ("accepted", "confirmed")
        with pytest.raises(Unreachable, match="412"):
            await desk.take_on(seen, "rejected")
