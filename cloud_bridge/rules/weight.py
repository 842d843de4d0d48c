"""WEIGHT-HF: gains that may be water, by raw differences and by moving averages.

The moving averages are the rule that the noise of a scale does not trip. The first weighing of a day counts
(in the morning, before drinking); of a composition scale its weight.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pydantic import Field

from cloud_bridge.rules.base import Finding, Reading, Severity, Standing
from cloud_bridge.rules.episodes import Taken, merged
from cloud_bridge.rules.parameters import MassLimit, Parameters, Part
from cloud_bridge.rules.rule import Case, ReadingRule, dated
from wire_format.nomenclature import Quantity, Term, Unit
from wire_format.units import convert

_DISPLAY: Final = {Unit.KG: "kg", Unit.POUND: "lb"}


class Weight(Taken):
    """A body weight in the scale's own unit."""

    __slots__ = ("unit", "value")

    def __init__(self, reading: Reading, unit: Unit, value: Decimal) -> None:
        super().__init__(reading)
        self.unit, self.value = unit, value

    def minus(self, other: "Weight") -> Decimal:
        """Return the difference, in the unit of this one."""
        return self.value - convert(other.value, other.unit, self.unit)


class Gain(Part):
    """A difference between two days at most `days` apart: above `above`, or at or above `at_least`."""

    above: MassLimit | None = None
    at_least: MassLimit | None = None
    days: int = Field(ge=1, le=14)
    severity: Severity

    def holds(self, gained: Decimal, unit: Unit) -> bool:
        """Whether a difference reaches it, in the scale's own unit."""
        over = self.above is not None and gained > self.above.in_unit(unit)
        return over or (self.at_least is not None and gained >= self.at_least.in_unit(unit))


class Moving(Part):
    """The mean of the last `short` days minus that of the last `long` days is above `above`.

    At least so many of these days must have a weight.
    """

    short: int = Field(ge=1)
    long: int = Field(ge=2, le=28)
    minimum_short: int = Field(ge=1)
    minimum_long: int = Field(ge=2)
    above: MassLimit
    severity: Severity


class WeightParameters(Parameters):
    """Each gain, and the moving averages; any of them makes the finding."""

    gains: tuple[Gain, ...]
    moving: Moving | None


@dataclass(frozen=True, slots=True)
class _Day:
    date: dt.date
    weight: Weight


@dataclass(frozen=True, slots=True)
class _Rise:
    """One way in which the weight rose, over these weighings."""

    weights: tuple[Weight, ...]
    text: str
    severity: Severity
    gained: Decimal
    days: int


class WeightRule(ReadingRule[WeightParameters, Weight]):
    """WEIGHT-HF: rises that share a weighing are one finding, told by the latest of them."""

    id = "WEIGHT-HF"
    problem = "weight"
    parameters = WeightParameters
    quantities = frozenset({Quantity.BODY_WEIGHT, Quantity.BODY_COMPOSITION})
    depth = dt.timedelta(days=28)

    def _see(self, reading: Reading) -> Weight | None:
        found = reading.measurement.component(Term.BODY_WEIGHT)
        if found is None or found.value is None:
            return None
        return Weight(reading, found.unit, found.value)

    def _find(self, case: Case[WeightParameters, Weight], seen: list[Weight]) -> Iterable[Finding]:
        days = _days(case, seen)
        rises = [rise for gain in case.own.gains for rise in _gains(days, gain)]
        if case.own.moving is not None:
            rises += _moving(days, case.own.moving)
        told: dict[object, _Rise] = {}
        for rise in rises:
            # Of rises that end with one weighing the first in the file is told; the averages come last.
            told.setdefault(rise.weights[-1].id, rise)
        for stood_on in merged(rise.weights for rise in rises):
            yield _finding(case, stood_on, told[stood_on[-1].id])


def _finding(case: Case[WeightParameters, Weight], stood_on: Sequence[Weight], rise: _Rise) -> Finding:
    last = stood_on[-1]
    values = {
        "gained": f"{rise.gained.quantize(Decimal('0.1')):f}",
        "unit": _DISPLAY[last.unit],
        "days": str(rise.days),
        "value": str(last.value),
    }
    standing = Standing.CONFIRMED if rise.text == "moving" else Standing.UNCONFIRMED
    return case.finding(stood_on, rise.text, values, severity=rise.severity, standing=standing)


def _days(case: Case[WeightParameters, Weight], seen: list[Weight]) -> list[_Day]:
    first: dict[dt.date, Weight] = {}
    for one in dated(seen):
        first.setdefault(case.local(one).date(), one)
    return [_Day(date, weight) for date, weight in sorted(first.items(), key=lambda pair: pair[0])]


def _gains(days: Sequence[_Day], gain: Gain) -> Iterable[_Rise]:
    """Yield, for each day, the greatest gain since a day before it that reaches the limit."""
    for index, day in enumerate(days):
        near = [d for d in days[:index] if day.date - d.date <= dt.timedelta(days=gain.days)]
        risen = [d for d in near if gain.holds(day.weight.minus(d.weight), day.weight.unit)]
        if risen:
            since = max(risen, key=lambda d: (day.weight.minus(d.weight), d.date))
            between = [d.weight for d in days[:index] if d.date >= since.date]
            yield _Rise(
                (*between, day.weight),
                "gain",
                gain.severity,
                day.weight.minus(since.weight),
                (day.date - since.date).days,
            )


def _moving(days: Sequence[_Day], own: Moving) -> Iterable[_Rise]:
    for index, day in enumerate(days):
        long = [d.weight for d in days[: index + 1] if (day.date - d.date).days < own.long]
        short = [d.weight for d in days[: index + 1] if (day.date - d.date).days < own.short]
        if len(long) < own.minimum_long or len(short) < own.minimum_short:
            continue
        unit = day.weight.unit
        gained = _mean(short, unit) - _mean(long, unit)
        if gained > own.above.in_unit(unit):
            yield _Rise(tuple(long), "moving", own.severity, gained, own.long)


def _mean(weights: Sequence[Weight], unit: Unit) -> Decimal:
    return sum((convert(w.value, w.unit, unit) for w in weights), Decimal()) / len(weights)
