"""What a hospital has after a day, counted by hand: from what was measured, and the guide's own codes.

Nothing of the product's mapping is asked.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from wire_format.measurement import (
    Absent,
    BloodPressureContext,
    Component,
    GlucoseContext,
    Meal,
    Measurement,
    OximetryContext,
)
from wire_format.nomenclature import Term

IN_A_HOME: Final = 2

CODES: Final = {
    Term.PULSE_RATE: "149546",
    Term.BODY_WEIGHT: "188736",
    Term.BODY_HEIGHT: "188740",
    Term.BODY_FAT: "188748",
    Term.BODY_TEMPERATURE: "150364",
    Term.OXYGEN_SATURATION: "150456",
    Term.GLUCOSE: "160184",  # of capillary whole blood
}
PANEL, STATUS, MEAL, STAMP = "150020", "8410608", "8417864", "67975"
MEALS: Final = {Meal.FASTING: "8417876", Meal.POSTPRANDIAL: "8417872"}
REASONS: Final = {
    Absent.ABOVE_RANGE: "positive-infinity",
    Absent.BELOW_RANGE: "negative-infinity",
    Absent.NOT_A_NUMBER: "not-a-number",
}


@dataclass(frozen=True)
class Observed:
    """One Observation at the hospital: of whom, its MDC code, what it says in one text, and its status."""

    patient: str
    code: str
    says: str
    status: str


@dataclass
class Truth:
    """What the hospital must have when all was delivered."""

    observed: Counter[Observed] = field(default_factory=Counter)
    devices: set[UUID] = field(default_factory=set)
    gateways: set[str] = field(default_factory=set)
    stamps: set[tuple[UUID, int]] = field(default_factory=set)
    origins: int = 0
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def counts(self) -> dict[str, int]:
        """How many resources of each kind."""
        alerts = self.alerts.total()
        return {
            "Observation": self.observed.total() + len(self.stamps),
            "Device": len(self.devices) + len(self.gateways),
            "Provenance": self.origins,
            "DetectedIssue": alerts,
            "Task": alerts,
            "CommunicationRequest": 2 * alerts,  # the physician's copy and the patient's message
        }

    def filed(self, person: "Person", m: Measurement, status: str = "final") -> None:
        """Note a reading as filed under a person, with its devices and its origin."""
        found = says(m)
        self.observed.update(Observed(person.number, code, text, status) for code, text in found)
        if found:
            self.origins += 1
            self.devices.add(m.device.device_id)
            self.gateways.add(person.gateway)
            if m.time.clock_offset_ms is not None:
                self.stamps.add((m.device.device_id, m.provenance.visit))

    def now_has(self, person: "Person", m: Measurement, before: str, after: str) -> None:
        """Note that what was filed of a reading has another status."""
        for code, text in says(m):
            self.observed[Observed(person.number, code, text, before)] -= 1
            self.observed[Observed(person.number, code, text, after)] += 1
        self.observed = +self.observed


def says(m: Measurement) -> list[tuple[str, str]]:
    """What a reading is to the hospital: MDC code and value of each Observation, from the guide's table."""
    parts = {c.term: c for c in m.components}
    match m.context:
        case GlucoseContext(control_solution=True):
            return []
        case OximetryContext(test_data=True):
            return []
        case BloodPressureContext() as status:
            pressure = "/".join(_value(parts[term]) for term in (Term.SYSTOLIC, Term.DIASTOLIC))
            pressure += ": error" if m.failure else ""
            bits = [status.movement, status.cuff_loose, status.irregular_pulse, status.improper_position]
            known = " ".join(str(bit) for bit in bits if bit is not None)
            pulse = [(CODES[Term.PULSE_RATE], _value(parts[Term.PULSE_RATE], m))]
            return [(PANEL, pressure), *pulse, *([(STATUS, known)] if known else [])]
        case GlucoseContext(meal=Meal() as meal):
            return [*((CODES[c.term], _value(c, m)) for c in m.components), (MEAL, MEALS[meal])]
        case _:
            return [(CODES[c.term], _value(c, m)) for c in m.components]


def _value(c: Component, m: Measurement | None = None) -> str:
    """What an Observation or a part of one says; of a failed reading `m`, that it failed."""
    if c.value is not None:
        return _plain(c.value, c.unit)
    assert c.absent is not None
    return "error" if m is not None and m.failure else REASONS[c.absent]


def _plain(value: Decimal | int, unit: str) -> str:
    """The tests' FHIR server drops zeros at the end; that we send them is shown in test_fhir_map.py."""
    return f"{Decimal(value).normalize():f} {unit}"


@dataclass(frozen=True)
class Person:
    """A patient in a home."""

    index: int

    @property
    def number(self) -> str:
        return f"{1000 + self.index}"

    @property
    def patient(self) -> str:
        return f"kite-{self.index}"

    @property
    def gateway(self) -> str:
        return f"home-{self.index // IN_A_HOME}"

    @property
    def pseudonym(self) -> str:
        return f"p-{self.index % IN_A_HOME}"

    @property
    def neighbour(self) -> "Person":
        return Person(self.index ^ 1)


def observed(resource: dict[str, Any], patients: dict[str, str]) -> Observed:
    """Read an Observation of the hospital back as the truth has it. `patients`: reference to number."""
    (code,) = [c["code"] for c in resource["code"]["coding"] if c["system"].startswith("urn:iso:std")]
    return Observed(
        patients[resource["subject"]["reference"]], code, _read(resource, code), resource["status"]
    )


def _read(resource: dict[str, Any], code: str) -> str:
    if code == PANEL:
        said = "/".join(_read(part, "") for part in resource["component"])
        return f"{said}: {_read_reason(resource)}" if "dataAbsentReason" in resource else said
    if code == STATUS:
        return " ".join(str(part["valueBoolean"]) for part in resource["component"])
    if "valueCodeableConcept" in resource:
        return str(resource["valueCodeableConcept"]["coding"][0]["code"])
    if "valueQuantity" in resource:
        return _plain(resource["valueQuantity"]["value"], resource["valueQuantity"]["code"])
    return _read_reason(resource)


def _read_reason(resource: dict[str, Any]) -> str:
    return str(resource["dataAbsentReason"]["coding"][0]["code"])
