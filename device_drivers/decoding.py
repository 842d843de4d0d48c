"""One decoder per characteristic: bytes of a packet to what they say, before anyone asks whose and when.

The table is the only place where a characteristic meets its decoder.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from device_drivers.decoded import PLAIN, Decoded, component, judged, order_remarks, shape_remarks
from device_drivers.decoding_streams import (
    continuous_glucose,
    continuous_oximetry,
    enhanced_blood_pressure,
    live_observation,
    plx_status,
    stored_observation,
)
from device_drivers.profile import Decode
from device_drivers.quantities.blood_pressure import BloodPressureMeasurement, Layout
from device_drivers.quantities.body import BodyCompositionMeasurement, WeightMeasurement
from device_drivers.quantities.glucose import (
    EXERCISE_OVERRUN,
    FAULT_BITS,
    INTERRUPTED_BIT,
    GlucoseMeasurement,
    GlucoseMeasurementContext,
)
from device_drivers.quantities.oximetry import PlxSpotCheck
from device_drivers.quantities.temperature import TemperatureMeasurement
from wire_format.errors import Rejected
from wire_format.measurement import (
    Absent,
    BodyContext,
    Component,
    Failure,
    GlucoseContext,
    OximetryContext,
    TemperatureContext,
)
from wire_format.nomenclature import Quantity, Term, Unit

__all__ = [
    "DECODERS",
    "PLAIN",
    "Decoded",
    "Decoder",
    "component",
    "join",
    "judged",
    "order_remarks",
    "shape_remarks",
    "with_context",
]


def blood_pressure(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2A35."""
    layout = Layout(user_always=decode.user_always, tail_order=decode.tail_order)
    packet = BloodPressureMeasurement.from_bytes(data, layout)
    parts = [
        component(Term.SYSTOLIC, packet.unit, packet.systolic),
        component(Term.DIASTOLIC, packet.unit, packet.diastolic),
        component(Term.MEAN_ARTERIAL, packet.unit, packet.mean_arterial),
    ]
    if packet.pulse_rate is not None:
        parts.append(component(Term.PULSE_RATE, Unit.PER_MINUTE, packet.pulse_rate))
    return judged(
        Decoded(
            Quantity.BLOOD_PRESSURE,
            tuple(parts),
            context=packet.context,
            user=packet.user_id,
            stamp=packet.time_stamp,
            remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing)
            + order_remarks(parts),
        ),
        decode,
    )


def glucose(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2A18 without its context."""
    packet = GlucoseMeasurement.from_bytes(data)
    status = packet.sensor_status or 0
    failure = Failure.DEVICE_FAULT if status & FAULT_BITS else None
    if status & INTERRUPTED_BIT:
        failure = Failure.INTERRUPTED
    return judged(
        Decoded(
            Quantity.GLUCOSE,
            (packet.component,),
            context=GlucoseContext(
                specimen=packet.specimen,
                sample_location=packet.location,
                sensor_status_bits=packet.sensor_status,
                control_solution=packet.control_solution,
            ),
            stamp=packet.base_time,
            failure=failure,
            remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
            sequence=packet.sequence,
            offset_minutes=packet.offset_minutes,
            context_follows=packet.context_follows,
        ),
        decode,
    )


def with_context(decoded: Decoded, data: bytes, decode: Decode = PLAIN) -> Decoded:
    """Return a glucose record with its 0x2A34 merged in; raises `MalformedPacket`."""
    packet = GlucoseMeasurementContext.from_bytes(data)
    if not isinstance(decoded.context, GlucoseContext):
        raise Rejected("Only a glucose record has a Glucose Measurement Context.")
    said = {
        "meal": packet.meal,
        "meal_code": packet.meal_code,
        "extended_flags": packet.extended_flags,
        **_nibbles(packet),
        **_amounts(packet),
        **_exercise(packet),
    }
    ketone = decode.ketone_meal is not None and packet.meal_code == decode.ketone_meal
    reserved = packet.reserved_bits and not ketone
    remarks = decoded.remarks + shape_remarks(reserved=reserved, trailing=packet.trailing)
    merged = replace(
        decoded,
        context=decoded.context.model_copy(update=said | {"meal": None} if ketone else said),
        remarks=tuple(dict.fromkeys(remarks)),
        context_follows=False,
    )
    return _as_ketone(merged, decode) if ketone else merged


def _as_ketone(decoded: Decoded, decode: Decode) -> Decoded:
    """Return a record as the ketone that it is: tenths of mmol/L stand where mg/dL stand else (i-SENS)."""
    (said,) = decoded.components
    tenths = said.value if said.unit is Unit.MG_PER_DL else None
    if tenths is None:
        absent = said.absent or Absent.RESERVED_VALUE
        part = Component(term=Term.KETONE, unit=Unit.MMOL_PER_L, absent=absent)
    else:
        part = Component(term=Term.KETONE, unit=Unit.MMOL_PER_L, value=tenths.scaleb(-1))
    return judged(replace(decoded, components=(part,)), decode)


def _nibbles(packet: GlucoseMeasurementContext) -> dict[str, int | None]:
    both = packet.tester_health
    return {} if both is None else {"tester": both & 0x0F, "health": both >> 4}


def _amounts(packet: GlucoseMeasurementContext) -> dict[str, int | Decimal | None]:
    said: dict[str, int | Decimal | None] = {}
    if packet.carbohydrate:
        said |= {"carbohydrate_id": packet.carbohydrate[0], "carbohydrate_kg": packet.carbohydrate[1].value}
    if packet.medication:
        unit = "medication_litre" if packet.flags & 32 else "medication_kg"
        said |= {"medication_id": packet.medication[0], unit: packet.medication[1].value}
    if packet.hba1c:
        said["hba1c_percent"] = packet.hba1c.value
    return said


def _exercise(packet: GlucoseMeasurementContext) -> dict[str, int | bool | None]:
    if packet.exercise is None:
        return {}
    seconds, percent = packet.exercise
    overrun = seconds == EXERCISE_OVERRUN
    return {
        "exercise_seconds": None if overrun else seconds,
        "exercise_overrun": overrun,
        "exercise_percent": percent,
    }


def weight(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2A9D."""
    packet = WeightMeasurement.from_bytes(data)
    return judged(
        Decoded(
            Quantity.BODY_WEIGHT,
            packet.components(decode.mass_resolution),
            context=BodyContext(),
            user=packet.user_id,
            stamp=packet.time_stamp,
            remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
        ),
        decode,
    )


def body_composition(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2A9C; the parts of a measurement in several packets are joined with `join`."""
    packet = BodyCompositionMeasurement.from_bytes(data)
    return judged(
        Decoded(
            Quantity.BODY_COMPOSITION,
            packet.components(decode.mass_resolution),
            context=BodyContext(),
            user=packet.user_id,
            stamp=packet.time_stamp,
            remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
            more_follows=packet.more_follows,
        ),
        decode,
    )


def join(first: Decoded, second: Decoded, decode: Decode = PLAIN) -> Decoded:
    """Return a body composition whose fields came in two packets. The first packet's time and user hold.

    Body fat is in both; the second says it again, and is taken where the first has no value for it.
    """
    said = [*first.components, *second.components, *(c for c in first.components if c.value is not None)]
    merged = {c.term: c for c in said}
    joined = replace(
        first,
        components=tuple(
            merged[t] for t in dict.fromkeys(c.term for c in first.components + second.components)
        ),
        context=BodyContext(packets=2),
        user=first.user if first.user is not None else second.user,
        stamp=first.stamp or second.stamp,
        remarks=tuple(dict.fromkeys(first.remarks + second.remarks)),
        failure=None,
        more_follows=False,
    )
    return judged(joined, decode)


def temperature(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2A1C."""
    packet = TemperatureMeasurement.from_bytes(data)
    return judged(
        Decoded(
            Quantity.BODY_TEMPERATURE,
            (component(Term.BODY_TEMPERATURE, packet.unit, packet.temperature),),
            context=TemperatureContext(site=packet.kind),
            stamp=packet.time_stamp,
            remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
        ),
        decode,
    )


def oximetry(data: bytes, decode: Decode) -> Decoded:
    """Decode 0x2A5E."""
    packet = PlxSpotCheck.from_bytes(data)
    parts = [
        component(Term.OXYGEN_SATURATION, Unit.PERCENT, packet.saturation),
        component(Term.PULSE_RATE, Unit.PER_MINUTE, packet.pulse_rate),
    ]
    if packet.pulse_amplitude is not None:
        parts.append(component(Term.PULSE_AMPLITUDE_INDEX, Unit.PERCENT, packet.pulse_amplitude))
    decoded = Decoded(
        Quantity.PULSE_OXIMETRY,
        tuple(parts),
        context=OximetryContext(
            measurement_status_bits=packet.measurement_status, sensor_status_bits=packet.sensor_status
        ),
        stamp=None if packet.clock_not_set else packet.time_stamp,
        remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
    )
    return judged(plx_status(decoded, packet.measurement_status), decode)


Decoder = Callable[[bytes, Decode], Decoded]

DECODERS: Final[dict[str, Decoder]] = {
    "2A35": blood_pressure,
    "2A18": glucose,
    "2A9D": weight,
    "2A9C": body_composition,
    "2A1C": temperature,
    "2A5E": oximetry,
    "2B34": enhanced_blood_pressure,
    "2A5F": continuous_oximetry,
    "2AA7": continuous_glucose,
    "2B8B": live_observation,
    "2BDD": stored_observation,
}
