"""One decoder per characteristic: bytes of a packet to what they say, before anyone asks whose and when.

The table is the only place where a characteristic meets its decoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
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
    Context,
    Failure,
    GlucoseContext,
    OximetryContext,
    Remark,
    TemperatureContext,
)
from wire_format.nomenclature import NOMENCLATURE, Quantity, Term, Unit
from wire_format.units import convert

PLAIN: Final = Decode()
"""The rules of a device that keeps to its specification."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one packet says. `sequence` and `offset_minutes` exist for records that a device numbers."""

    quantity: Quantity
    components: tuple[Component, ...]
    context: Context | None = None
    user: int | None = None
    stamp: DateTime | None = None
    failure: Failure | None = None
    remarks: tuple[Remark, ...] = ()
    sequence: int | None = None
    offset_minutes: int | None = None
    context_follows: bool = False
    more_follows: bool = False


def component(term: Term, unit: Unit, number: MedFloat) -> Component:
    """Return a component of a medical float, or the reason why it is no value."""
    value = number.value
    if value is None:
        return Component(term=term, unit=unit, absent=number.absent)
    return Component(term=term, unit=unit, value=value)


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


def order_remarks(parts: Sequence[Component]) -> tuple[Remark, ...]:
    """Say if the diastolic pressure (second) is not below the systolic one (first)."""
    systolic, diastolic = parts[0].value, parts[1].value
    wrong = systolic is not None and diastolic is not None and diastolic >= systolic
    return (Remark.DIASTOLIC_NOT_BELOW_SYSTOLIC,) if wrong else ()


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
            packet.components(),
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
    return judged(
        Decoded(
            Quantity.PULSE_OXIMETRY,
            tuple(parts),
            context=OximetryContext(
                measurement_status_bits=packet.measurement_status, sensor_status_bits=packet.sensor_status
            ),
            stamp=None if packet.clock_not_set else packet.time_stamp,
            remarks=shape_remarks(reserved=packet.reserved_bits, trailing=packet.trailing),
        ),
        decode,
    )


Decoder = Callable[[bytes, Decode], Decoded]

DECODERS: Final[dict[str, Decoder]] = {
    "2A35": blood_pressure,
    "2A18": glucose,
    "2A9D": weight,
    "2A9C": body_composition,
    "2A1C": temperature,
    "2A5E": oximetry,
}


def shape_remarks(*, reserved: bool, trailing: bytes) -> tuple[Remark, ...]:
    """Say what of a packet's form a reader must know."""
    found = ((Remark.RESERVED_BITS, reserved), (Remark.TRAILING_BYTES, bool(trailing)))
    return tuple(remark for remark, present in found if present)


def judged(decoded: Decoded, decode: Decode) -> Decoded:
    """Add what follows from the values alone: sentinels, no result at all, implausible values."""
    components = tuple(_without_sentinel(part, decode) for part in decoded.components)
    failure = decoded.failure
    results = [c for c in components if c.absent not in {Absent.ABOVE_RANGE, Absent.BELOW_RANGE}]
    if failure is None and results and all(c.value is None for c in components):
        failure = Failure.NO_RESULT
    remarks: tuple[Remark, ...] = tuple(r for r in decoded.remarks if r is not Remark.IMPLAUSIBLE)
    if any(_implausible(part, decode) for part in components):
        remarks = (*remarks, Remark.IMPLAUSIBLE)
    return replace(decoded, components=components, failure=failure, remarks=remarks)


def _without_sentinel(part: Component, decode: Decode) -> Component:
    zero = part.value == 0 and part.term in decode.zero_is_absent
    if zero or part.value in decode.absent.get(part.term, ()):
        return Component(term=part.term, unit=part.unit, absent=Absent.NOT_MEASURED)
    return part


def _implausible(part: Component, decode: Decode) -> bool:
    if part.value is None:
        return False
    row = NOMENCLATURE[part.term]
    low, high = decode.plausible.get(part.term, (row.low, row.high))
    return not low <= convert(part.value, part.unit, row.units[0]) <= high
