"""Systems and codes of FHIR R4, LOINC and IEEE 11073-10101 as the Personal Health Device guide uses them."""

from decimal import Decimal
from typing import Any, Final

from cloud_bridge.rules.care import CareRole
from wire_format.measurement import Absent, Meal, Specimen
from wire_format.nomenclature import Quantity, Term, Unit

Resource = dict[str, Any]
"""A FHIR resource; numbers are `int` or `Decimal`, never `float`."""

MDC: Final = "urn:iso:std:iso:11073:10101"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
SNOMED: Final = "http://snomed.info/sct"
URI: Final = "urn:ietf:rfc:3986"
ASN1: Final = "http://terminology.hl7.org/CodeSystem/ASN1ToHL7"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
PHD_CATEGORY: Final = "http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories"
ABSENT_REASON: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
ABSENT_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
GATEWAY_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice"
COINCIDENT_EXTENSION: Final = "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference"
PHD_PROFILE: Final = "http://hl7.org/fhir/uv/phd/StructureDefinition/"
BASE_PROFILE: Final = "http://hl7.org/fhir/StructureDefinition/"
PHD_IDENTIFIER: Final = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdBaseObservation"
DEVICE_IDENTIFIER: Final = "http://terminology.hl7.org/CodeSystem/ContinuaDeviceIdentifiers"
SYSTEM_ID: Final = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"
BLUETOOTH_ADDRESS: Final = "http://hl7.org/fhir/sid/eui-48/bluetooth"
ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

# Our own identifiers: what a hospital finds our resources by.
MEASUREMENT: Final = "urn:kiteline:measurement"
RULE: Final = "urn:kiteline:rule"
ALERT: Final = "urn:kiteline:alert"
ISSUE: Final = "urn:kiteline:issue"
TASK: Final = "urn:kiteline:task"
OUTCOME: Final = "urn:kiteline:outcome"
TASK_REASON: Final = "urn:kiteline:task-reason"
TAKEN_BACK: Final = "taken-back"
"""Why we cancelled a Task; without it "cancelled" is the word of somebody who gave it back."""
PHYSICIAN_COPY: Final = "urn:kiteline:copy"
COPIES: Final = {
    role: PHYSICIAN_COPY if role is CareRole.PHYSICIAN else f"{PHYSICIAN_COPY}:{role}" for role in CareRole
}
PATIENT_MESSAGE: Final = "urn:kiteline:patient-message"
ENVELOPE: Final = "urn:kiteline:envelope"
REMINDER: Final = "urn:kiteline:reminder"

ABSENT_CODES: Final[dict[Absent, str]] = {
    Absent.NOT_A_NUMBER: "not-a-number",
    Absent.NOT_AT_THIS_RESOLUTION: "not-a-number",
    Absent.ABOVE_RANGE: "positive-infinity",
    Absent.BELOW_RANGE: "negative-infinity",
    Absent.RESERVED_VALUE: "error",
    Absent.UNSUCCESSFUL: "error",
    Absent.NOT_MEASURED: "not-performed",
}

SPECIMEN_CODES: Final[dict[Specimen, tuple[int, str]]] = {
    Specimen.CAPILLARY_WHOLE_BLOOD: (160184, "MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD"),
    Specimen.CAPILLARY_PLASMA: (160188, "MDC_CONC_GLU_CAPILLARY_PLASMA"),
    Specimen.VENOUS_WHOLE_BLOOD: (160192, "MDC_CONC_GLU_VENOUS_WHOLEBLOOD"),
    Specimen.VENOUS_PLASMA: (160196, "MDC_CONC_GLU_VENOUS_PLASMA"),
    Specimen.ARTERIAL_WHOLE_BLOOD: (160200, "MDC_CONC_GLU_ARTERIAL_WHOLEBLOOD"),
    Specimen.ARTERIAL_PLASMA: (160204, "MDC_CONC_GLU_ARTERIAL_PLASMA"),
    Specimen.UNDETERMINED_WHOLE_BLOOD: (160364, "MDC_CONC_GLU_UNDETERMINED_WHOLEBLOOD"),
    Specimen.UNDETERMINED_PLASMA: (160368, "MDC_CONC_GLU_UNDETERMINED_PLASMA"),
    Specimen.INTERSTITIAL_FLUID: (160212, "MDC_CONC_GLU_ISF"),
}

# A LOINC code names its property: moles and mass have codes of their own, and are never exchanged.
_CAPILLARY: Final = {Unit.MMOL_PER_L: "14743-9", Unit.MG_PER_DL: "41653-7"}
_BLOOD: Final = {Unit.MMOL_PER_L: "15074-8", Unit.MG_PER_DL: "2339-0"}
GLUCOSE_LOINC: Final[dict[Specimen, tuple[dict[Unit, str], ...]]] = {
    Specimen.CAPILLARY_WHOLE_BLOOD: (_CAPILLARY, _BLOOD),
    Specimen.VENOUS_WHOLE_BLOOD: (_BLOOD,),
    Specimen.ARTERIAL_WHOLE_BLOOD: (_BLOOD,),
    Specimen.UNDETERMINED_WHOLE_BLOOD: (_BLOOD,),
}

MEAL_CODES: Final[dict[Meal, tuple[int, str]]] = {
    Meal.PREPRANDIAL: (8417868, "MDC_CTXT_GLU_MEAL_PREPRANDIAL"),
    Meal.POSTPRANDIAL: (8417872, "MDC_CTXT_GLU_MEAL_POSTPRANDIAL"),
    Meal.FASTING: (8417876, "MDC_CTXT_GLU_MEAL_FASTING"),
    Meal.CASUAL: (8417880, "MDC_CTXT_GLU_MEAL_CASUAL"),
}
MEAL: Final = (8417864, "MDC_CTXT_GLU_MEAL")
BP_STATUS: Final = (8410608, "MDC_BLOOD_PRESSURE_MEASUREMENT_STATUS")

SPECIALIZATIONS: Final[dict[Quantity, tuple[int, str]]] = {
    Quantity.BLOOD_PRESSURE: (528391, "MDC_DEV_SPEC_PROFILE_BP"),
    Quantity.GLUCOSE: (528401, "MDC_DEV_SPEC_PROFILE_GLUCOSE"),
    Quantity.BODY_WEIGHT: (528399, "MDC_DEV_SPEC_PROFILE_SCALE"),
    Quantity.BODY_COMPOSITION: (528404, "MDC_DEV_SPEC_PROFILE_BCA"),
    Quantity.BODY_TEMPERATURE: (528392, "MDC_DEV_SPEC_PROFILE_TEMP"),
    Quantity.PULSE_OXIMETRY: (528388, "MDC_DEV_SPEC_PROFILE_PULS_OXIM"),
}
GENERIC: Final = (528457, "MDC_DEV_SPEC_PROFILE_GENERIC")
"""Of a quantity whose own specialization we could not verify."""


def specialization(quantity: Quantity) -> tuple[int, str]:
    """Return what a device is that measures this quantity; the generic one where no row says more."""
    return SPECIALIZATIONS.get(quantity, GENERIC)


VITAL_SIGNS: Final[dict[Term, str]] = {
    Term.PULSE_RATE: "heartrate",
    Term.BODY_WEIGHT: "bodyweight",
    Term.BODY_HEIGHT: "bodyheight",
    Term.BODY_MASS_INDEX: "bmi",
    Term.BODY_TEMPERATURE: "bodytemp",
    Term.OXYGEN_SATURATION: "oxygensat",
}
"""Terms that base R4 has a vital signs profile for."""

OUTSIDE_VITAL_SIGNS: Final = frozenset({(Term.BODY_WEIGHT, Unit.JIN), (Term.BODY_HEIGHT, Unit.METRE)})
"""Units that the vital signs profile of a term has no place for (R4's value sets ucum-bodyweight and
ucum-bodylength, required): such a value goes without that profile."""


def coding(system: str, code: str | int, display: str | None = None) -> Resource:
    """Return a Coding."""
    found = {"system": system, "code": str(code)}
    return found if display is None else {**found, "display": display}


def concept(*codings: Resource, text: str | None = None) -> Resource:
    """Return a CodeableConcept."""
    return {
        **({"coding": list(codings)} if codings else {}),
        **({} if text is None else {"text": text}),
    }


def identifier(system: str, value: str) -> Resource:
    """Return an Identifier."""
    return {"system": system, "value": value}


def quantity(value: Decimal, unit: Unit) -> Resource:
    """Return a Quantity in the unit that the device reported, digit by digit."""
    return {"value": value, "unit": unit.value, "system": UCUM, "code": unit.value}


def eui(hexadecimal: str) -> str:
    """Return an EUI in the guide's form: pairs in capitals, with dashes."""
    digits = hexadecimal.replace(":", "").upper()
    return "-".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def is_taken_back(task: Resource) -> bool:
    """Tell whether a Task is cancelled because we said so."""
    return task.get("status") == "cancelled" and _says_taken_back(task)


def with_status(task: Resource, status: str) -> Resource:
    """Return a Task with the status that we give it; if we cancel it, that says so. Staff's reasons stay."""
    if status == "cancelled":
        ours = {"statusReason": concept(coding(TASK_REASON, TAKEN_BACK))}
        return {**task, **({} if task.get("status") == status else ours), "status": status}
    kept = {n: v for n, v in task.items() if n != "statusReason"} if _says_taken_back(task) else task
    return {**kept, "status": status}


def _says_taken_back(task: Resource) -> bool:
    codes = task.get("statusReason", {}).get("coding", [])
    return any((one.get("system"), one.get("code")) == (TASK_REASON, TAKEN_BACK) for one in codes)
