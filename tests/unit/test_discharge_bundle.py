"""What is no bundle, or no whole one, is said to be so; all faults at once."""

import datetime as dt
from typing import Any

import pytest

from cloud_bridge.discharge.fhir_plan import plan_of
from cloud_bridge.discharge.plan import PlanRefusedError
from tests.doubles.discharge_plans import MADE, TERMS, plan

NOW = MADE + dt.timedelta(hours=1)


def test_all_faults_are_said_at_once() -> None:
    def many(by_id: dict[str, dict[str, Any]]) -> None:
        for name in ("systolic", "diastolic"):
            by_id[name]["target"][0]["detailQuantity"]["code"] = "mmHg"
        by_id["s"]["code"] = {}

    with pytest.raises(PlanRefusedError) as refused:
        plan(many)
    assert [one.where for one in refused.value.faults] == [
        "Goal/systolic.target[0].detailQuantity",
        "Goal/diastolic.target[0].detailQuantity",
        "ServiceRequest/s.code",
    ]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "Bundle: this is no FHIR R4 Bundle"),
        ([], "Bundle: this is no FHIR R4 Bundle"),
        ({"resourceType": "Patient"}, "Bundle: this is no FHIR R4 Bundle"),
        ({"resourceType": "Bundle", "type": "collection", "entry": {}}, "Bundle.entry: it must be a list"),
        (
            {"resourceType": "Bundle", "type": "collection", "entry": [1]},
            "Bundle.entry 1: it has no resource",
        ),
        ({"resourceType": "Bundle", "type": "collection"}, "Bundle.timestamp: write a date and a time"),
        ({"resourceType": "Bundle", "type": "collection", "timestamp": "soon"}, "Bundle.timestamp"),
        ({"resourceType": "Bundle", "type": "collection", "x": 1}, "Bundle.x: FHIR R4 does not allow this"),
    ],
)
def test_what_is_no_bundle_is_said_to_be_none(document: object, said: str) -> None:
    with pytest.raises(PlanRefusedError, match=r"^This discharge plan is not taken") as refused:
        plan_of(document, TERMS, NOW)
    assert said in str(refused.value)


def test_other_resources_are_not_read_and_not_hidden() -> None:
    allergy = {"resourceType": "AllergyIntolerance", "id": "a", "patient": {"reference": "Patient/p"}}
    assert (
        "AllergyIntolerance/a: a resource of this kind is not read"
        in plan(lambda by_id: by_id.update(a=allergy)).remarks
    )
