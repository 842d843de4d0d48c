"""A blood pressure as rules see it, in the device's own unit, and the mean of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cloud_bridge.rules.base import Reading
from cloud_bridge.rules.episodes import Taken
from cloud_bridge.rules.parameters import PressureLimit
from wire_format.nomenclature import Quantity, Term, Unit
from wire_format.units import convert

BLOOD_PRESSURE: Final = frozenset({Quantity.BLOOD_PRESSURE})
ABOVE_TARGET: Final = "pressure above target"
"""The problem of the treatment, whether sessions in a row or a protocol's mean say so."""
_DISPLAY: Final = {Unit.MMHG: "mmHg", Unit.KPA: "kPa"}


class Pressure(Taken):
    """A blood pressure that a rule may stand on."""

    __slots__ = ("diastolic", "systolic", "unit")

    def __init__(self, reading: Reading, unit: Unit, systolic: Decimal, diastolic: Decimal) -> None:
        super().__init__(reading)
        self.unit, self.systolic, self.diastolic = unit, systolic, diastolic

    def above(self, systolic: PressureLimit, diastolic: PressureLimit) -> bool:
        """Whether either value lies above its limit."""
        return self.systolic > systolic.in_unit(self.unit) or self.diastolic > diastolic.in_unit(self.unit)


@dataclass(frozen=True, slots=True)
class Mean:
    """An unrounded mean of blood pressures, in one unit."""

    unit: Unit
    systolic: Decimal
    diastolic: Decimal

    def reaches(self, systolic: PressureLimit, diastolic: PressureLimit) -> bool:
        """Whether either mean is at or above its limit."""
        return self.systolic >= systolic.in_unit(self.unit) or self.diastolic >= diastolic.in_unit(self.unit)

    def below(self, systolic: PressureLimit, diastolic: PressureLimit) -> bool:
        """Whether either mean is below its limit."""
        return self.systolic < systolic.in_unit(self.unit) or self.diastolic < diastolic.in_unit(self.unit)


def pressure(reading: Reading) -> Pressure | None:
    """Return a reading's blood pressure; None if it has none."""
    m = reading.measurement
    systolic, diastolic = m.component(Term.SYSTOLIC), m.component(Term.DIASTOLIC)
    if systolic is None or diastolic is None or systolic.value is None or diastolic.value is None:
        return None
    return Pressure(
        reading, systolic.unit, systolic.value, convert(diastolic.value, diastolic.unit, systolic.unit)
    )


def mean(pressures: Sequence[Pressure]) -> Mean:
    """Return the unrounded mean, in the unit of the first; of one cuff nothing is converted."""
    unit, count = pressures[0].unit, len(pressures)
    systolic = sum((convert(p.systolic, p.unit, unit) for p in pressures), Decimal())
    diastolic = sum((convert(p.diastolic, p.unit, unit) for p in pressures), Decimal())
    return Mean(unit, systolic / count, diastolic / count)


def limits(unit: Unit, systolic: PressureLimit, diastolic: PressureLimit) -> dict[str, str]:
    """Return how a sentence names a pair of limits, in the reader's own unit."""
    return {"limit": f"{systolic.in_unit(unit)}/{diastolic.in_unit(unit)}", "unit": _DISPLAY[unit]}


def digits(one: Pressure) -> dict[str, str]:
    """Return the device's own digits."""
    return {"systolic": str(one.systolic), "diastolic": str(one.diastolic)}


def shown(average: Mean) -> dict[str, str]:
    """Return a mean as people read it: whole mmHg, tenths of a kPa (half-even)."""
    step = Decimal("0.1") if average.unit is Unit.KPA else Decimal(1)
    return {
        "systolic": str(average.systolic.quantize(step)),
        "diastolic": str(average.diastolic.quantize(step)),
    }
