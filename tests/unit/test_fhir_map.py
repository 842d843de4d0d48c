"""Orders as FHIR: exact codes, digits and units, and a server-proof identity for everything."""

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest

from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.base import Identifier, ReadingOrder
from cloud_bridge.connectors.fhir_codes import MDC, PHD_IDENTIFIER, TASK, URI
from cloud_bridge.connectors.fhir_map import alert_bundle, reading_bundle, to_json, token
from cloud_bridge.connectors.fhir_work import changed_task
from cloud_bridge.rules.base import Reading
from tests.doubles.bridge_orders import BASE, CARE, alert_order, folded, order
from tests.doubles.bridge_readings import CUFF, NOW, blood_pressure, reading
from tests.doubles.fhir_bindings import wrong_bindings
from wire_format.measurement import (
    Absent,
    Component,
    Failure,
    GlucoseContext,
    Meal,
    OximetryContext,
    Remark,
    Specimen,
)
from wire_format.nomenclature import NOMENCLATURE, Quantity, Term, Unit

pytestmark = pytest.mark.no_cover  # about the mapping to FHIR, which has no floor


def glucose(
    value: str | None, unit: Unit, specimen: Specimen | None = Specimen.CAPILLARY_WHOLE_BLOOD, **context: Any
) -> Reading:
    m = blood_pressure("120")
    component = Component(
        term=Term.GLUCOSE,
        unit=unit,
        value=None if value is None else Decimal(value),
        absent=Absent.ABOVE_RANGE if value is None else None,
    )
    said = GlucoseContext(specimen=specimen, **context)
    changes = {"quantity": Quantity.GLUCOSE, "components": (component,), "context": said}
    return folded(m.model_copy(update=changes))


def single(quantity: Quantity, term: Term, unit: Unit, value: str) -> Reading:
    component = Component(term=term, unit=unit, value=Decimal(value))
    changes = {"quantity": quantity, "components": (component,), "context": None}
    return folded(blood_pressure("120").model_copy(update=changes))


def resources(bundle: dict[str, Any] | None, kind: str) -> list[dict[str, Any]]:
    assert bundle is not None
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def observations(one: ReadingOrder) -> list[dict[str, Any]]:
    """The Observations of people; the coincident time stamp is the device's."""
    found = resources(reading_bundle(one, test_data=False), "Observation")
    return [o for o in found if "category" in o]


def codes(resource: dict[str, Any]) -> set[str]:
    return {c["code"] for c in resource["code"].get("coding", [])}


def test_a_blood_pressure_is_a_panel_a_pulse_and_its_status() -> None:
    panel, pulse, status = observations(order(reading("192", "124")))
    assert codes(panel) == {"150020", "85354-9"}
    parts = {frozenset(codes(c)): c["valueQuantity"] for c in panel["component"]}
    assert parts == {
        frozenset({"150021", "8480-6"}): quantity("192", "mm[Hg]"),
        frozenset({"150022", "8462-4"}): quantity("124", "mm[Hg]"),
    }
    assert codes(pulse) == {"149546", "8867-4"}
    assert pulse["valueQuantity"] == quantity("72", "/min")
    uuid = next(i["value"] for i in panel["identifier"] if i["system"] == URI)
    assert pulse["derivedFrom"] == status["derivedFrom"] == [{"reference": uuid}]
    assert {c["code"]["coding"][0]["code"]: c["valueBoolean"] for c in status["component"]} == {
        "8410608.0": False,
        "8410608.1": False,
        "8410608.2": False,
    }
    assert panel["effectiveDateTime"] == "2026-11-24T16:00:00+08:00"
    assert panel["subject"] == {"reference": f"Patient?identifier={BASE}/patient|42"}
    assert panel["status"] == "final"


def quantity(value: str, unit: str) -> dict[str, Any]:
    return {"value": Decimal(value), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def test_digits_stay_as_the_device_gave_them() -> None:
    weight = single(Quantity.BODY_WEIGHT, Term.BODY_WEIGHT, Unit.KG, "71.40")
    (made,) = observations(order(weight))
    assert '"value":71.40' in to_json(made)
    assert json.loads(to_json(made))["valueQuantity"]["value"] == 71.4


@pytest.mark.parametrize(
    ("unit", "specimen", "expected"),
    [
        (Unit.MMOL_PER_L, Specimen.CAPILLARY_WHOLE_BLOOD, {"160184", "14743-9", "15074-8"}),
        (Unit.MG_PER_DL, Specimen.CAPILLARY_WHOLE_BLOOD, {"160184", "41653-7", "2339-0"}),
        (Unit.MG_PER_DL, Specimen.VENOUS_WHOLE_BLOOD, {"160192", "2339-0"}),
        (Unit.MMOL_PER_L, Specimen.UNDETERMINED_PLASMA, {"160368"}),
        (Unit.MMOL_PER_L, None, {"160368"}),
        (Unit.MG_PER_DL, Specimen.INTERSTITIAL_FLUID, {"160212"}),
        (Unit.MG_PER_DL, Specimen.RESERVED, set()),
    ],
)
def test_glucose_has_the_codes_of_its_specimen_and_unit(
    unit: Unit, specimen: Specimen | None, expected: set[str]
) -> None:
    (made,) = observations(order(glucose("113", unit, specimen)))
    assert codes(made) == expected
    assert made["valueQuantity"]["code"] == unit.value


def test_a_meal_is_an_observation_of_its_own() -> None:
    value, meal = observations(order(glucose("6.3", Unit.MMOL_PER_L, meal=Meal.POSTPRANDIAL)))
    assert meal["valueCodeableConcept"]["coding"][0]["code"] == "8417872"
    assert meal["derivedFrom"][0]["reference"] == value["identifier"][0]["value"]


def test_a_control_solution_is_no_patients() -> None:
    control = glucose("6.3", Unit.MMOL_PER_L, control_solution=True)
    assert reading_bundle(order(control), test_data=False) is None


def test_what_a_device_could_not_say_has_its_reason() -> None:
    (high,) = observations(order(glucose(None, Unit.MG_PER_DL)))
    assert high["dataAbsentReason"]["coding"][0]["code"] == "positive-infinity"
    assert "valueQuantity" not in high
    failed = reading("120", failure=Failure.DEVICE_FAULT, remarks=(Remark.RESERVED_BITS,))
    panel = observations(order(failed))[0]
    assert panel["dataAbsentReason"] == {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "error"}],
        "text": "device_fault",
    }
    assert panel["note"] == [{"text": "reserved bits"}]


def test_an_unknown_time_is_said_to_be_unknown() -> None:
    panel = observations(order(reading("120", minutes=None)))[0]
    assert "effectiveDateTime" not in panel
    assert panel["_effectiveDateTime"]["extension"][0]["valueCode"] == "unknown"
    assert {i["system"] for i in panel["identifier"]} == {URI, "urn:kiteline:measurement"}


def test_kilopascals_keep_their_unit_and_leave_the_profile_that_forbids_it() -> None:
    panel = observations(order(reading("25.6", "16.5", unit=Unit.KPA)))[0]
    assert panel["component"][0]["valueQuantity"]["code"] == "kPa"
    assert panel["meta"]["profile"] == [
        "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdCompoundNumericObservation"
    ]


def test_the_guides_identifier_stands_beside_ours_and_a_long_one_is_no_key() -> None:
    long = replace(CARE, patient=Identifier(f"{BASE}/{'very-long/' * 20}", "42"))
    bundle = reading_bundle(order(reading("120"), care=long), test_data=False)
    assert bundle is not None
    panel = resources(bundle, "Observation")[0]
    guide = next(i["value"] for i in panel["identifier"] if i["system"] == PHD_IDENTIFIER)
    since = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    seconds = int((NOW + dt.timedelta(hours=8) - since).total_seconds())
    assert guide == f"C0495FFFFE000001-42-{long.patient.system}-150020-{seconds}+32"
    assert len(guide) > 128
    conditions = [e["request"].get("ifNoneExist", "") for e in bundle["entry"]]
    assert all(len(condition) < 128 and "+" not in condition for condition in conditions)


def test_a_plus_sign_is_never_a_space() -> None:
    assert token({"system": "urn:x", "value": "1+32 a|b"}) == "urn:x|1%2B32%20a%7Cb"


def test_the_devices_are_what_the_guide_wants() -> None:
    bundle = reading_bundle(order(reading("120")), test_data=True)
    device, gateway = resources(bundle, "Device")
    by_system = {i["system"]: i["value"] for i in device["identifier"]}
    assert by_system == {
        URI: f"urn:uuid:{CUFF.device_id}",
        "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680": "C0-49-5F-FF-FE-00-00-01",
        "http://hl7.org/fhir/sid/eui-48/bluetooth": "C0-49-5F-00-00-01",
    }
    assert device["specialization"][0]["systemType"]["coding"][0]["code"] == "528391"
    assert gateway["type"]["coding"] == [{"system": MDC, "code": "531981", "display": "MDC_MOC_VMS_MDS_AHD"}]
    assert {e["resource"]["meta"]["security"][0]["code"] for e in bundle["entry"]} == {"HTEST"}  # type: ignore[index]  # it is a bundle


def test_provenance_names_the_envelope() -> None:
    (made,) = resources(reading_bundle(order(reading("120")), test_data=False), "Provenance")
    assert made["entity"][0]["what"]["identifier"]["value"] == "sha256:" + "01" * 32
    assert len(made["target"]) == 3
    assert UUID(made["id"]).version == 5


def test_a_revision_amends_what_is_there() -> None:
    bundle = reading_bundle(order(reading("120"), revision=2), test_data=False)
    assert bundle is not None
    puts = [e for e in bundle["entry"] if e["request"]["url"].startswith("Observation?identifier=")]
    assert {e["resource"]["status"] for e in puts} == {"amended"}
    assert {e["request"]["method"] for e in puts} == {"PUT"}


# --- alerts ---


def test_an_alert_is_work_for_one_a_copy_for_one_and_a_word_for_one() -> None:
    bundle = alert_bundle(alert_order(), [], test_data=False)
    (issue,) = resources(bundle, "DetectedIssue")
    (task,) = resources(bundle, "Task")
    copy, message = resources(bundle, "CommunicationRequest")
    assert (issue["status"], issue["severity"], len(issue["implicated"])) == ("final", "high", 2)
    assert issue["code"]["coding"][0] == {"system": "urn:kiteline:rule", "code": "BP-SEVERE", "version": "1"}
    assert (task["status"], task["priority"]) == ("requested", "stat")
    assert task["description"] == "Severe. Call now."
    assert task["owner"] == {"reference": f"Practitioner?identifier={BASE}/staff|nurse-1"}
    assert task["restriction"]["period"]["end"] == "2026-11-24T08:15:00+00:00"
    assert task["focus"] == {"reference": f"urn:uuid:{UUID(int=77)}"}
    assert copy["recipient"] == [{"reference": f"Practitioner?identifier={BASE}/staff|physician-1"}]
    assert message["recipient"] == [{"reference": f"Patient?identifier={BASE}/patient|42"}]
    assert message["payload"] == [{"contentString": "请坐下休息"}]
    assert message["language"] == "zh-Hans"
    groups = {r["groupIdentifier"]["value"] for r in (task, copy, message)}
    assert groups == {str(UUID(int=77))}


@pytest.mark.parametrize(
    ("state", "theirs", "expected"),
    [
        (AlertState.OPEN, "requested", "requested"),
        (AlertState.ACKNOWLEDGED, "requested", "accepted"),
        (AlertState.ACKNOWLEDGED, "in-progress", "in-progress"),
        (AlertState.ACKNOWLEDGED, "completed", "completed"),
        (AlertState.RESOLVED, "in-progress", "completed"),
        (AlertState.RESOLVED, "rejected", "rejected"),
        (AlertState.WITHDRAWN, "requested", "cancelled"),
        (AlertState.WITHDRAWN, "in-progress", "in-progress"),
        (AlertState.IN_PROGRESS, "requested", "in-progress"),
        (AlertState.IN_PROGRESS, "accepted", "in-progress"),
        (AlertState.IN_PROGRESS, "on-hold", "in-progress"),
        (AlertState.IN_PROGRESS, "completed", "completed"),
        (AlertState.OPEN, "cancelled", "cancelled"),
        (AlertState.OPEN, "in-progress", "in-progress"),
    ],
)
def test_what_staff_did_is_never_moved_back(state: AlertState, theirs: str, expected: str) -> None:
    existing = {"resourceType": "Task", "id": "t", "status": theirs, "note": [{"text": "called twice"}]}
    changed = changed_task(alert_order(state=state), existing, "Practitioner/1", ["urn:uuid:1"])
    assert changed is not None
    assert (changed["status"], changed["note"]) == (expected, existing["note"])


def test_a_task_that_says_it_already_is_left_alone() -> None:
    one = alert_order()
    (task,) = resources(alert_bundle(one, [], test_data=False), "Task")
    assert changed_task(one, {**task, "id": "t"}, "Practitioner/1", ["a", "b"]) is None


def test_what_is_withdrawn_revokes_what_was_not_sent() -> None:
    one = alert_order()
    sent = [
        {**r, "id": str(n), "meta": {"versionId": "3"}}
        for n, r in enumerate(resources(alert_bundle(one, [], test_data=False), "CommunicationRequest"))
    ]
    gone = alert_bundle(alert_order(state=AlertState.WITHDRAWN), sent, test_data=False)
    assert [r["status"] for r in resources(gone, "CommunicationRequest")] == ["revoked", "revoked"]
    assert resources(gone, "DetectedIssue")[0]["status"] == "cancelled"
    matches = [e["request"].get("ifMatch") for e in gone["entry"] if e["resource"].get("id") in {"0", "1"}]
    assert matches == ['W/"3"', 'W/"3"']


@pytest.mark.parametrize(
    "folded_reading",
    [
        reading("192", "124"),
        reading("120", failure=Failure.NO_RESULT),
        reading("120", minutes=None),
        glucose("113", Unit.MG_PER_DL, meal=Meal.BEDTIME),
        glucose(None, Unit.MMOL_PER_L),
        single(Quantity.BODY_WEIGHT, Term.BODY_WEIGHT, Unit.KG, "71.4"),
        single(Quantity.BODY_COMPOSITION, Term.BODY_FAT, Unit.PERCENT, "24.1"),
        single(Quantity.BODY_COMPOSITION, Term.IMPEDANCE, Unit.OHM, "512"),
        single(Quantity.BODY_TEMPERATURE, Term.BODY_TEMPERATURE, Unit.CELSIUS, "36.6"),
        single(Quantity.PULSE_OXIMETRY, Term.OXYGEN_SATURATION, Unit.PERCENT, "97"),
    ],
    ids=["bp", "bp-failed", "bp-untimed", "glucose", "glucose-hi", "weight", "fat", "ohm", "temp", "spo2"],
)
def test_every_resource_is_valid_r4(folded_reading: Reading) -> None:
    bundle = reading_bundle(order(folded_reading), test_data=True)
    assert bundle is not None
    for entry in bundle["entry"]:
        validate(entry["resource"])


@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize("term", Term)
def test_every_quantity_and_term_is_valid_r4(quantity: Quantity, term: Term) -> None:
    """What a later standard brings needs no row here to be delivered."""
    bundle = reading_bundle(order(single(quantity, term, NOMENCLATURE[term].units[0], "70")), test_data=True)
    assert bundle is not None
    for resource in (entry["resource"] for entry in bundle["entry"]):
        validate(resource)
        for special in resource.get("specialization", ()):
            assert special["systemType"]["coding"][0]["code"]


@pytest.mark.parametrize(
    ("status", "given"), [(1 << 5, True), (1 << 10, False), (1 << 11, False), (None, True)]
)
def test_a_demonstration_is_no_patients(status: int | None, given: bool) -> None:
    shown = single(Quantity.PULSE_OXIMETRY, Term.OXYGEN_SATURATION, Unit.PERCENT, "97").measurement
    context = OximetryContext(measurement_status_bits=status, continuous=True)
    bundle = reading_bundle(order(folded(shown.model_copy(update={"context": context}))), test_data=False)
    assert (bundle is not None) == given


def test_every_resource_of_an_alert_is_valid_r4() -> None:
    bundle = alert_bundle(alert_order(), [], test_data=True)
    for entry in bundle["entry"]:
        validate(entry["resource"])
    assert {i["system"] for r in resources(bundle, "Task") for i in r["identifier"]} == {TASK}


def validate(resource: dict[str, Any]) -> None:
    kind = resource["resourceType"]
    model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
    model.model_validate_json(to_json(resource))
    assert wrong_bindings(json.loads(to_json(resource))) == []


def test_only_what_json_has_is_written() -> None:
    assert to_json({"a": [True, None, 1, Decimal("0.10"), '"']}) == '{"a":[true,null,1,0.10,"\\""]}'
    with pytest.raises(TypeError, match="float"):
        to_json({"a": 0.1})


def test_a_weight_in_jin_keeps_its_unit_and_claims_no_profile_that_has_no_place_for_it() -> None:
    for unit, fits in ((Unit.KG, True), (Unit.POUND, True), (Unit.JIN, False)):
        (made,) = observations(order(single(Quantity.BODY_WEIGHT, Term.BODY_WEIGHT, unit, "141.20")))
        assert made["valueQuantity"]["code"] == unit.value
        assert any(p.endswith("/bodyweight") for p in made["meta"]["profile"]) == fits
        assert "29463-7" in codes(made)
