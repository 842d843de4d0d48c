"""A discharge plan from a FHIR bundle: what is read, and what each odd thing is answered with, by name."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.discharge.fhir_plan import plan_of
from cloud_bridge.discharge.plan import CarePart, DischargePlan, PlanRefusedError, dump, load
from tests.doubles.discharge_plans import (
    BASE,
    MADE,
    TERMS,
    below,
    bundle,
    goal,
    medicine,
    numbered,
    plan,
    text,
)

Change = Callable[[dict[str, dict[str, Any]]], None]
NOW = MADE + dt.timedelta(hours=1)


def setting(where: str, value: Any) -> Change:
    """Set an element ("g.target.0.measure") of a resource; None takes it out."""

    def change(by_id: dict[str, dict[str, Any]]) -> None:
        first, *path = where.split(".")
        at: Any = by_id[first]
        for step in path[:-1]:
            at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return change


def adding(*more: dict[str, Any]) -> Change:
    return lambda by_id: by_id.update({one["id"]: one for one in more})


def own(made: DischargePlan) -> dict[tuple[str, str], Any]:
    assert made.care is not None
    return {(one.rule, one.parameter): json.loads(one.value) for one in made.care.own}


def care(made: DischargePlan) -> CarePart:
    assert made.care is not None
    return made.care


# --- what is read ---


def test_a_whole_plan_is_read_whole() -> None:
    made = plan()
    assert (made.stay, made.patient) == (
        Identifier(f"{BASE}/stay", "stay-1"),
        Identifier(f"{BASE}/patient", "42"),
    )
    assert made.discharged_at == dt.datetime(2026, 11, 24, 2, 0, tzinfo=dt.UTC)
    assert (made.stated_at, made.author, made.language, made.over) == (MADE, "physician-1", "zh-Hans", False)
    assert made.programmes == ("hypertension",)
    assert made.family_doctor == Identifier(f"{BASE}/staff", "doctor-7")
    assert made.family_organization == Identifier(f"{BASE}/organization", "practice-7")
    assert made.physician == Identifier(f"{BASE}/staff", "physician-1")
    systolic, diastolic = {"mmhg": "130", "kpa": "17.3"}, {"mmhg": "80", "kpa": "10.7"}
    assert own(made) == {
        (rule, part): value
        for rule in ("BP-CONSECUTIVE", "BP-HOME", "BP-PROTOCOL")
        for part, value in (("systolic", systolic), ("diastolic", diastolic))
    }
    assert {(one.author, one.reason) for one in care(made).own} == {
        ("physician-1", "Systolic below 130"),
        ("physician-1", "Diastolic below 80"),
    }
    assert care(made).follow_up == (
        "Blood pressure at home for three months",
        "Potassium and creatinine (2026-12-08)",
    )
    first, second, third = care(made).medications
    assert first.line == "Amlodipine 5 mg: 1 tablet in the morning"
    assert (first.at, first.starts, first.ends) == (
        (dt.time(8),),
        dt.date(2026, 11, 24),
        dt.date(2027, 2, 22),
    )
    assert second.at == (dt.time(8), dt.time(20))
    assert (third.at, third.no_reminder) == ((), "it is taken as needed")
    assert made.remarks == ("MedicationRequest/m3: no reminder: it is taken as needed",)


def test_a_plan_is_kept_and_found_as_it_was() -> None:
    made = plan()
    assert load(dump(made)) == made
    shuffled = bundle()
    shuffled["entry"].reverse()
    shuffled["timestamp"] = (MADE + dt.timedelta(hours=5)).isoformat()
    again = plan_of(shuffled, TERMS, NOW)
    # The order of a bundle, and when it was put together, are no part of what was agreed.
    assert again.digest == made.digest
    assert plan(setting("systolic.target.0.detailQuantity.value", Decimal(135))).digest != made.digest


def test_numbers_keep_their_digits_and_the_other_unit_is_rounded_to_what_devices_show() -> None:
    def kilopascal(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["systolic"] = goal("systolic", "8480-6", "x", **below("17.30", "kPa"))

    document = json.loads(text(bundle(kilopascal)).replace("17.3", "17.30"), parse_float=Decimal)
    made = plan_of(document, TERMS, NOW)
    assert own(made)["BP-HOME", "systolic"] == {"kpa": "17.30", "mmhg": "129.8"}


def test_goals_of_glucose_fit_their_rules() -> None:
    def diabetes(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["c"]["category"][0]["coding"][0]["code"] = "diabetes"
        del by_id["systolic"], by_id["diastolic"]
        fasting = goal("fasting", "14771-0", "Fasting below 6.5", **below("6.5", "mmol/L"))
        high = {"value": Decimal(9), "system": "http://unitsofmeasure.org", "code": "mmol/L"}
        by_id["fasting"], by_id["any"] = (
            fasting,
            goal("any", "15074-8", "Up to 9", detailRange={"high": high}),
        )

    assert own(plan(diabetes)) == {
        ("GLU-FASTING", "at_least"): {"mmol_l": "6.5", "mg_dl": "117"},
        ("GLU-HIGH-1", "bands"): [
            {
                "above": {"mmol_l": "9", "mg_dl": "162"},
                "at_most": {"mmol_l": "13.9", "mg_dl": "250"},
                "told": "above",
            }
        ],
    }


def test_an_inclusive_limit_is_taken_and_remarked() -> None:
    made = plan(setting("systolic.target.0.detailQuantity.comparator", "<="))
    assert own(made)["BP-HOME", "systolic"]["mmhg"] == "130"
    assert any("Goal/systolic.target[0]" in one and "includes its limit" in one for one in made.remarks)


def test_what_no_rule_watches_stays_in_words() -> None:
    ldl = goal("ldl", "13457-7", "LDL below 1.8", **below("1.8", "mmol/L"))
    sugar = goal("sugar", "14771-0", "Fasting below 7", **below("6.9", "mmol/L"))
    wish = goal("wish", "x", "Walk every day")
    del wish["target"]
    made = plan(adding(ldl, sugar, wish))
    assert care(made).follow_up[-3:] == ("LDL below 1.8", "Fasting below 7", "Walk every day")
    assert not {rule for rule, _ in own(made)} - {"BP-CONSECUTIVE", "BP-HOME", "BP-PROTOCOL"}
    assert [one.partition(":")[0] for one in made.remarks] == [
        "Goal/ldl.target[0]",
        "Goal/sugar.target[0]",
        "MedicationRequest/m3",
    ]


def test_what_is_over_is_left_out_and_what_nobody_agreed_to_is_remarked() -> None:
    gone = goal("gone", "8480-6", "old", **below("150")) | {"lifecycleStatus": "cancelled"}
    idea = goal("idea", "8480-6", "new", **below("120")) | {"lifecycleStatus": "proposed"}
    stopped = medicine("m8", "Old one", "x") | {"status": "stopped"}
    draft = medicine("m9", "Not yet", "x") | {"status": "draft"}
    made = plan(adding(gone, idea, stopped, draft))
    assert own(made)["BP-HOME", "systolic"]["mmhg"] == "130"
    assert [one.key for one in care(made).medications] == [f"{BASE}/order|m{n}" for n in (1, 2, 3)]
    assert {one.partition(":")[0] for one in made.remarks} >= {
        "Goal/idea.lifecycleStatus",
        "MedicationRequest/m9",
    }


def test_what_must_not_be_taken_or_done_says_so() -> None:
    def forbid(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["m1"]["doNotPerform"] = True
        by_id["s"]["doNotPerform"] = True

    made = plan(forbid)
    assert care(made).medications[0].text.startswith("NOT to be taken")
    assert care(made).medications[0].at == ()
    assert care(made).follow_up[-1].startswith("NOT")


def test_the_sites_own_codes_and_words_of_medicines_beside_their_orders() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["c"]["category"] = []
        order = {"coding": [{"system": f"{BASE}/orders", "code": "HTN-HOME", "display": "Home pressure"}]}
        by_id["order"] = by_id["s"] | {"id": "order", "code": order}
        by_id["drug"] = {"resourceType": "Medication", "id": "drug", "code": {"text": "Ramipril 5 mg"}}
        del by_id["m1"]["medicationCodeableConcept"]
        by_id["m1"]["medicationReference"] = {"reference": "Medication/drug"}
        del by_id["m2"]["medicationCodeableConcept"]
        by_id["m2"]["contained"] = [{"resourceType": "Medication", "id": "in", "code": {"text": "Inside"}}]
        by_id["m2"]["medicationReference"] = {"reference": "#in"}

    made = plan(change)
    assert made.programmes == ("hypertension",)
    assert [one.text for one in care(made).medications[:2]] == ["Ramipril 5 mg", "Inside"]
    assert "Home pressure" not in " ".join(care(made).follow_up)


def test_a_plan_without_family_doctor_or_with_a_practice_alone() -> None:
    made = plan(setting("p.generalPractitioner", None))
    assert (made.family_doctor, made.family_organization) == (None, None)
    assert any("nobody is asked for a first visit" in one for one in made.remarks)
    practice = [{"type": "Organization", "identifier": numbered("organization", "practice-8")}]
    made = plan(setting("p.generalPractitioner", practice))
    assert made.family_doctor is None
    assert made.family_organization == Identifier(f"{BASE}/organization", "practice-8")


def test_a_revoked_plan_is_over_and_needs_no_programme() -> None:
    def revoke(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["c"] |= {"status": "revoked", "category": []}

    assert plan(revoke).over


@pytest.mark.parametrize(
    ("code", "expected", "remarked"), [("en-GB", "en", False), ("zh-Hant-TW", "en", True), ("de", "en", True)]
)
def test_languages(code: str, expected: str, remarked: bool) -> None:
    made = plan(setting("p.communication.0.language", {"coding": [{"code": code}]}))
    assert made.language == expected
    assert any("no texts in this language" in one for one in made.remarks) is remarked
    assert plan(setting("p.communication", None)).language is None


# --- what is refused, by name ---

ODD: dict[str, tuple[Change, str]] = {
    "patient missing": (lambda b: b.pop("p"), "Patient: it is missing"),  # type: ignore[dict-item,return-value]
    "two encounters": (lambda b: b.update(e2=b["e"] | {"id": "e2"}), "Encounter: there are 2 of them"),
    "no care plan": (lambda b: b.pop("c"), "CarePlan: it is missing"),  # type: ignore[dict-item,return-value]
    "another patient's goal": (
        setting("systolic.subject", {"reference": "Patient/other"}),
        "Goal/systolic.subject: it is not this Bundle's Patient",
    ),
    "a number of another system's patient": (
        setting("systolic.subject", {"identifier": numbered("other", "42")}),
        "Goal/systolic.subject: it is not this Bundle's Patient",
    ),
    "a number of another system": (
        setting("p.identifier.0.system", "urn:x:other"),
        "Patient/p.identifier: write exactly one of the system",
    ),
    "a dead patient": (setting("p.deceasedBoolean", True), "Patient/p.deceased"),  # noqa: FBT003 - FHIR's value
    "a record out of use": (setting("p.active", False), "Patient/p.active"),  # noqa: FBT003 - as above
    "not discharged": (setting("e.status", "in-progress"), "Encounter/e.status"),
    "died in hospital": (
        setting("e.hospitalization", {"dischargeDisposition": {"coding": [{"code": "exp"}]}}),
        "Encounter/e.hospitalization.dischargeDisposition",
    ),
    "no end": (
        setting("e.period.end", None),
        "Encounter/e.period.end: write a date and a time with its zone",
    ),
    "a day for an end": (setting("e.period.end", "2026-11-24"), "Encounter/e.period.end"),
    "an end ahead": (setting("e.period.end", "2026-11-30T10:00:00+08:00"), "it lies ahead"),
    "no stay": (setting("e.identifier", None), "Encounter/e.identifier"),
    "two stays": (
        setting("e.identifier", [numbered("stay", "1"), numbered("other", "2")]),
        "discharge.stay_system",
    ),
    "a draft": (setting("c.status", "draft"), "CarePlan/c.status"),
    "a proposal": (setting("c.intent", "proposal"), "CarePlan/c.intent"),
    "a programme that there is not": (
        setting("c.category.0.coding.0.code", "asthma"),
        "CarePlan/c.category: there is no programme of that code",
    ),
    "no programme": (setting("c.category", []), "CarePlan/c.category: no programme is named"),
    "a doctor who is not there": (
        setting("p.generalPractitioner", [{"reference": "Practitioner/elsewhere"}]),
        "Patient/p.generalPractitioner[0]: it is not in the Bundle",
    ),
    "two doctors": (
        setting(
            "p.generalPractitioner",
            [{"identifier": numbered("staff", "1")}, {"identifier": numbered("staff", "2")}],
        ),
        "Patient/p.generalPractitioner: it names more than one",
    ),
    "a doctor with two numbers of unknown systems": (
        setting("doctor.identifier", [numbered("a", "1"), numbered("b", "2")]),
        "Practitioner/doctor: it has 2 identifiers: say by discharge.staff_system",
    ),
    "nobody answers for it": (
        lambda b: (b["c"].pop("author"), b["e"].pop("participant")),  # type: ignore[dict-item,return-value]
        "CarePlan/c.author",
    ),
    "a goal without end": (
        setting("systolic.target.0.detailQuantity", None),
        "Goal/systolic.target[0]: it has no upper end",
    ),
    "a goal that is a point": (
        setting("systolic.target.0.detailQuantity.comparator", None),
        "Goal/systolic.target[0].detailQuantity: a value alone",
    ),
    "a goal that is a lower end": (
        setting("systolic.target.0.detailQuantity.comparator", ">"),
        "Goal/systolic.target[0].detailQuantity",
    ),
    "a unit in words": (
        setting("systolic.target.0.detailQuantity.code", "mmHg"),
        "Goal/systolic.target[0].detailQuantity: write the unit as system",
    ),
    "a unit of something else": (
        setting("systolic.target.0.detailQuantity.code", "mmol/L"),
        "Goal/systolic.target[0]: the unit does not fit the measure 8480-6: write mm[Hg] or kPa",
    ),
    "no number": (
        setting("systolic.target.0.detailQuantity.value", None),
        "detailQuantity.value: it is missing",
    ),
    "a negative number": (
        setting("systolic.target.0.detailQuantity.value", Decimal(-1)),
        "detailQuantity.value: it must be above zero",
    ),
    "a target above severe": (
        setting("systolic.target.0.detailQuantity.value", Decimal(180)),
        "the programme allows a target between its BP-LOW and its BP-SEVERE (90 to 180 mm[Hg])",
    ),
    "a target below low": (
        setting("diastolic.target.0.detailQuantity.value", Decimal(60)),
        "Goal/diastolic.target[0]: the programme allows a target between its BP-LOW",
    ),
    "two targets of one": (
        adding(goal("again", "8480-6", "x", **below("125"))),
        "Goal/again.target[0]: another goal sets the same threshold otherwise",
    ),
    "a goal without words": (setting("systolic.description", {"coding": []}), "Goal/systolic.description"),
    "a status that there is not": (
        setting("systolic.lifecycleStatus", "nearly"),
        "Goal/systolic.lifecycleStatus",
    ),
    "a medicine without words": (
        setting("m1.medicationCodeableConcept", {"coding": [{"code": "C08CA01"}]}),
        "MedicationRequest/m1.medication: it has no words",
    ),
    "two medicines of one number": (
        lambda b: b.update(m7=b["m1"] | {"id": "m7"}),
        "two of them have one identifier",
    ),
    "an order without words": (setting("s.code", {"coding": [{"code": "1"}]}), "ServiceRequest/s.code"),
    "a modifier": (
        setting("m1.modifierExtension", [{"url": "urn:x:not", "valueBoolean": True}]),
        "MedicationRequest/m1.modifierExtension: it changes the meaning",
    ),
    "a structure that FHIR forbids": (
        setting("systolic.target.0.nonsense", 1),
        "Goal/systolic.target.0.nonsense: FHIR R4 does not allow this",
    ),
    "a text for a number": (
        setting("systolic.target.0.detailQuantity.value", "a lot"),
        "Goal/systolic.target.0.detailQuantity.value: FHIR R4 does not allow this",
    ),
    "a plan end that is no day": (
        setting("c.period.end", "2027-02"),
        "CarePlan/c.period.end: write a whole date",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_decides_and_is_not_understood_is_refused_by_name(odd: str) -> None:
    change, said = ODD[odd]
    with pytest.raises(PlanRefusedError) as refused:
        plan(change)
    assert said in str(refused.value), str(refused.value)
    assert "a lot" not in str(refused.value)
