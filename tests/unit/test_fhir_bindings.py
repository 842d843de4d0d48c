"""The table of required bindings sees what is wrong: a check that cannot fail proves nothing."""

import json
from copy import deepcopy
from typing import Any

import pytest

from cloud_bridge.connectors.fhir_map import alert_bundle, to_json
from tests.doubles.bridge_orders import alert_order
from tests.doubles.fhir_bindings import wrong_bindings


def sent() -> dict[str, dict[str, Any]]:
    """One resource of each kind that an alert brings, as JSON has it; of Observations the panel."""
    entries = json.loads(to_json(alert_bundle(alert_order(), [], test_data=True)))["entry"]
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        resource = entry["resource"]
        kind = resource["resourceType"]
        if kind != "Observation" or "component" in resource:
            found.setdefault(kind, resource)
    return found


def test_what_we_send_breaks_none() -> None:
    assert [(kind, wrong_bindings(one)) for kind, one in sent().items()] == [(kind, []) for kind in sent()]


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("Observation", ("status",), "done", "Observation.status is 'done'"),
        ("Observation", ("status",), None, "Observation.status is missing"),
        ("Observation", ("component", 0, "valueQuantity", "code"), "mmHg", "valueQuantity is no quantity"),
        ("Observation", ("component", 0, "valueQuantity", "code"), "kPa", "has no place for"),
        ("Observation", ("component", 0, "valueQuantity", "system"), "urn:x", "valueQuantity is no quantity"),
        ("Observation", ("component", 0, "valueQuantity", "comparator"), "~", "comparator"),
        ("Observation", ("identifier", 0, "use"), "mine", "identifier.use is 'mine'"),
        ("Observation", ("identifier", 0, "value"), "", "identifier names nothing"),
        ("Observation", ("code", "coding", 1, "code"), "8867-4", "demands its code"),
        ("Device", ("status",), "on", "Device.status is 'on'"),
        ("DetectedIssue", ("severity",), "severe", "DetectedIssue.severity is 'severe'"),
        ("Task", ("status",), "open", "Task.status is 'open'"),
        ("Task", ("intent",), "todo", "Task.intent is 'todo'"),
        ("Task", ("priority",), "now", "Task.priority is 'now'"),
        ("CommunicationRequest", ("status",), "sent", "CommunicationRequest.status is 'sent'"),
        ("Provenance", ("entity", 0, "role"), "origin", "Provenance.entity.role is 'origin'"),
        ("Provenance", ("agent",), [], "Provenance.agent is missing"),
    ],
)
def test_each_breach_is_seen(kind: str, path: tuple[str | int, ...], value: object, said: str) -> None:
    resource = deepcopy(sent()[kind])
    at: Any = resource
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert any(said in one for one in wrong_bindings(resource)), wrong_bindings(resource)
