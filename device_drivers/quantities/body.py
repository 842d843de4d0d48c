"""Weight Measurement (0x2A9D), Weight Scale Feature (0x2A9E), Body Composition Measurement (0x2A9C).

Weight Scale Service 1.0, Body Composition Service 1.0. Resolutions: mass 0.005 kg or 0.01 lb, height
0.001 m or 0.1 in, percentages 0.1, impedance 0.1 Ohm. 0xFFFF says that the measurement did not succeed.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntFlag
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.reader import Reader
from wire_format.measurement import Absent, Component
from wire_format.nomenclature import Term, Unit

UNSUCCESSFUL: Final = 0xFFFF
USER_UNKNOWN: Final = 0xFF
_TENTH: Final = Decimal("0.1")


def mass_unit(*, imperial: bool) -> tuple[Unit, Decimal]:
    """Return unit and resolution of a mass."""
    return (Unit.POUND, Decimal("0.01")) if imperial else (Unit.KG, Decimal("0.005"))


def height_unit(*, imperial: bool) -> tuple[Unit, Decimal]:
    """Return unit and resolution of a height."""
    return (Unit.INCH, _TENTH) if imperial else (Unit.METRE, Decimal("0.001"))


def scaled(term: Term, unit: Unit, raw: int, resolution: Decimal, *, zero_absent: bool = False) -> Component:
    """Return `raw` times `resolution`, or the reason why it is no value."""
    if raw == UNSUCCESSFUL:
        return Component(term=term, unit=unit, absent=Absent.UNSUCCESSFUL)
    if zero_absent and raw == 0:
        return Component(term=term, unit=unit, absent=Absent.NOT_MEASURED)
    return Component(term=term, unit=unit, value=raw * resolution)


class WeightFlag(IntFlag):
    """Flags of 0x2A9D."""

    IMPERIAL = 1
    TIME_STAMP = 2
    USER_ID = 4
    BMI_AND_HEIGHT = 8


_KNOWN_WEIGHT_FLAGS: Final = 0b1111


@dataclass(frozen=True, slots=True)
class WeightMeasurement:
    """One packet of 0x2A9D, numbers as sent."""

    flags: int
    weight: int
    time_stamp: DateTime | None = None
    user_id: int | None = None
    bmi: int | None = None
    height: int | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Weight Measurement")
        flags = r.uint(1, "flags")
        weight = r.uint(2, "weight")
        time_stamp = r.date_time("time stamp") if flags & WeightFlag.TIME_STAMP else None
        user = r.uint(1, "user id") if flags & WeightFlag.USER_ID else None
        bmi = r.uint(2, "body mass index") if flags & WeightFlag.BMI_AND_HEIGHT else None
        height = r.uint(2, "height") if flags & WeightFlag.BMI_AND_HEIGHT else None
        return cls(flags, weight, time_stamp, user, bmi, height, r.rest())

    def __bytes__(self) -> bytes:
        parts = [
            bytes([self.flags]),
            self.weight.to_bytes(2, "little"),
            bytes(self.time_stamp) if self.time_stamp else b"",
            b"" if self.user_id is None else bytes([self.user_id]),
            b"" if self.bmi is None else self.bmi.to_bytes(2, "little"),
            b"" if self.height is None else self.height.to_bytes(2, "little"),
            self.trailing,
        ]
        return b"".join(parts)

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag is set."""
        return bool(self.flags & ~_KNOWN_WEIGHT_FLAGS)

    def components(self, resolution: Decimal | None = None) -> tuple[Component, ...]:
        """Weight, then body mass index and height if sent; 0 in the latter two says "not measured".

        `resolution` replaces the specification's mass resolution where a device departs from it.
        """
        imperial = bool(self.flags & WeightFlag.IMPERIAL)
        mass, mass_resolution = mass_unit(imperial=imperial)
        length, length_resolution = height_unit(imperial=imperial)
        found = [scaled(Term.BODY_WEIGHT, mass, self.weight, resolution or mass_resolution)]
        if self.bmi is not None:
            found.append(scaled(Term.BODY_MASS_INDEX, Unit.KG_PER_M2, self.bmi, _TENTH, zero_absent=True))
        if self.height is not None:
            found.append(scaled(Term.BODY_HEIGHT, length, self.height, length_resolution, zero_absent=True))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class WeightScaleFeature:
    """Weight Scale Feature (0x2A9E), 32 bit; reserved bits are kept."""

    bits: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the feature word."""
        return cls(Reader(data, "Weight Scale Feature").uint(4, "features"))

    def __bytes__(self) -> bytes:
        return self.bits.to_bytes(4, "little")


class CompositionFlag(IntFlag):
    """Flags of 0x2A9C, 16 bit."""

    IMPERIAL = 1
    TIME_STAMP = 2
    USER_ID = 4
    BASAL_METABOLISM = 8
    MUSCLE_PERCENTAGE = 16
    MUSCLE_MASS = 32
    FAT_FREE_MASS = 64
    SOFT_LEAN_MASS = 128
    BODY_WATER_MASS = 256
    IMPEDANCE = 512
    WEIGHT = 1024
    HEIGHT = 2048
    MULTIPLE_PACKET = 4096


_KNOWN_COMPOSITION_FLAGS: Final = 0x1FFF

# The optional 16-bit fields after time and user, in the order of their bits.
_FIELDS: Final = (
    (CompositionFlag.BASAL_METABOLISM, Term.BASAL_METABOLISM),
    (CompositionFlag.MUSCLE_PERCENTAGE, Term.MUSCLE_PERCENTAGE),
    (CompositionFlag.MUSCLE_MASS, Term.MUSCLE_MASS),
    (CompositionFlag.FAT_FREE_MASS, Term.FAT_FREE_MASS),
    (CompositionFlag.SOFT_LEAN_MASS, Term.SOFT_LEAN_MASS),
    (CompositionFlag.BODY_WATER_MASS, Term.BODY_WATER_MASS),
    (CompositionFlag.IMPEDANCE, Term.IMPEDANCE),
    (CompositionFlag.WEIGHT, Term.BODY_WEIGHT),
    (CompositionFlag.HEIGHT, Term.BODY_HEIGHT),
)
_UNITS: Final = {
    Term.BODY_FAT: (Unit.PERCENT, _TENTH),
    Term.BASAL_METABOLISM: (Unit.KILOJOULE, Decimal(1)),
    Term.MUSCLE_PERCENTAGE: (Unit.PERCENT, _TENTH),
    Term.IMPEDANCE: (Unit.OHM, _TENTH),
}


@dataclass(frozen=True, slots=True)
class BodyCompositionMeasurement:
    """One packet of 0x2A9C, numbers as sent; `fields` in the order of the flags."""

    flags: int
    body_fat: int
    time_stamp: DateTime | None = None
    user_id: int | None = None
    fields: tuple[tuple[Term, int], ...] = ()
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Body Composition Measurement")
        flags = r.uint(2, "flags")
        fat = r.uint(2, "body fat percentage")
        time_stamp = r.date_time("time stamp") if flags & CompositionFlag.TIME_STAMP else None
        user = r.uint(1, "user id") if flags & CompositionFlag.USER_ID else None
        fields = tuple((term, r.uint(2, term.value)) for flag, term in _FIELDS if flags & flag)
        return cls(flags, fat, time_stamp, user, fields, r.rest())

    def __bytes__(self) -> bytes:
        head = self.flags.to_bytes(2, "little") + self.body_fat.to_bytes(2, "little")
        stamp = bytes(self.time_stamp) if self.time_stamp else b""
        user = b"" if self.user_id is None else bytes([self.user_id])
        return head + stamp + user + b"".join(n.to_bytes(2, "little") for _, n in self.fields) + self.trailing

    @property
    def more_follows(self) -> bool:
        """Whether the rest of this measurement comes in a further packet."""
        return bool(self.flags & CompositionFlag.MULTIPLE_PACKET)

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag is set."""
        return bool(self.flags & ~_KNOWN_COMPOSITION_FLAGS)

    @property
    def imperial(self) -> bool:
        """Whether masses are in lb and heights in inches."""
        return bool(self.flags & CompositionFlag.IMPERIAL)

    def components(
        self, resolution: Decimal | None = None, *, zero_absent: bool = True
    ) -> tuple[Component, ...]:
        """Body fat, then the optional fields. Nobody has 0 of any of them: 0 says "not measured".

        `resolution` replaces the specification's mass resolution where a device departs from it.
        """
        mass, length = mass_unit(imperial=self.imperial), height_unit(imperial=self.imperial)

        def one(term: Term, raw: int) -> Component:
            other = length if term is Term.BODY_HEIGHT else (mass[0], resolution or mass[1])
            unit, step = _UNITS.get(term, other)
            return scaled(term, unit, raw, step, zero_absent=zero_absent)

        return (one(Term.BODY_FAT, self.body_fat), *(one(term, raw) for term, raw in self.fields))
