"""What is no bundle, or no whole one, is said to be so; all faults at once."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from cloud_bridge.discharge.fhir_plan import plan_of
from cloud_bridge.discharge.plan import PlanRefusedError
from tests.doubles.discharge_plans import BASE, MADE, TERMS, bundle, numbered, plan

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


# --- what is said in other ways than usual ---


def test_a_goal_is_its_own_authors_and_its_range_has_no_lower_end_here() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["systolic"]["expressedBy"] = {"identifier": numbered("staff", "physician-5")}
        unit = {"system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
        both = {"low": {"value": Decimal(110), **unit}, "high": {"value": Decimal(130), **unit}}
        by_id["systolic"]["target"][0] = by_id["systolic"]["target"][0] | {"detailRange": both}
        del by_id["systolic"]["target"][0]["detailQuantity"]

    made = plan(change)
    assert made.care is not None
    by_part = {one.parameter: one.author for one in made.care.own}
    assert by_part == {"systolic": "physician-5", "diastolic": "physician-1"}
    assert any(one.startswith("Goal/systolic.target[0].detailRange.low: ") for one in made.remarks)


def test_without_an_author_the_discharging_physician_answers() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        del by_id["c"]["author"]
        other = {
            "type": [{"coding": [{"code": "REF"}]}],
            "individual": {"identifier": numbered("staff", "x")},
        }
        by_id["e"]["participant"][0]["type"][0]["coding"][0]["code"] = "DIS"
        by_id["e"]["participant"].insert(0, other)
        by_id["e"]["serviceProvider"] = {"identifier": numbered("organization", "ward-2")}

    made = plan(change)
    assert made.author == "physician-1"
    assert [one for one in made.remarks if "Encounter" in one] == []
    assert made.organization is not None
    assert made.organization.value == "ward-2"


def test_a_ward_and_a_physician_who_are_not_in_the_bundle_are_left_to_the_registry() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["e"]["serviceProvider"] = {"reference": "Organization/elsewhere"}
        by_id["e"]["participant"][0]["individual"] = {"reference": "Practitioner/elsewhere"}

    made = plan(change)
    assert (made.organization, made.physician, made.author) == (None, None, "physician-1")
    assert [one.partition(":")[0] for one in made.remarks if "not used" in one] == [
        "Encounter/e.participant[0].individual",
        "Encounter/e.serviceProvider",
    ]

    def nobody(by_id: dict[str, dict[str, Any]]) -> None:
        change(by_id)
        del by_id["c"]["author"]

    with pytest.raises(PlanRefusedError, match=r"CarePlan/c\.author: nobody answers for the plan"):
        plan(nobody)


def test_a_subject_may_be_named_by_number_and_by_its_whole_address() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["systolic"]["subject"] = {"identifier": numbered("patient", "42")}
        by_id["diastolic"]["subject"] = {"reference": f"{BASE}/fhir/Patient/p"}

    assert plan(change).digest == plan().digest


def test_orders_with_a_period_and_orders_that_are_none() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        del by_id["s"]["occurrenceDateTime"]
        by_id["s"]["occurrencePeriod"] = {"start": "2026-12-01", "end": "2026-12-14"}
        by_id["draft"] = by_id["s"] | {"id": "draft", "status": "draft", "code": {"text": "Perhaps"}}
        by_id["gone"] = by_id["s"] | {"id": "gone", "status": "revoked", "code": {"text": "No more"}}

    made = plan(change)
    assert made.care is not None
    assert made.care.follow_up[1:] == ("Potassium and creatinine (2026-12-01 - 2026-12-14)",)
    assert any(one.startswith("ServiceRequest/draft: it is not an active order") for one in made.remarks)


def test_a_medicine_that_is_referred_to_by_name_and_one_without_a_number() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        del by_id["m1"]["medicationCodeableConcept"], by_id["m1"]["identifier"]
        by_id["m1"]["medicationReference"] = {"reference": "Medication/elsewhere", "display": "Ramipril 5 mg"}

    made = plan(change)
    assert made.care is not None
    assert {one.key: one.text for one in made.care.medications}["m1"] == "Ramipril 5 mg"
    document = bundle(change)
    first = next(one for one in document["entry"] if one["resource"].get("id") == "m1")
    del first["resource"]["id"]
    again = plan_of(document, TERMS, NOW)
    assert again.care is not None
    assert first["fullUrl"] in {one.key for one in again.care.medications}
    del first["fullUrl"]
    with pytest.raises(PlanRefusedError, match=r"identifier: it has none, and no id: write one"):
        plan_of(document, TERMS, NOW)


def test_a_plan_may_end_at_a_moment_of_the_sites_day() -> None:
    made = plan(lambda by_id: by_id["c"]["period"].update(end="2027-02-22T20:00:00+00:00"))
    assert made.care is not None
    assert made.care.ends == dt.date(2027, 2, 23)
