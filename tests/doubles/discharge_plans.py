"""Discharge plans of one invented patient: a FHIR bundle that is right, and ways to make it odd."""

import copy
import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.discharge.fhir_plan import plan_of
from cloud_bridge.discharge.plan import DischargePlan
from cloud_bridge.discharge.terms import Defaults, Terms

BASE = "https://hospital.example/id"
MADE = dt.datetime(2026, 11, 24, 2, 30, tzinfo=dt.UTC)
"""When the plan was put together; the patient went home half an hour before."""
ZONE = ZoneInfo("Asia/Shanghai")
TERMS = Terms(
    patient_system=f"{BASE}/patient",
    zone=ZONE,
    staff_system=f"{BASE}/staff",
    programmes={("I10", "I10"): "hypertension", (f"{BASE}/orders", "HTN-HOME"): "hypertension"},
    authorities={"HOSP": f"{BASE}/patient", "STAFF": f"{BASE}/staff", "VISITS": f"{BASE}/stay"},
)
DEFAULTS = Defaults(
    Identifier(f"{BASE}/staff", "nurse-1"),
    Identifier(f"{BASE}/staff", "physician-9"),
    Identifier(f"{BASE}/organization", "ward-1"),
    "zh-Hans",
)


def numbered(kind: str, value: str) -> dict[str, str]:
    return {"system": f"{BASE}/{kind}", "value": value}


def subject() -> dict[str, str]:
    return {"reference": "Patient/p"}


def goal(name: str, code: str, text: str, **detail: Any) -> dict[str, Any]:
    measure = {"coding": [{"system": "http://loinc.org", "code": code}]}
    return {
        "resourceType": "Goal",
        "id": name,
        "lifecycleStatus": "active",
        "description": {"text": text},
        "subject": subject(),
        "target": [{"measure": measure, **detail}],
    }


def below(value: str, unit: str = "mm[Hg]", comparator: str = "<") -> dict[str, Any]:
    quantity = {"value": Decimal(value), "comparator": comparator, "code": unit}
    return {"detailQuantity": {**quantity, "system": "http://unitsofmeasure.org"}}


def medicine(name: str, text: str, dosage: str, timing: Any = None, **more: Any) -> dict[str, Any]:
    instruction = {
        "text": dosage,
        **({} if timing is None else {"timing": timing}),
        **more.pop("as_taken", {}),
    }
    return {
        "resourceType": "MedicationRequest",
        "identifier": [numbered("order", name)],
        "id": name,
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": text},
        "subject": subject(),
        "dosageInstruction": [instruction],
        **more,
    }


def daily(*times: str) -> dict[str, Any]:
    often = {"frequency": len(times), "period": Decimal(1), "periodUnit": "d"}
    return {"repeat": {**often, "timeOfDay": list(times)}}


def resources() -> list[dict[str, Any]]:
    programme = {"coding": [{"system": "urn:kiteline:programme", "code": "hypertension"}]}
    return [
        {
            "resourceType": "Patient",
            "id": "p",
            "identifier": [numbered("patient", "42"), {"system": "urn:x:national", "value": "x"}],
            "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "zh-CN"}]}}],
            "generalPractitioner": [{"reference": "PractitionerRole/gp"}],
        },
        {
            "resourceType": "PractitionerRole",
            "id": "gp",
            "practitioner": {"reference": "Practitioner/doctor"},
            "organization": {"identifier": numbered("organization", "practice-7")},
        },
        {
            "resourceType": "Practitioner",
            "id": "doctor",
            "identifier": [numbered("staff", "doctor-7"), {"system": "urn:x:licence", "value": "y"}],
        },
        {
            "resourceType": "Encounter",
            "id": "e",
            "identifier": [numbered("stay", "stay-1")],
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "subject": subject(),
            "participant": [
                {
                    "type": [{"coding": [{"code": "ATND"}]}],
                    "individual": {"identifier": numbered("staff", "physician-1")},
                }
            ],
            "period": {"start": "2026-11-20T09:00:00+08:00", "end": "2026-11-24T10:00:00+08:00"},
        },
        {
            "resourceType": "CarePlan",
            "id": "c",
            "identifier": [numbered("care-plan", "cp-1")],
            "status": "active",
            "intent": "plan",
            "title": "Blood pressure at home for three months",
            "category": [programme],
            "subject": subject(),
            "author": {"identifier": numbered("staff", "physician-1")},
            "period": {"start": "2026-11-24", "end": "2027-02-22"},
        },
        goal("systolic", "8480-6", "Systolic below 130", **below("130")),
        goal("diastolic", "8462-4", "Diastolic below 80", **below("80")),
        medicine("m1", "Amlodipine 5 mg", "1 tablet in the morning", daily("08:00:00")),
        medicine("m2", "Metoprolol 25 mg", "1 tablet twice a day", daily("08:00:00", "20:00:00")),
        medicine("m3", "Nitroglycerin spray", "at chest pain", as_taken={"asNeededBoolean": True}),
        {
            "resourceType": "ServiceRequest",
            "id": "s",
            "status": "active",
            "intent": "order",
            "subject": subject(),
            "code": {"text": "Potassium and creatinine"},
            "occurrenceDateTime": "2026-12-08",
        },
    ]


def bundle(
    change: Callable[[dict[str, dict[str, Any]]], None] | None = None, at: dt.datetime = MADE
) -> dict[str, Any]:
    """Return the plan as a bundle; `change` may change its resources, by their ids."""
    by_id = {one["id"]: copy.deepcopy(one) for one in resources()}
    if change is not None:
        change(by_id)
    entries = [
        {"fullUrl": f"{BASE}/fhir/{r['resourceType']}/{r.get('id')}", "resource": r} for r in by_id.values()
    ]
    return {"resourceType": "Bundle", "type": "collection", "timestamp": at.isoformat(), "entry": entries}


def plan(
    change: Callable[[dict[str, dict[str, Any]]], None] | None = None, at: dt.datetime = MADE
) -> DischargePlan:
    return plan_of(bundle(change, at), TERMS, MADE + dt.timedelta(hours=1))


def text(document: dict[str, Any]) -> str:
    """Return a bundle as a file has it."""
    return json.dumps(document, default=float)
