"""Required bindings of FHIR R4 (4.0.1), as a table: what no server that we know checks whole.

Each row is the element as R4 names it, and every code of the value set that it is bound to with strength
"required". Written from the specification, not from our mapper.
"""

from collections.abc import Iterator
from typing import Any, Final

UCUM: Final = "http://unitsofmeasure.org"

_OBSERVATION_STATUS: Final = (
    "registered preliminary final amended corrected cancelled entered-in-error unknown"
)
_REQUEST_STATUS: Final = "draft active on-hold revoked completed entered-in-error unknown"
_PRIORITY: Final = "routine urgent asap stat"
_TASK_STATUS: Final = (
    "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed "
    "entered-in-error"
)

REQUIRED: Final[dict[str, frozenset[str]]] = {
    element: frozenset(codes.split())
    for element, codes in {
        "Observation.status": _OBSERVATION_STATUS,
        "DetectedIssue.status": _OBSERVATION_STATUS,
        "DetectedIssue.severity": "high moderate low",
        "Device.status": "active inactive entered-in-error unknown",
        "Device.deviceName.type": "udi-label-name user-friendly-name patient-reported-name "
        "manufacturer-name model-name other",
        "Task.status": _TASK_STATUS,
        "Task.intent": "unknown proposal plan order original-order reflex-order filler-order instance-order "
        "option",
        "Task.priority": _PRIORITY,
        "CommunicationRequest.status": _REQUEST_STATUS,
        "CommunicationRequest.priority": _PRIORITY,
        "Provenance.entity.role": "derivation revision quotation source removal",
    }.items()
}
"""By element."""

MUST_HAVE: Final = {
    "Observation": ("status", "code"),
    "DetectedIssue": ("status",),
    "Task": ("status", "intent"),
    "CommunicationRequest": ("status",),
    "Provenance": ("target", "recorded", "agent"),
    "Device": (),
}
"""What R4 says there is exactly one or at least one of."""

IDENTIFIER_USE: Final = frozenset({"usual", "official", "temp", "secondary", "old"})
COMPARATOR: Final = frozenset({"<", "<=", ">=", ">"})
_UNITS: Final = "mm[Hg] kPa /min mmol/L mg/dL kg [lb_av] kg/2 m [in_i] % Cel [degF] kg/m2 Ohm kJ s mg/dL/min"
UNITS: Final = frozenset(_UNITS.split())
"""UCUM expressions that we send."""

_REASONS: Final = (
    "unknown asked-unknown temp-unknown not-asked asked-declined masked not-applicable unsupported as-text "
    "error not-a-number negative-infinity positive-infinity not-performed not-permitted"
)
ABSENT_REASONS: Final = frozenset(_REASONS.split())
_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

_BASE: Final = "http://hl7.org/fhir/StructureDefinition/"
VITAL_SIGN_UNITS: Final = {
    f"{_BASE}bp": {"mm[Hg]"},
    f"{_BASE}heartrate": {"/min"},
    f"{_BASE}oxygensat": {"%"},
    f"{_BASE}bodytemp": {"Cel", "[degF]"},
    f"{_BASE}bodyweight": {"g", "kg", "[lb_av]"},
    f"{_BASE}bodyheight": {"cm", "[in_i]"},
    f"{_BASE}bmi": {"kg/m2"},
}
"""Who claims one of R4's vital signs profiles is bound to its units, too."""
VITAL_SIGN_LOINC: Final = {
    f"{_BASE}bp": "85354-9",
    f"{_BASE}heartrate": "8867-4",
    f"{_BASE}oxygensat": "2708-6",
    f"{_BASE}bodytemp": "8310-5",
    f"{_BASE}bodyweight": "29463-7",
    f"{_BASE}bodyheight": "8302-2",
    f"{_BASE}bmi": "39156-5",
}
"""The code that each of them demands."""


def wrong_bindings(resource: dict[str, Any]) -> list[str]:
    """What breaks a required binding in a resource, each with its element; nothing of a value is said."""
    kind = resource["resourceType"]
    missing = [f"{kind}.{name} is missing" for name in MUST_HAVE[kind] if not resource.get(name)]
    return [*missing, *_walk(kind, resource), *_vital_signs(resource)]


def _walk(element: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _walk(element, one)
    elif isinstance(value, dict):
        yield from _of_type(element, value)
        for name, one in value.items():
            yield from _walk(f"{element}.{name}", one)
    elif element in REQUIRED and value not in REQUIRED[element]:
        yield f"{element} is {value!r}"


def _of_type(element: str, value: dict[str, Any]) -> Iterator[str]:
    """What a data type is bound to wherever it stands."""
    name = element.rsplit(".", 1)[-1]
    if name == "valueQuantity":
        if value.get("system") != UCUM or value.get("code") not in UNITS or "value" not in value:
            yield f"{element} is no quantity of UCUM"
        if value.get("comparator") not in {None, *COMPARATOR}:
            yield f"{element}.comparator"
    if name == "identifier":
        if value.get("use") not in {None, *IDENTIFIER_USE}:
            yield f"{element}.use is {value['use']!r}"
        if not value.get("system") or not value.get("value"):
            yield f"{element} names nothing"
    if value.get("system") == _ABSENT and value.get("code") not in ABSENT_REASONS:
        yield f"{element} gives no reason that there is"


def _vital_signs(resource: dict[str, Any]) -> Iterator[str]:
    for profile in resource.get("meta", {}).get("profile", ()):
        if profile not in VITAL_SIGN_UNITS:
            continue
        codes = {c["code"] for c in resource["code"].get("coding", ())}
        if VITAL_SIGN_LOINC[profile] not in codes:
            yield f"{profile} demands its code"
        parts = [resource, *resource.get("component", ())]
        units = {p["valueQuantity"]["code"] for p in parts if "valueQuantity" in p}
        if not units <= VITAL_SIGN_UNITS[profile]:
            yield f"{profile} has no place for {sorted(units)}"
