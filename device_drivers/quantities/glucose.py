"""Glucose Measurement (0x2A18), Glucose Measurement Context (0x2A34), Glucose Feature (0x2A51).

Glucose Service 1.0.1. The wire knows kg/L and mol/L; mg/dL and mmol/L are the same numbers with the point
moved, hence exact.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntFlag
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Component, Meal, Specimen
from wire_format.nomenclature import Term, Unit

CONTROL_SOLUTION_LOCATION: Final = 4


class Flag(IntFlag):
    """Flags of 0x2A18."""

    TIME_OFFSET = 1
    CONCENTRATION = 2
    MOL_PER_L = 4
    SENSOR_STATUS = 8
    CONTEXT_FOLLOWS = 16


_KNOWN_FLAGS: Final = 0b0001_1111
_KNOWN_STATUS: Final = 0x0FFF
_TOO_HIGH: Final = 1 << 5
_TOO_LOW: Final = 1 << 6
FAULT_BITS: Final = 1 << 1 | 1 << 10  # sensor malfunction, general device fault
INTERRUPTED_BIT: Final = 1 << 9
BATTERY_LOW_BIT: Final = 1

_SPECIMENS: Final = {
    1: Specimen.CAPILLARY_WHOLE_BLOOD,
    2: Specimen.CAPILLARY_PLASMA,
    3: Specimen.VENOUS_WHOLE_BLOOD,
    4: Specimen.VENOUS_PLASMA,
    5: Specimen.ARTERIAL_WHOLE_BLOOD,
    6: Specimen.ARTERIAL_PLASMA,
    7: Specimen.UNDETERMINED_WHOLE_BLOOD,
    8: Specimen.UNDETERMINED_PLASMA,
    9: Specimen.INTERSTITIAL_FLUID,
    10: Specimen.CONTROL_SOLUTION,
}


@dataclass(frozen=True, slots=True)
class GlucoseMeasurement:
    """One packet of 0x2A18. `type_location` holds the type in its low, the location in its high nibble."""

    flags: int
    sequence: int
    base_time: DateTime
    offset_minutes: int | None = None
    concentration: MedFloat | None = None
    type_location: int | None = None
    sensor_status: int | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Glucose Measurement")
        flags = r.uint(1, "flags")
        sequence = r.uint(2, "sequence number")
        base = r.date_time("base time")
        offset = r.sint(2, "time offset") if flags & Flag.TIME_OFFSET else None
        concentration = r.sfloat("concentration") if flags & Flag.CONCENTRATION else None
        kind = r.uint(1, "type and location") if flags & Flag.CONCENTRATION else None
        status = r.uint(2, "sensor status") if flags & Flag.SENSOR_STATUS else None
        return cls(flags, sequence, base, offset, concentration, kind, status, r.rest())

    def __bytes__(self) -> bytes:
        parts = [
            bytes([self.flags]),
            self.sequence.to_bytes(2, "little"),
            bytes(self.base_time),
            b"" if self.offset_minutes is None else self.offset_minutes.to_bytes(2, "little", signed=True),
            b"" if self.concentration is None else bytes(self.concentration),
            b"" if self.type_location is None else bytes([self.type_location]),
            b"" if self.sensor_status is None else self.sensor_status.to_bytes(2, "little"),
            self.trailing,
        ]
        return b"".join(parts)

    @property
    def context_follows(self) -> bool:
        """Whether a packet of 0x2A34 with this sequence number belongs to this record."""
        return bool(self.flags & Flag.CONTEXT_FOLLOWS)

    @property
    def specimen(self) -> Specimen | None:
        """What was measured; None if the device did not say (0 or no type)."""
        code = None if self.type_location is None else self.type_location & 0x0F
        return _SPECIMENS.get(code, Specimen.RESERVED) if code else None

    @property
    def location(self) -> int | None:
        """Sample location code: 1 finger, 2 alternate site, 3 earlobe, 4 control solution, 15 not said."""
        return None if self.type_location is None else self.type_location >> 4

    @property
    def control_solution(self) -> bool:
        """Whether this is a check of the meter and nobody's blood."""
        return self.specimen is Specimen.CONTROL_SOLUTION or self.location == CONTROL_SOLUTION_LOCATION

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag or status bit is set. The value holds all the same."""
        return bool(self.flags & ~_KNOWN_FLAGS or (self.sensor_status or 0) & ~_KNOWN_STATUS)

    @property
    def component(self) -> Component:
        """The concentration in mg/dL (wire: kg/L) or mmol/L (wire: mol/L), or why there is none."""
        unit = Unit.MMOL_PER_L if self.flags & Flag.MOL_PER_L else Unit.MG_PER_DL
        status = self.sensor_status or 0
        special = None if self.concentration is None else self.concentration.absent
        if status & _TOO_HIGH or special is Absent.ABOVE_RANGE:
            return Component(term=Term.GLUCOSE, unit=unit, absent=Absent.ABOVE_RANGE)
        if status & _TOO_LOW or special is Absent.BELOW_RANGE:
            return Component(term=Term.GLUCOSE, unit=unit, absent=Absent.BELOW_RANGE)
        value = None if self.concentration is None else self.concentration.value
        if value is None:
            return Component(term=Term.GLUCOSE, unit=unit, absent=special or Absent.NOT_MEASURED)
        return Component(
            term=Term.GLUCOSE, unit=unit, value=_moved(value, 3 if unit is Unit.MMOL_PER_L else 5)
        )


def _moved(value: Decimal, places: int) -> Decimal:
    """Move the point; keep no exponent above zero, so that 1.11E+2 reads 111."""
    moved = value.scaleb(places)
    exponent = moved.as_tuple().exponent
    return moved.quantize(Decimal(1)) if isinstance(exponent, int) and exponent > 0 else moved


class ContextFlag(IntFlag):
    """Flags of 0x2A34."""

    CARBOHYDRATE = 1
    MEAL = 2
    TESTER_HEALTH = 4
    EXERCISE = 8
    MEDICATION = 16
    MEDICATION_LITRE = 32
    HBA1C = 64
    EXTENDED = 128


_MEALS: Final = {
    1: Meal.PREPRANDIAL,
    2: Meal.POSTPRANDIAL,
    3: Meal.FASTING,
    4: Meal.CASUAL,
    5: Meal.BEDTIME,
}
EXERCISE_OVERRUN: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class GlucoseMeasurementContext:
    """One packet of 0x2A34. Pairs are (id, amount), (seconds, percent); amounts as sent."""

    flags: int
    sequence: int
    extended_flags: int | None = None
    carbohydrate: tuple[int, MedFloat] | None = None
    meal_code: int | None = None
    tester_health: int | None = None
    exercise: tuple[int, int] | None = None
    medication: tuple[int, MedFloat] | None = None
    hba1c: MedFloat | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Glucose Measurement Context")
        flags = r.uint(1, "flags")
        has = ContextFlag(flags)
        return cls(
            flags,
            r.uint(2, "sequence number"),
            r.uint(1, "extended flags") if ContextFlag.EXTENDED in has else None,
            (r.uint(1, "carbohydrate"), r.sfloat("carbohydrate"))
            if ContextFlag.CARBOHYDRATE in has
            else None,
            r.uint(1, "meal") if ContextFlag.MEAL in has else None,
            r.uint(1, "tester and health") if ContextFlag.TESTER_HEALTH in has else None,
            (r.uint(2, "exercise"), r.uint(1, "exercise")) if ContextFlag.EXERCISE in has else None,
            (r.uint(1, "medication"), r.sfloat("medication")) if ContextFlag.MEDICATION in has else None,
            r.sfloat("HbA1c") if ContextFlag.HBA1C in has else None,
            r.rest(),
        )

    def __bytes__(self) -> bytes:
        parts = [bytes([self.flags]), self.sequence.to_bytes(2, "little")]
        parts += [bytes([self.extended_flags])] if self.extended_flags is not None else []
        parts += [bytes([self.carbohydrate[0]]), bytes(self.carbohydrate[1])] if self.carbohydrate else []
        parts += [bytes([code]) for code in (self.meal_code, self.tester_health) if code is not None]
        parts += [self.exercise[0].to_bytes(2, "little"), bytes([self.exercise[1]])] if self.exercise else []
        parts += [bytes([self.medication[0]]), bytes(self.medication[1])] if self.medication else []
        parts += [bytes(self.hba1c)] if self.hba1c else []
        return b"".join([*parts, self.trailing])

    @property
    def meal(self) -> Meal | None:
        """The meal as the specification names it; None if the device did not say."""
        return None if self.meal_code is None else _MEALS.get(self.meal_code, Meal.RESERVED)

    @property
    def reserved_bits(self) -> bool:
        """Whether the meal code is a reserved one."""
        return self.meal is Meal.RESERVED


@dataclass(frozen=True, slots=True)
class GlucoseFeature:
    """Glucose Feature (0x2A51), 16 bit; reserved bits are kept."""

    bits: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the feature word."""
        if len(data) < 2:  # noqa: PLR2004 - a 16-bit word
            raise MalformedPacket(f"Glucose Feature has 2 bytes, not {len(data)}.")
        return cls(int.from_bytes(data[:2], "little"))

    def __bytes__(self) -> bytes:
        return self.bits.to_bytes(2, "little")
