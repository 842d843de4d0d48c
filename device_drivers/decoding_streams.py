"""Decoders of what came later into the standards: enhanced pressure, continuous readings, generic sensors.

As in `device_drivers.decoding`: bytes to what they say. The table there names them.
"""

from dataclasses import replace
from typing import Final

from device_drivers.decoded import Decoded, component, judged, order_remarks, shape_remarks
from device_drivers.profile import Decode
from device_drivers.quantities.continuous_glucose import CgmMeasurement, records
from device_drivers.quantities.enhanced_blood_pressure import EnhancedBloodPressure
from device_drivers.quantities.health_sensor import NumericValue, Observation, Segment
from device_drivers.quantities.oximetry import (
    EARLY_BIT,
    NO_VALUE_BITS,
    QUESTIONABLE_BIT,
    STORED_BIT,
    TEST_BITS,
    PlxContinuous,
)
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import (
    Absent,
    Component,
    Failure,
    GlucoseContext,
    OximetryContext,
    Remark,
    SensorContext,
    Specimen,
)
from wire_format.nomenclature import NOMENCLATURE, PANEL_BLOOD_PRESSURE, Quantity, Term, Unit


def enhanced_blood_pressure(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2B34."""
    packet = EnhancedBloodPressure.from_bytes(data)
    parts = [
        component(Term.SYSTOLIC, packet.unit, packet.systolic),
        component(Term.DIASTOLIC, packet.unit, packet.diastolic),
        component(Term.MEAN_ARTERIAL, packet.unit, packet.mean_arterial),
    ]
    if packet.pulse_rate is not None:
        parts.append(component(Term.PULSE_RATE, Unit.PER_MINUTE, packet.pulse_rate))
    shape = shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing)
    return judged(
        Decoded(
            Quantity.BLOOD_PRESSURE,
            tuple(parts),
            context=packet.context,
            user=packet.user_id,
            stamp=packet.stamp,
            remarks=shape + order_remarks(parts),
        ),
        decode,
    )


def plx_status(decoded: Decoded, status: int | None) -> Decoded:
    """Return a saturation as its measurement status wants it read.

    What the device calls unavailable or invalid is no value: the number stays in the raw bytes only.
    """
    bits = status or 0
    found = (
        (Remark.QUESTIONABLE, QUESTIONABLE_BIT),
        (Remark.EARLY_ESTIMATE, EARLY_BIT),
        (Remark.STORED_RECORD, STORED_BIT),
    )
    parts = decoded.components
    if bits & NO_VALUE_BITS:
        parts = tuple(Component(term=p.term, unit=p.unit, absent=Absent.UNSUCCESSFUL) for p in parts)
    return replace(
        decoded,
        components=parts,
        remarks=(*decoded.remarks, *(remark for remark, bit in found if bits & bit)),
        provisional=bool(bits & (EARLY_BIT | NO_VALUE_BITS | TEST_BITS)),
    )


STREAMS: Final = frozenset({"2A5F"})
"""Characteristics that bring a value each second: keeping every one would bury what matters."""

LIVE_WITHIN_S: Final = 30
"""How far back a value of a stream may reach: oximeters average over some seconds, slow ones over more."""

_STREAM_TERMS: Final = (
    (Term.OXYGEN_SATURATION, Term.PULSE_RATE),
    (Term.OXYGEN_SATURATION_FAST, Term.PULSE_RATE_FAST),
    (Term.OXYGEN_SATURATION_SLOW, Term.PULSE_RATE_SLOW),
)


def continuous_oximetry(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2A5F. It has no time stamp: it is of the moment in which it came."""
    packet = PlxContinuous.from_bytes(data)
    parts = []
    pairs = (packet.normal, packet.fast, packet.slow)
    for (saturation, pulse), pair in zip(_STREAM_TERMS, pairs, strict=True):
        if pair is not None:
            parts.append(component(saturation, Unit.PERCENT, pair[0]))
            parts.append(component(pulse, Unit.PER_MINUTE, pair[1]))
    if packet.pulse_amplitude is not None:
        parts.append(component(Term.PULSE_AMPLITUDE_INDEX, Unit.PERCENT, packet.pulse_amplitude))
    decoded = Decoded(
        Quantity.PULSE_OXIMETRY,
        tuple(parts),
        context=OximetryContext(
            measurement_status_bits=packet.measurement_status,
            sensor_status_bits=packet.sensor_status,
            continuous=True,
        ),
        remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
    )
    found = judged(plx_status(decoded, packet.measurement_status), decode)
    return replace(
        found,
        provisional=found.provisional or found.failure is not None,
        live_within_s=None if Remark.STORED_RECORD in found.remarks else LIVE_WITHIN_S,
    )


def cgm_record(data: bytes, decode: Decode) -> Decoded:
    """Decode one record of 0x2AA7. When its session began is not in it: whoever knows adds the stamp."""
    packet = CgmMeasurement.from_bytes(data)
    parts = [component(Term.GLUCOSE, Unit.MG_PER_DL, packet.concentration)]
    if packet.trend is not None:
        parts.append(component(Term.GLUCOSE_TREND, Unit.MG_PER_DL_PER_MINUTE, packet.trend))
    if packet.quality is not None:
        parts.append(component(Term.GLUCOSE_QUALITY, Unit.PERCENT, packet.quality))
    nothing = parts[0].absent not in {None, Absent.ABOVE_RANGE, Absent.BELOW_RANGE}
    return judged(
        Decoded(
            Quantity.CONTINUOUS_GLUCOSE,
            tuple(parts),
            context=GlucoseContext(
                specimen=Specimen.INTERSTITIAL_FLUID, annunciation_bits=packet.annunciation_bits
            ),
            failure=Failure.NO_RESULT if nothing else None,
            remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
            sequence=packet.offset_minutes,
            offset_minutes=packet.offset_minutes,
        ),
        decode,
    )


def continuous_glucose(data: bytes, decode: Decode) -> Decoded:
    """Decode the first record of a notification of 0x2AA7."""
    return cgm_record(next(records(data), b""), decode)


_UNITS: Final = {
    544: Unit.PERCENT,
    1731: Unit.KG,
    1760: Unit.POUND,
    2130: Unit.MG_PER_DL,
    2720: Unit.PER_MINUTE,
    3843: Unit.KPA,
    3872: Unit.MMHG,
    4288: Unit.OHM,
    4416: Unit.FAHRENHEIT,
    4722: Unit.MMOL_PER_L,
    6048: Unit.CELSIUS,
}
"""MDC dimensions (IEEE 11073-10101) that a generic sensor may state a value in."""

_TERMS: Final = {row.mdc: term for term, row in NOMENCLATURE.items() if row.mdc is not None}
_QUANTITIES: Final = {
    Term.SYSTOLIC: Quantity.BLOOD_PRESSURE,
    Term.DIASTOLIC: Quantity.BLOOD_PRESSURE,
    Term.MEAN_ARTERIAL: Quantity.BLOOD_PRESSURE,
    Term.OXYGEN_SATURATION: Quantity.PULSE_OXIMETRY,
    Term.PULSE_RATE: Quantity.PULSE_RATE,
    Term.BODY_WEIGHT: Quantity.BODY_WEIGHT,
    Term.BODY_FAT: Quantity.BODY_COMPOSITION,
    Term.BODY_TEMPERATURE: Quantity.BODY_TEMPERATURE,
    Term.GLUCOSE: Quantity.GLUCOSE,
}


def observation(data: bytes, decode: Decode) -> Decoded:
    """Decode a whole observation of a generic health sensor.

    Raises `MalformedPacket` for what is not numeric, and for types and units that no row here knows.
    """
    packet = Observation.from_bytes(data)
    parts = tuple(_sensor_component(one) for one in packet.values)
    quantity = _quantity(packet.kind, parts)
    context = (
        GlucoseContext(specimen=Specimen.UNDETERMINED_PLASMA)
        if quantity is Quantity.GLUCOSE
        else SensorContext(kind=packet.kind, status_bits=packet.status)
    )
    shape = shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing)
    pressure = quantity is Quantity.BLOOD_PRESSURE and len(parts) > 1
    return judged(
        Decoded(
            quantity,
            parts,
            context=context,
            user=packet.patient,
            stamp=packet.time,
            remarks=shape + (order_remarks(parts) if pressure else ()),
        ),
        decode,
    )


def _sensor_component(one: NumericValue) -> Component:
    term, unit = _TERMS.get(one.kind), _UNITS.get(one.unit)
    if term is None or unit is None or unit not in NOMENCLATURE[term].units:
        raise MalformedPacket(f"A value of MDC type {one.kind} in MDC unit {one.unit} is not known here.")
    return component(term, unit, one.value)


def _quantity(kind: int, parts: tuple[Component, ...]) -> Quantity:
    if kind == PANEL_BLOOD_PRESSURE[0]:
        return Quantity.BLOOD_PRESSURE
    for part in parts:
        if part.term in _QUANTITIES:
            return _QUANTITIES[part.term]
    raise MalformedPacket(f"An observation of MDC type {kind} is not known here.")


def live_observation(data: bytes, decode: Decode) -> Decoded:
    """Decode an observation that came in one segment of 0x2B8B."""
    return observation(_alone(data), decode)


def stored_observation(data: bytes, decode: Decode) -> Decoded:
    """Decode an observation that came in one segment of 0x2BDD, behind its record number."""
    return numbered_observation(_alone(data), decode)


def numbered_observation(data: bytes, decode: Decode) -> Decoded:
    """Decode a whole stored observation: its record number, then itself."""
    r = Reader(data, "Stored Health Sensor Observation")
    number = r.uint(4, "record number")
    return replace(observation(r.rest(), decode), position=number)


def _alone(data: bytes) -> bytes:
    segment = Segment.from_bytes(data)
    if not (segment.first and segment.last):
        raise MalformedPacket("This is one segment of several: alone it says nothing.")
    return segment.part
