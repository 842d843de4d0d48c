"""Work orders at the hospital: asked of the next role, asked again, and what came of them, both ways."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from cloud_bridge.alerts import AlertState, Outcome
from cloud_bridge.connectors.fhir_map import alert_bundle
from cloud_bridge.connectors.fhir_work import changed_task, outcome_of, request_of
from cloud_bridge.connectors.hl7_map import Routing, alert_message
from cloud_bridge.connectors.webhook_map import alert_event, message_events
from cloud_bridge.rules.care import CareRole
from tests.doubles.bridge_orders import alert_order
from tests.doubles.bridge_readings import NOW


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def task_of(status: str = "requested", **changes: Any) -> dict[str, Any]:
    (task,) = resources(alert_bundle(alert_order(), [], test_data=False), "Task")
    return {**task, "id": "t", "meta": {"versionId": "1"}, "status": status, **changes}


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ("requested", "requested"),
        ("accepted", "requested"),
        ("in-progress", "requested"),
        ("rejected", "requested"),
        ("completed", "completed"),  # finished is finished
    ],
)
def test_the_next_role_is_asked_with_the_same_work_order(theirs: str, expected: str) -> None:
    due = NOW + dt.timedelta(hours=1)
    one = replace(alert_order(escalation=1, due_at=due, revision=2), asked=CareRole.PHYSICIAN)
    changed = changed_task(one, task_of(theirs), "Practitioner/9", ["a", "b"])
    assert changed is not None
    assert changed["status"] == expected
    assert request_of(changed) == (0, 1)
    if expected == "requested":
        assert changed["owner"] == {"reference": "Practitioner/9"}
        assert changed["performerType"][0]["coding"][0]["code"] == "309343006"
        assert changed["restriction"]["period"]["end"] == due.isoformat()
    # What the physician does with it stays theirs.
    taken = {**changed, "status": "accepted", "owner": {"reference": "Practitioner/10"}}
    assert changed_task(replace(one, reason="Other"), taken, "Practitioner/9", ["a", "b"]) == {
        **taken,
        "description": "Other. Call now.",
    }


def test_an_escalated_work_order_that_is_new_there_names_its_owner() -> None:
    for role, owner in ((CareRole.PHYSICIAN, "Practitioner?"), (CareRole.ORGANIZATION, "Organization?")):
        bundle = alert_bundle(replace(alert_order(), asked=role), [], test_data=False)
        (task,) = resources(bundle, "Task")
        assert task["owner"]["reference"].startswith(owner)


def test_what_is_work_again_is_requested_again_whatever_came_of_it_before() -> None:
    before = task_of("completed", output=[output("admitted")])
    changed = changed_task(alert_order(reopened=1), before, "Practitioner/1", ["a", "b"])
    assert changed is not None
    assert (changed["status"], outcome_of(changed), request_of(changed)) == ("requested", None, (1, 0))
    gone = changed_task(
        alert_order(reopened=1, state=AlertState.WITHDRAWN), before, "Practitioner/1", ["a", "b"]
    )
    assert gone is not None
    assert gone["status"] == "completed"


def output(code: str, system: str = "urn:kiteline:outcome") -> dict[str, Any]:
    return {"type": {"text": "x"}, "valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({}, None),
        ({"output": [output("called")]}, Outcome.CALLED),
        ({"output": [{"valueString": "free text"}, {"valueCode": "admitted"}]}, Outcome.ADMITTED),
        ({"output": [{"valueString": "medication_changed"}]}, Outcome.MEDICATION_CHANGED),
        ({"statusReason": {"coding": [{"code": "false_alarm"}]}}, Outcome.FALSE_ALARM),
        ({"output": [output("something else")], "statusReason": {"text": "called"}}, None),
    ],
)
def test_an_outcome_is_read_where_it_is_said_in_our_words(
    said: dict[str, Any], outcome: Outcome | None
) -> None:
    assert outcome_of(said) is outcome


def test_our_outcome_stands_beside_what_staff_wrote() -> None:
    theirs = {"type": {"text": "call"}, "valueString": "answered"}
    done = alert_order(state=AlertState.RESOLVED, outcome=Outcome.CALLED)
    changed = changed_task(done, task_of("in-progress", output=[theirs]), "Practitioner/1", ["a", "b"])
    assert changed is not None
    assert (changed["status"], changed["output"][0], outcome_of(changed)) == (
        "completed",
        theirs,
        Outcome.CALLED,
    )
    own = task_of("completed", output=[output("admitted", "https://hospital.example")])
    assert changed_task(done, own, "Practitioner/1", ["a", "b"]) is None  # they said it first
    (new,) = resources(alert_bundle(done, [], test_data=False), "Task")
    assert (new["status"], outcome_of(new)) == ("completed", Outcome.CALLED)


@pytest.mark.parametrize("written", ["1.2.3", "x", None, "1234567.0"])
def test_a_request_that_cannot_be_read_is_the_first_one(written: str | None) -> None:
    assert request_of({"input": [{"type": {"text": "request"}, "valueString": written}]}) == (0, 0)


def test_the_patient_is_not_disturbed_in_quiet_hours() -> None:
    at = NOW + dt.timedelta(hours=9)
    for order_, occurs in (
        (alert_order(), None),
        (replace(alert_order(), patient_not_before=at), at.isoformat()),
    ):
        copy, message = resources(alert_bundle(order_, [], test_data=False), "CommunicationRequest")
        assert message.get("occurrenceDateTime") == occurs
        assert "occurrenceDateTime" not in copy


def test_other_systems_hear_who_is_asked_now_and_what_came_of_it() -> None:
    asked = replace(alert_order(escalation=1, revision=2), asked=CareRole.PHYSICIAN)
    body = alert_event(asked).body
    assert (body["asked"], body["to"]["value"], body["outcome"]) == ("physician", "physician-1", None)
    done = alert_event(alert_order(state=AlertState.RESOLVED, outcome=Outcome.ADMITTED)).body
    assert (done["state"], done["outcome"], done["to"]["value"]) == ("resolved", "admitted", "nurse-1")
    assert "|escalate|" in alert_message(asked, Routing("", "", "T"), NOW).text
    quiet = message_events(replace(asked, patient_not_before=NOW))
    assert [e.body["not_before"] for e in quiet] == [None, NOW.isoformat()]
