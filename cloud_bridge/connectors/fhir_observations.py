"""One reading as FHIR Observations, after the HL7 Personal Health Device guide. Pure.

The first Observation is the reading itself; what follows is derived from it (pulse, status bits, meal).
Values keep the device's own unit and digits. A control solution is no patient's: it gives none.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from cloud_bridge.connectors.base import ReadingOrder
from cloud_bridge.connectors.fhir_codes import (
    ABSENT_CODES,
    ABSENT_EXTENSION,
    ABSENT_REASON,
    ASN1,
    BASE_PROFILE,
    BP_STATUS,
    CATEGORY,
    COINCIDENT_EXTENSION,
    GATEWAY_EXTENSION,
    GLUCOSE_LOINC,
    LOINC,
    MDC,
    MEAL,
    MEAL_CODES,
    MEASUREMENT,
    OUTSIDE_VITAL_SIGNS,
    PHD_CATEGORY,
    PHD_IDENTIFIER,
    PHD_PROFILE,
    SPECIMEN_CODES,
    URI,
    VITAL_SIGNS,
    Resource,
    coding,
    concept,
    identifier,
    quantity,
)
from wire_format.identity import derived_id
from wire_format.measurement import (
    BloodPressureContext,
    Component,
    GlucoseContext,
    Measurement,
    OximetryContext,
    Specimen,
)
from wire_format.nomenclature import NOMENCLATURE, PANEL_BLOOD_PRESSURE, Quantity, Term, Unit

_EPOCH = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - the guide counts a device's own seconds, which have no zone
_PANEL = (Term.SYSTOLIC, Term.DIASTOLIC, Term.MEAN_ARTERIAL)
_BITS = (
    (0, "movement", "body-movement"),
    (1, "cuff_loose", "cuff-too-loose"),
    (2, "irregular_pulse", "irregular-pulse"),
    (5, "improper_position", "improper-measurement-position"),
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """References that every Observation of a reading shares, as they are written in the bundle."""

    patient: str
    device: str
    gateway: str
    coincident: str | None


def is_patient_data(m: Measurement) -> bool:
    """Tell whether a measurement says anything about a person: no control solution, no demonstration."""
    if isinstance(m.context, OximetryContext):
        return not m.context.test_data
    return not (isinstance(m.context, GlucoseContext) and m.context.control_solution)


def observation_id(order: ReadingOrder, code: object) -> UUID:
    """Return the identity of one Observation: reading, what it says, and of whom."""
    patient = order.care.patient
    return derived_id("observation", order.reading.id, str(code), patient.system, patient.value)


def observations(order: ReadingOrder, around: Surroundings) -> list[tuple[UUID, Resource]]:
    """Return the Observations of one reading with their identities, the reading itself first."""
    m = order.reading.measurement
    if not is_patient_data(m):
        return []
    made = _Maker(order, around)
    if m.quantity is Quantity.BLOOD_PRESSURE:
        return list(made.blood_pressure())
    return list(made.plain())


@dataclass(frozen=True, slots=True)
class _Maker:
    order: ReadingOrder
    around: Surroundings

    @property
    def m(self) -> Measurement:
        """The measurement."""
        return self.order.reading.measurement

    def blood_pressure(self) -> Iterator[tuple[UUID, Resource]]:
        """Yield the panel, then pulse and status."""
        mdc, name, loinc = PANEL_BLOOD_PRESSURE
        parts = [c for c in self.m.components if c.term in _PANEL]
        in_mmhg = all(c.unit is Unit.MMHG for c in parts)
        profiles = [
            *([f"{BASE_PROFILE}bp"] if in_mmhg else []),
            f"{PHD_PROFILE}PhdCompoundNumericObservation",
        ]
        code = concept(coding(MDC, mdc, name), coding(LOINC, loinc))
        panel = self._base(mdc, code, profiles, "vital-signs")
        panel["component"] = [{"code": _code(c), **_value(c)} for c in parts]
        if self.m.failure is not None:
            panel["dataAbsentReason"] = concept(coding(ABSENT_REASON, "error"), text=self.m.failure.value)
        yield observation_id(self.order, mdc), panel
        parent = f"urn:uuid:{observation_id(self.order, mdc)}"
        pulse = self.m.component(Term.PULSE_RATE)
        if pulse is not None:
            yield self._single(pulse, parent)
        if isinstance(self.m.context, BloodPressureContext):
            yield from self._status(self.m.context, parent)

    def plain(self) -> Iterator[tuple[UUID, Resource]]:
        """Yield one Observation for each component; all others are derived from the first."""
        first, *others = self.m.components
        found = self._single(first, None)
        yield found
        parent = f"urn:uuid:{found[0]}"
        for component in others:
            yield self._single(component, parent)
        if isinstance(self.m.context, GlucoseContext):
            yield from self._meal(self.m.context, parent)

    def _single(self, component: Component, parent: str | None) -> tuple[UUID, Resource]:
        key = self._key(component)
        vital = VITAL_SIGNS.get(component.term)
        fits = vital is not None and (component.term, component.unit) not in OUTSIDE_VITAL_SIGNS
        profiles = [*([f"{BASE_PROFILE}{vital}"] if fits else []), f"{PHD_PROFILE}PhdNumericObservation"]
        category = "vital-signs" if vital else "laboratory" if component.term is Term.GLUCOSE else None
        code = self._glucose_code(component) if component.term is Term.GLUCOSE else _code(component)
        made = self._base(key, code, profiles, category) | _value(component)
        if self.m.failure is not None and component.value is None:
            made["dataAbsentReason"] = concept(coding(ABSENT_REASON, "error"), text=self.m.failure.value)
        if parent is not None:
            made["derivedFrom"] = [{"reference": parent}]
        return observation_id(self.order, key), made

    def _key(self, component: Component) -> object:
        """Return the code that tells this Observation from the others of its reading."""
        if component.term is Term.GLUCOSE and (found := SPECIMEN_CODES.get(self._specimen())):
            return found[0]
        row = NOMENCLATURE[component.term]
        return component.term.value if row.mdc is None else row.mdc

    def _specimen(self) -> Specimen:
        context = self.m.context
        specimen = context.specimen if isinstance(context, GlucoseContext) else None
        return specimen or Specimen.UNDETERMINED_PLASMA

    def _glucose_code(self, component: Component) -> Resource:
        specimen = self._specimen()
        mdc = SPECIMEN_CODES.get(specimen)
        loinc = [codes[component.unit] for codes in GLUCOSE_LOINC.get(specimen, ())]
        codings = [coding(MDC, *mdc)] if mdc else []
        return concept(*codings, *(coding(LOINC, c) for c in loinc), text=None if mdc else "Glucose")

    def _status(self, context: BloodPressureContext, parent: str) -> Iterator[tuple[UUID, Resource]]:
        said = [(bit, getattr(context, name), display) for bit, name, display in _BITS]
        known = [(bit, value, display) for bit, value, display in said if value is not None]
        if not known:
            return
        mdc, name = BP_STATUS
        made = self._base(
            mdc, concept(coding(MDC, mdc, name)), [f"{PHD_PROFILE}PhdBitsEnumerationObservation"]
        )
        made["derivedFrom"] = [{"reference": parent}]
        made["component"] = [
            {"code": concept(coding(ASN1, f"{mdc}.{bit}", display)), "valueBoolean": value}
            for bit, value, display in known
        ]
        yield observation_id(self.order, mdc), made

    def _meal(self, context: GlucoseContext, parent: str) -> Iterator[tuple[UUID, Resource]]:
        if context.meal is None:
            return
        found = MEAL_CODES.get(context.meal)
        value = concept(coding(MDC, *found)) if found else concept(text=context.meal.value)
        mdc, name = MEAL
        made = self._base(
            mdc, concept(coding(MDC, mdc, name)), [f"{PHD_PROFILE}PhdCodedEnumerationObservation"]
        )
        made |= {"derivedFrom": [{"reference": parent}], "valueCodeableConcept": value}
        yield observation_id(self.order, mdc), made

    def _base(
        self, key: object, code: Resource, profiles: list[str], category: str | None = None
    ) -> Resource:
        categories = [concept(coding(CATEGORY, category))] if category else []
        extensions = [
            (GATEWAY_EXTENSION, self.around.gateway),
            (COINCIDENT_EXTENSION, self.around.coincident),
        ]
        made: Resource = {
            "resourceType": "Observation",
            "meta": {"profile": profiles},
            "extension": [
                {"url": url, "valueReference": {"reference": to}} for url, to in extensions if to is not None
            ],
            "identifier": self._identifiers(key),
            "status": "amended" if self.order.revision > 1 else "final",
            "category": [*categories, concept(coding(PHD_CATEGORY, "phd"))],
            "code": code,
            "subject": {"reference": self.around.patient},
            "performer": [{"reference": self.around.patient}],
            "device": {"reference": self.around.device},
            **self._effective(),
        }
        notes = self._notes()
        return made | {"note": [{"text": text} for text in notes]} if notes else made

    def _identifiers(self, key: object) -> list[Resource]:
        own = identifier(URI, f"urn:uuid:{observation_id(self.order, key)}")
        found = [own, identifier(MEASUREMENT, str(self.order.reading.id))]
        guide = self._guide_key(key)
        return found if guide is None else [*found, identifier(PHD_IDENTIFIER, guide)]

    def _guide_key(self, key: object) -> str | None:
        """Return the guide's own identifier; None without a device id or a device time."""
        time, device, patient = self.m.time, self.m.device, self.order.care.patient
        if device.system_id is None or time.stated is None:
            return None
        seconds = int((time.stated - _EPOCH).total_seconds())
        quarters = (time.zone_offset_minutes or 0) // 15
        who = f"{device.system_id.upper()}-{patient.value}-{patient.system}"
        return f"{who}-{key}-{seconds}{quarters:+d}"

    def _effective(self) -> Resource:
        measured = self.order.reading.measured
        if measured is None:
            unknown = {"url": ABSENT_EXTENSION, "valueCode": "unknown"}
            return {"_effectiveDateTime": {"extension": [unknown]}}
        zone = dt.timezone(dt.timedelta(minutes=self.m.time.zone_offset_minutes or 0))
        return {"effectiveDateTime": measured.utc.astimezone(zone).isoformat()}

    def _notes(self) -> list[str]:
        reading = self.order.reading
        notes = [remark.value.replace("_", " ") for remark in self.m.remarks]
        if reading.repetition_of is not None:
            notes.append("possibly the same reading as another one shortly before")
        if reading.forked:
            notes.append("came under a number that the gateway had used before")
        return notes


def _code(component: Component) -> Resource:
    row = NOMENCLATURE[component.term]
    mdc = [] if row.mdc is None else [coding(MDC, row.mdc, row.mdc_name)]
    loinc = [coding(LOINC, code) for code in row.loinc]
    text = None if mdc or loinc else component.term.value.replace("_", " ")
    return concept(*mdc, *loinc, text=text)


def _value(component: Component) -> Resource:
    if component.value is not None:
        return {"valueQuantity": quantity(component.value, component.unit)}
    reason = "unknown" if component.absent is None else ABSENT_CODES[component.absent]
    return {"dataAbsentReason": concept(coding(ABSENT_REASON, reason))}
