"""What the HL7 Personal Health Device guide (2.1.0) and R4 say of a resource, as FHIRPath."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import fhirpathpy
from fhirpathpy.models import models

OF_A_PATIENT: Final = (
    "category.coding.where(system.endsWith('PhdObservationCategories') and code = 'phd').count() = 1",
    (
        "extension.where(url = 'http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice')"
        ".value.reference.startsWith('Device/')"
    ),
    "subject.reference.startsWith('Patient/')",
    "performer.reference = subject.reference",
    "device.reference.startsWith('Device/')",
    "effective.exists() or effective.extension.where(value = 'unknown').exists()",
    "meta.profile.where(startsWith('http://hl7.org/fhir/uv/phd/StructureDefinition/Phd')).count() = 1",
    "meta.security.where(code = 'HTEST').exists()",
    "identifier.where(system = 'urn:ietf:rfc:3986' and value.startsWith('urn:uuid:')).count() = 1",
    "identifier.where(system = 'urn:kiteline:measurement').count() = 1",
    # One of them, and only one (R4 obs-6): a value, or the reason why there is none, or parts.
    "value.exists() xor (dataAbsentReason.exists() or component.exists())",
    "value.ofType(Quantity).exists() implies value.ofType(Quantity).system = 'http://unitsofmeasure.org'",
    "effective.exists() implies status in ('final' | 'amended' | 'entered-in-error')",
)
PANEL: Final = (
    *OF_A_PATIENT,
    "code.coding.where(system = 'http://loinc.org' and code = '85354-9').count() = 1",
    "code.coding.where(system = 'urn:iso:std:iso:11073:10101' and code = '150020').count() = 1",
    "category.coding.where(code = 'vital-signs').exists()",
    "value.empty()",
    (
        "component.where(code.coding.where(system = 'http://loinc.org' and code = '8480-6').exists()"
        " and code.coding.where(code = '150021').exists()).count() = 1"
    ),
    (
        "component.where(code.coding.where(system = 'http://loinc.org' and code = '8462-4').exists()"
        " and code.coding.where(code = '150022').exists()).count() = 1"
    ),
    "component.all(value.exists() xor dataAbsentReason.exists())",
    "component.value.ofType(Quantity).all(code = 'mm[Hg]' or code = 'kPa')",
    "meta.profile.where(endsWith('PhdCompoundNumericObservation')).exists()",
    (
        "meta.profile.where($this = 'http://hl7.org/fhir/StructureDefinition/bp').exists()"
        " implies component.value.ofType(Quantity).all(code = 'mm[Hg]')"
    ),
)
DERIVED: Final = (*OF_A_PATIENT, "derivedFrom.reference.startsWith('Observation/')")
STAMP: Final = (
    "code.coding.where(code = '67975').exists()",
    "subject.reference.startsWith('Device/')",
    "device.reference.startsWith('Device/')",
    "subject.reference != device.reference",
    "value.is(dateTime)",
    "effective.is(dateTime)",
    "status = 'final'",
)
_SYNCHRONISED: Final = "property.where(type.coding.where(code = '68220').exists()).valueCode.coding.code"
PHD_DEVICE: Final = (
    "meta.profile = 'http://hl7.org/fhir/uv/phd/StructureDefinition/PhdDevice'",
    "type.coding.where(system = 'urn:iso:std:iso:11073:10101' and code = '65573').count() = 1",
    "identifier.where(type.coding.code = 'SYSID').system = 'urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680'",
    "identifier.where(type.coding.code = 'SYSID').value.matches('^([0-9A-F]{2}-){7}[0-9A-F]{2}$')",
    "identifier.where(type.coding.code = 'BTMAC').value.matches('^([0-9A-F]{2}-){5}[0-9A-F]{2}$')",
    (
        "specialization.systemType.coding.code in "
        "('528391' | '528401' | '528399' | '528404' | '528392' | '528388')"
    ),
    "specialization.version.exists()",
    "manufacturer.exists() and modelNumber.exists() and serialNumber.exists()",
    "version.where(type.coding.code = '531976').value = '1.0'",
    f"{_SYNCHRONISED} = '532224'",
)
PHG_DEVICE: Final = (
    "meta.profile = 'http://hl7.org/fhir/uv/phd/StructureDefinition/PhgDevice'",
    "type.coding.where(system = 'urn:iso:std:iso:11073:10101' and code = '531981').count() = 1",
    "identifier.where(type.coding.code = 'SYSID').value.matches('^([0-9A-F]{2}-){7}[0-9A-F]{2}$')",
    "specialization.systemType.coding.code = '528457'",
    "version.where(type.coding.code = '531975').value.exists()",
    f"{_SYNCHRONISED} = '532226'",
)
WORK: Final = (
    "focus.reference.startsWith('DetectedIssue/')",
    "for.reference.startsWith('Patient/')",
    "owner.reference.startsWith('Practitioner/')",
    "restriction.period.end.exists()",
    "groupIdentifier.system = 'urn:kiteline:alert'",
    "input.all(value.reference.startsWith('Observation/'))",
)
MESSAGE: Final = (
    "groupIdentifier.system = 'urn:kiteline:alert'",
    "about.reference.startsWith('DetectedIssue/')",
    "recipient.count() = 1",
    "payload.content.exists()",
)
ISSUE: Final = (
    "code.coding.where(system = 'urn:kiteline:rule').version.exists()",
    "implicated.reference = evidence.detail.reference",
    "patient.reference.startsWith('Patient/')",
    "author.reference.startsWith('Device/')",
)
ORIGIN: Final = (
    "agent.type.coding.code = ('assembler' | 'performer')",
    "entity.what.identifier.value.matches('^sha256:[0-9a-f]{64}$')",
    "target.all(reference.startsWith('Observation/'))",
)


def rules_of(resource: dict[str, Any]) -> tuple[str, ...]:
    """The rules for a resource, by what it is."""
    codes = {c["code"] for part in ("code", "type") for c in resource.get(part, {}).get("coding", ())}
    match resource["resourceType"]:
        case "Observation" if "67975" in codes:
            return STAMP
        case "Observation" if "150020" in codes:
            return PANEL
        case "Observation":
            return DERIVED if "derivedFrom" in resource else OF_A_PATIENT
        case "Device":
            return PHD_DEVICE if "65573" in codes else PHG_DEVICE
        case kind:
            return {
                "Task": WORK,
                "CommunicationRequest": MESSAGE,
                "DetectedIssue": ISSUE,
                "Provenance": ORIGIN,
            }[kind]


@cache
def _compiled(rule: str) -> Callable[[dict[str, Any]], list[Any]]:
    found: Callable[[dict[str, Any]], list[Any]] = fhirpathpy.compile(rule, models["r4"])
    return found


def holds(resource: dict[str, Any], rule: str) -> bool:
    return _compiled(rule)(resource) == [True]


def broken_rules(resource: dict[str, Any]) -> list[str]:
    """The rules that a resource breaks; of a resource that has none, an error."""
    return [rule for rule in rules_of(resource) if not holds(resource, rule)]
