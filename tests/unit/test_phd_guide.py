"""The guide's rules see what is wrong: damage a part, and the rule that speaks of it says so."""

import json
import re
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from cloud_bridge.connectors.fhir_map import alert_bundle, to_json
from tests.doubles import phd_guide
from tests.doubles.bridge_orders import alert_order
from tests.doubles.phd_guide import broken_rules, holds, rules_of

pytestmark = pytest.mark.no_cover  # about a guide of others, which has no floor

ALL = [
    (name, rule)
    for name in dir(phd_guide)
    if name.isupper()
    for rule in getattr(phd_guide, name)
    if name[0] != "_"
]


def sent() -> list[dict[str, Any]]:
    """What an alert brings, with references as a server resolves them, and the clock read in this visit."""
    order = alert_order()
    readings = []
    for one in order.readings:
        m = one.reading.measurement
        time = m.time.model_copy(update={"clock_offset_ms": 1500})
        reading = replace(one.reading, measurement=m.model_copy(update={"time": time}))
        readings.append(replace(one, reading=reading))
    text = to_json(alert_bundle(replace(order, readings=readings), [], test_data=True))
    for number, entry in enumerate(json.loads(text)["entry"]):
        text = text.replace(f'"reference":"{entry["fullUrl"]}"', _reference(entry, number))
    text = re.sub(r'"(Patient|Practitioner|Organization)\?identifier=[^"]*"', r'"\1/1"', text)
    return [entry["resource"] for entry in json.loads(text)["entry"]]


def _reference(entry: dict[str, Any], number: int) -> str:
    return f'"reference":"{entry["resource"]["resourceType"]}/{number}"'


def test_what_we_send_follows_the_guide() -> None:
    assert [rule for one in sent() for rule in broken_rules(one)] == []


@pytest.mark.parametrize(("group", "rule"), ALL)
def test_every_rule_can_be_broken(group: str, rule: str) -> None:
    """Take one part away, or change it: some such damage must break this rule, in what it speaks of."""
    about = [one for one in sent() if rule in rules_of(one)]
    assert about, group
    assert any(not holds(damaged, rule) for one in about for damaged in damages(one)), rule


def damages(resource: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for path in paths(resource):
        for change in (None, "x", "duplicate"):
            one = deepcopy(resource)
            at: Any = one
            for step in path[:-1]:
                at = at[step]
            if change is None:
                del at[path[-1]]
            elif change == "x" and isinstance(at[path[-1]], str):
                at[path[-1]] = "x"
            elif change == "duplicate" and isinstance(at, list):
                at.append(deepcopy(at[path[-1]]))
            else:
                continue
            if "resourceType" in one:
                found.append(one)
    extra = {"valueQuantity": {"value": 1, "code": "1", "system": "x"}, "dataAbsentReason": {"text": "x"}}
    return [*found, *({**resource, name: value} for name, value in extra.items())]


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, one in inside for p in ((*before, key), *paths(one, (*before, key)))]
