"""GLU-TIR: time in range over fourteen days of a continuous sensor, by the consensus on time in range.

Fortnights are counted on the calendar, so that which days belong together depends on no reading. A fortnight
is spoken of when it is over, and only if at least `minimum_data` percent of what a sensor would have sent
are there. Single readings of a fingerstick meter say nothing about time, and are left out.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from pydantic import Field

from cloud_bridge.rules.base import Finding
from cloud_bridge.rules.episodes import LAST
from cloud_bridge.rules.glucose import Glucose, GlucoseRule
from cloud_bridge.rules.parameters import GlucoseLimit, Parameters
from cloud_bridge.rules.rule import Case, dated

DAYS: Final = 14
_DAY_MINUTES: Final = 24 * 60


class RangeParameters(Parameters):
    """Shares are percent of the readings. `older`: the patient is held to `in_range_older` alone."""

    low: GlucoseLimit
    very_low: GlucoseLimit
    high: GlucoseLimit
    very_high: GlucoseLimit
    in_range: Decimal = Field(ge=0, le=100)
    in_range_older: Decimal = Field(ge=0, le=100)
    below_low: Decimal = Field(ge=0, le=100)
    below_very_low: Decimal = Field(ge=0, le=100)
    above_very_high: Decimal = Field(ge=0, le=100)
    older: bool = False
    interval_minutes: int = Field(ge=1, le=60)
    minimum_data: Decimal = Field(gt=0, le=100)


class RangeRule(GlucoseRule[RangeParameters]):
    """GLU-TIR: too little time in range, or too much of it low or very high."""

    id = "GLU-TIR"
    parameters = RangeParameters
    depth = dt.timedelta(days=DAYS)

    def _find(self, case: Case[RangeParameters, Glucose], seen: list[Glucose]) -> Iterable[Finding]:
        fortnights: dict[int, list[Glucose]] = defaultdict(list)
        for one in dated(seen):
            if one.continuous:
                fortnights[_fortnight(case.local(one).date())].append(one)
        for number, readings in sorted(fortnights.items()):
            ends = _ends(case, number)
            if ends is None or case.now < ends or _data(readings, case.own) < case.own.minimum_data:
                continue
            missed = _missed(readings, case.own)
            if missed is not None:
                yield case.finding(readings, missed[0], missed[1], came_true=ends)

    def _wake(self, case: Case[RangeParameters, Glucose], seen: list[Glucose]) -> dt.datetime | None:
        numbers = {_fortnight(case.local(one).date()) for one in dated(seen) if one.continuous}
        ends = (_ends(case, number) for number in numbers)
        return min((at for at in ends if at is not None and at > case.now), default=None)


def _fortnight(date: dt.date) -> int:
    return date.toordinal() // DAYS


def _ends(case: Case[RangeParameters, Glucose], number: int) -> dt.datetime | None:
    """Return the midnight after a fortnight; None beyond the calendar."""
    following = (number + 1) * DAYS
    if following > dt.date.max.toordinal() - 1:
        return None
    midnight = dt.datetime.combine(dt.date.fromordinal(following), dt.time(), tzinfo=case.zone)
    return min(midnight.astimezone(dt.UTC), LAST)


def _data(readings: Sequence[Glucose], own: RangeParameters) -> Decimal:
    """Return how much of what a sensor would have sent is there, in percent."""
    seconds = own.interval_minutes * 60
    slots = {int(one.when.timestamp()) // seconds for one in readings}
    return Decimal(100 * len(slots)) * own.interval_minutes / (DAYS * _DAY_MINUTES)


def _missed(readings: Sequence[Glucose], own: RangeParameters) -> tuple[str, dict[str, str]] | None:
    """Return which target was missed most urgently, with the shares; None if all were met."""
    total = len(readings)

    def share(count: int) -> Decimal:
        return Decimal(100 * count) / total

    inside = share(sum(one.compare(own.low) >= 0 and one.compare(own.high) <= 0 for one in readings))
    low = share(sum(one.compare(own.low) < 0 for one in readings))
    very_low = share(sum(one.compare(own.very_low) < 0 for one in readings))
    very_high = share(sum(one.compare(own.very_high) > 0 for one in readings))
    target = own.in_range_older if own.older else own.in_range
    checks = (
        ("very_low", very_low >= own.below_very_low and not own.older),
        ("low", low >= own.below_low and not own.older),
        ("very_high", very_high >= own.above_very_high and not own.older),
        ("in_range", inside <= target),
    )
    text = next((name for name, missed in checks if missed), None)
    if text is None:
        return None
    shares = {"inside": inside, "low": low, "very_low": very_low, "very_high": very_high}
    shown = {name: str(value.quantize(Decimal("0.1"))) for name, value in shares.items()}
    return text, {**shown, "target": str(target), "days": str(DAYS)}
