"""GLU-LOW-1/2, GLU-HIGH-1/2, GLU-URGENT-CN and GLU-FASTING: what single glucose readings say."""

import datetime as dt
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final, Self

from pydantic import Field, model_validator

from cloud_bridge.rules.base import Finding, Reading, Severity, Standing
from cloud_bridge.rules.episodes import Taken, clusters, runs
from cloud_bridge.rules.parameters import GlucoseLimit, Parameters, Part
from cloud_bridge.rules.rule import Case, P, ReadingRule, dated
from wire_format.measurement import Absent, GlucoseContext, Meal, Specimen
from wire_format.nomenclature import Quantity, Term, Unit

LOW: Final = "low glucose"
HIGH: Final = "high glucose"
_SHOWN: Final = {Absent.ABOVE_RANGE: "HI", Absent.BELOW_RANGE: "LO"}


class Glucose(Taken):
    """A glucose value in the meter's own unit; HI and LO have no number and lie beyond every limit."""

    __slots__ = ("absent", "continuous", "fasting", "unit", "value")

    def __init__(self, reading: Reading, unit: Unit, value: Decimal | None, absent: Absent | None) -> None:
        super().__init__(reading)
        context = reading.measurement.context
        self.unit, self.value, self.absent = unit, value, absent
        self.fasting = isinstance(context, GlucoseContext) and context.meal is Meal.FASTING
        self.continuous = (
            isinstance(context, GlucoseContext) and context.specimen is Specimen.INTERSTITIAL_FLUID
        )

    @property
    def shown(self) -> str:
        """The meter's own digits, or what it shows in place of them."""
        return _SHOWN[self.absent] if self.absent is not None else str(self.value)

    def compare(self, limit: GlucoseLimit) -> int:
        """Return -1, 0 or 1: below, at or above the limit, in the meter's own unit."""
        if self.value is None:
            return 1 if self.absent is Absent.ABOVE_RANGE else -1
        bound = limit.in_unit(self.unit)
        return (self.value > bound) - (self.value < bound)


class GlucoseRule(ReadingRule[P, Glucose]):
    """A rule over glucose readings."""

    quantities = frozenset({Quantity.GLUCOSE})

    def _see(self, reading: Reading) -> Glucose | None:
        found = reading.measurement.component(Term.GLUCOSE)
        return None if found is None else Glucose(reading, found.unit, found.value, found.absent)


_BOUNDS: Final[dict[str, tuple[str, Callable[[int], bool]]]] = {
    "below": ("<", lambda side: side < 0),
    "at_most": ("≤", lambda side: side <= 0),
    "above": (">", lambda side: side > 0),
    "at_least": ("≥", lambda side: side >= 0),
}
_UPPER: Final = ("<", "≤")
"""A bound from above is what people are told of a value that is too low."""


class Band(Part):
    """Values between bounds. `told` names the bound that people read.

    A band of `members_only` speaks of the programme's patients alone, also where the rule protects everybody.
    """

    below: GlucoseLimit | None = None
    at_most: GlucoseLimit | None = None
    above: GlucoseLimit | None = None
    at_least: GlucoseLimit | None = None
    told: str
    members_only: bool = False

    @model_validator(mode="after")
    def _told_is_a_bound(self) -> Self:
        if getattr(self, self.told, None) is None or self.told not in _BOUNDS:
            raise ValueError("told names the bound of this band that people are told")
        return self

    def holds(self, one: Glucose) -> bool:
        """Whether a value lies in the band."""
        bounds = ((getattr(self, name), within) for name, (_, within) in _BOUNDS.items())
        return all(within(one.compare(limit)) for limit, within in bounds if limit is not None)

    def limit(self, unit: Unit) -> str:
        """Return the bound that people are told, in the meter's own unit."""
        bound: GlucoseLimit = getattr(self, self.told)
        return f"{_BOUNDS[self.told][0]}{bound.in_unit(unit)}"


class BandParameters(Parameters):
    """Readings in a band; those at most `fold_hours` apart are one finding."""

    bands: tuple[Band, ...] = Field(min_length=1)
    fold_hours: int = Field(ge=1)

    def band(self, one: Glucose, *, member: bool) -> Band | None:
        """Return the band that a value lies in."""
        told = (band for band in self.bands if member or not band.members_only)
        return next((band for band in told if band.holds(one)), None)


class BandRule(GlucoseRule[BandParameters]):
    """One reading in a band is a finding; more of them in it soon after are the same one."""

    parameters = BandParameters

    def _find(self, case: Case[BandParameters, Glucose], seen: list[Glucose]) -> Iterable[Finding]:
        member = any(m.programme == self.programme for m in case.settings.programmes)
        bands = [(one, case.own.band(one, member=member)) for one in seen]
        # What is too low and what is too high are no episode together, however close.
        for band in case.own.bands:
            inside = [one for one, found in bands if found is band]
            timed = [one for one in inside if one.at is not None]
            # Without a time nothing can be said to come soon after anything.
            alone = [[one] for one in inside if one.at is None]
            for episode in [*clusters(timed, dt.timedelta(hours=case.own.fold_hours)), *alone]:
                yield self._finding(case, episode, band)

    def _finding(self, case: Case[BandParameters, Glucose], episode: list[Glucose], band: Band) -> Finding:
        last, known = episode[-1], episode[0].reading.patient is not None
        values = {
            "value": last.shown,
            "unit": last.unit.value,
            "limit": band.limit(last.unit),
            "count": str(len(episode)),
            "home": last.reading.measurement.provenance.gateway,
        }
        text = "" if known else "unassigned"
        standing = Standing.CONFIRMED if known and len(episode) > 1 else Standing.UNCONFIRMED
        return case.finding(episode, text, values, standing=standing)


class LowRule(BandRule):
    """GLU-LOW-1: below 3.9 mmol/L (70 mg/dL)."""

    id = "GLU-LOW-1"
    problem = LOW


class VeryLowRule(BandRule):
    """GLU-LOW-2: below 3.0 mmol/L (54 mg/dL), whoever it was."""

    id = "GLU-LOW-2"
    problem = LOW
    everybody = True


class HighRule(BandRule):
    """GLU-HIGH-1: above 10.0 mmol/L (180 mg/dL)."""

    id = "GLU-HIGH-1"
    problem = HIGH


class VeryHighRule(BandRule):
    """GLU-HIGH-2: above 13.9 mmol/L (250 mg/dL)."""

    id = "GLU-HIGH-2"
    problem = HIGH


class UrgentRule(BandRule):
    """GLU-URGENT-CN: at or above 16.7, or at or below 3.9 mmol/L, whoever it was."""

    id = "GLU-URGENT-CN"
    problem = HIGH
    everybody = True

    @classmethod
    def problem_of(cls, finding: Finding) -> str:
        """Return on which side it lies: by the bound that people are told."""
        told = dict(finding.reason).get("limit", "")
        return LOW if told.startswith(_UPPER) else cls.problem


class FastingParameters(Parameters):
    """Fasting readings in a row at or above the limit; so many dates after the first they are "again"."""

    at_least: GlucoseLimit
    again_after_days: int = Field(ge=1)
    again_severity: Severity
    look_again_days: int = Field(ge=1)


class FastingRule(GlucoseRule[FastingParameters]):
    """GLU-FASTING: a fasting reading at or above the limit; running on another day, it is to be referred."""

    id = "GLU-FASTING"
    problem = "fasting glucose"
    parameters = FastingParameters

    def _find(self, case: Case[FastingParameters, Glucose], seen: list[Glucose]) -> Iterable[Finding]:
        own = case.own
        fasting = [one for one in dated(seen) if one.fasting]
        for run in runs(fasting, lambda one: one.compare(own.at_least) >= 0):
            apart = case.local(run[-1]).date() - case.local(run[0]).date()
            again = apart >= dt.timedelta(days=own.again_after_days)
            last = run[-1]
            values = {
                "value": last.shown,
                "unit": last.unit.value,
                "limit": str(own.at_least.in_unit(last.unit)),
                "days": str(own.look_again_days),
                "count": str(len(run)),
            }
            yield case.finding(
                run,
                "again" if again else "first",
                values,
                severity=own.again_severity if again else own.severity,
                standing=Standing.CONFIRMED if again else Standing.UNCONFIRMED,
            )
