"""A simulated cohort with known truth: who is ill when is decided first, what devices show follows. Pure.

The mix is fixed: of a hundred patients sixty are controlled, twenty-five have uncontrolled hypertension, ten
heart failure with decompensations, five tend to hypoglycaemia. One seed gives the same cohort.

Spreads of what devices show around the truth:
- between sessions 8 mmHg systolic, within a session 5 mmHg: Kato et al., Am J Hypertens 2010 (Ohasama): the
  within-person SD of home systolic pressure was 8.6 (SD 3.1) mmHg, of diastolic 5.8 (2.0) mmHg.
- between days 0.7 kg of weight: the figure that follow-up programmes of heart failure plan with.
"""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from wire_format.nomenclature import Quantity, Term, Unit

SESSION_SD: Final = 8.0
READING_SD: Final = 5.0
DIASTOLIC_SHARE: Final = 0.6
"""How much of the systolic swing the diastolic pressure makes with it."""
WEIGHT_DAY_SD: Final = 0.7

MIX: Final = 20
"""The strata repeat after so many patients: 12, 5, 2 and 1 of them."""
ZONE_MINUTES: Final = 480
BEGINS: Final = dt.datetime(2026, 1, 5, tzinfo=dt.UTC) - dt.timedelta(minutes=ZONE_MINUTES)
"""Midnight of the first day, in the cohort's zone."""

_MORNING, _EVENING = 7 * 60, 19 * 60 + 30
_MEASURES_PRESSURE: Final = 0.9
_WEIGHS: Final = 0.95
_MEASURES_GLUCOSE: Final = 0.9


class Stratum(StrEnum):
    """Why somebody is looked after, and how they fare."""

    CONTROLLED = "controlled"
    UNCONTROLLED = "uncontrolled_hypertension"
    HEART_FAILURE = "heart_failure"
    HYPO_PRONE = "hypo_prone"


class EpisodeKind(StrEnum):
    """What a programme is there to find."""

    HYPERTENSION = "hypertension"  # the true mean is at or above 135/85 mmHg
    DECOMPENSATION = "decompensation"  # water is retained
    SEVERE_PRESSURE = "severe_pressure"  # one session truly above 180 mmHg
    LOW_GLUCOSE = "low_glucose"  # truly below 3.0 mmol/L


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode of the truth, from `begins` to `ends` (UTC)."""

    kind: EpisodeKind
    begins: dt.datetime
    ends: dt.datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """What a device showed once: exact digits, as a person would have seen them."""

    at: dt.datetime
    quantity: Quantity
    values: tuple[tuple[Term, Unit, Decimal], ...]
    fasting: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedPatient:
    """One patient: what their devices showed, in order, and what was true."""

    name: str
    stratum: Stratum
    shown: tuple[Shown, ...]
    episodes: tuple[Episode, ...]


def cohort(count: int, days: int, seed: int, *, first: int = 0) -> Iterator[SimulatedPatient]:
    """Yield the patients `first` up to `count` over `days` days, one after the other."""
    for number in range(first, count):
        yield _patient(number, days, seed)


def stratum_of(number: int) -> Stratum:
    """Return the stratum of the patient with this number: the mix is exact in every twenty."""
    place = number % MIX
    if place < 12:  # noqa: PLR2004 - the mix
        return Stratum.CONTROLLED
    if place < 17:  # noqa: PLR2004 - the mix
        return Stratum.UNCONTROLLED
    return Stratum.HEART_FAILURE if place < 19 else Stratum.HYPO_PRONE  # noqa: PLR2004 - the mix


def _patient(number: int, days: int, seed: int) -> SimulatedPatient:
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - plausible people, no secret
    stratum = stratum_of(number)
    life = _Life(chance, days)
    match stratum:
        case Stratum.CONTROLLED:
            life.pressure(*_calm(chance))
        case Stratum.UNCONTROLLED:
            life.uncontrolled()
        case Stratum.HEART_FAILURE:
            life.pressure(chance.uniform(112, 128), chance.uniform(66, 76))
            life.weight()
        case Stratum.HYPO_PRONE:
            life.pressure(*_calm(chance))
            life.glucose()
    shown = tuple(sorted(life.shown, key=lambda one: one.at))
    episodes = tuple(sorted(life.episodes, key=lambda one: one.begins))
    return SimulatedPatient(f"sim-{number:05}", stratum, shown, episodes)


def _calm(chance: random.Random) -> tuple[float, float]:
    return chance.gauss(125, 3), chance.gauss(77, 2)


@dataclass
class _Life:
    """One person's days. Times are minutes since the first midnight."""

    chance: random.Random
    days: int
    shown: list[Shown] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)

    def pressure(self, systolic: float, diastolic: float) -> None:
        """Measure a constant true mean, twice a day, two readings a minute apart."""
        for day in range(self.days):
            self._pressure_day(day, systolic, diastolic)

    def uncontrolled(self) -> None:
        """Begin controlled; lose control within days, for three to five weeks; be treated; once more."""
        calm, high = _calm(self.chance), (self.chance.uniform(145, 165), self.chance.uniform(90, 100))
        begins = self.chance.randrange(-10, 35)
        while begins < self.days:
            ends = begins + self.chance.randrange(21, 36)
            self._episode(EpisodeKind.HYPERTENSION, begins, ends)
            for day in range(max(begins, 0), min(ends, self.days)):
                risen = min((day - begins + 1) / 3, 1.0)
                mean = [low + (up - low) * risen for low, up in zip(calm, high, strict=True)]
                self._pressure_day(day, mean[0], mean[1], severe=self.chance.random() < 1 / 60)
            pause_ends = ends + self.chance.randrange(20, 40)
            for day in range(max(ends, 0), min(pause_ends, self.days)):
                self._pressure_day(day, *calm)
            begins = pause_ends
        first = min((e.begins for e in self.episodes), default=_at(self.days * 1440))
        for day in range(max(0, (first - BEGINS).days)):
            self._pressure_day(day, *calm)

    def weight(self) -> None:
        """Weigh every morning; decompensate now and then, and be treated."""
        dry, begins = self.chance.uniform(58, 92), self.chance.randrange(16, 50)
        water = [0.0] * self.days
        while begins < self.days:
            gain, lasts = self.chance.uniform(0.35, 0.55), self.chance.randrange(8, 11)
            self._episode(EpisodeKind.DECOMPENSATION, begins, begins + lasts)
            for day in range(begins, min(begins + lasts + 6, self.days)):
                risen = gain * min(day - begins + 1, lasts)
                dried = gain * lasts / 6 * max(0, day - begins - lasts + 1)
                water[day] = max(risen - dried, 0.0)
            begins += lasts + self.chance.randrange(30, 50)
        for day in range(self.days):
            if self.chance.random() < _WEIGHS:
                kilograms = dry + water[day] + self.chance.gauss(0, WEIGHT_DAY_SD)
                value = Decimal(round(kilograms * 20)) / 20
                self._show(day, _MORNING - 30, Quantity.BODY_WEIGHT, (Term.BODY_WEIGHT, Unit.KG, value))

    def glucose(self) -> None:
        """Measure four times a day; once in nine days be truly too low, and measure again after eating."""
        usual = self.chance.uniform(7.0, 8.5)
        for day in range(self.days):
            low_at = self.chance.randrange(1, 4) if self.chance.random() < 1 / 9 else None
            for number, minute in enumerate((6 * 60 + 30, 11 * 60 + 30, 17 * 60 + 30, 21 * 60 + 30)):
                if number == low_at:
                    self._low(day, minute)
                elif self.chance.random() < _MEASURES_GLUCOSE:
                    level = max(usual * self.chance.lognormvariate(0, 0.18), 4.2)
                    self._sugar(day, minute, level, fasting=number == 0)

    def _low(self, day: int, minute: int) -> None:
        level = self.chance.uniform(2.2, 2.9)
        at = _at(day * 1440 + minute)
        self.episodes.append(Episode(EpisodeKind.LOW_GLUCOSE, at, at + dt.timedelta(hours=1)))
        self._sugar(day, minute, level, fasting=False)
        self._sugar(day, minute + 20, self.chance.uniform(4.5, 6.5), fasting=False)

    def _sugar(self, day: int, minute: int, level: float, *, fasting: bool) -> None:
        value = Decimal(round(level * 10)) / 10
        part = (Term.GLUCOSE, Unit.MMOL_PER_L, value)
        self._show(day, minute, Quantity.GLUCOSE, part, fasting=fasting)

    def _pressure_day(self, day: int, systolic: float, diastolic: float, *, severe: bool = False) -> None:
        for number, minute in enumerate((_MORNING, _EVENING)):
            spike = severe and number == 0
            if not spike and self.chance.random() >= _MEASURES_PRESSURE:
                continue
            swing = self.chance.gauss(0, SESSION_SD)
            top = self.chance.uniform(192, 204) if spike else systolic + swing
            bottom = diastolic + (20 if spike else swing * DIASTOLIC_SHARE)
            start = minute + self.chance.randrange(0, 60)
            if spike:
                self._episode_at(EpisodeKind.SEVERE_PRESSURE, day * 1440 + start, 60)
            for reading in range(2):
                self._reading(day, start + reading, top, bottom)

    def _reading(self, day: int, minute: int, systolic: float, diastolic: float) -> None:
        noise = self.chance.gauss(0, READING_SD)
        upper = round(systolic + noise)
        lower = min(round(diastolic + noise * DIASTOLIC_SHARE), upper - 10)
        parts = [
            (Term.SYSTOLIC, Unit.MMHG, Decimal(upper)),
            (Term.DIASTOLIC, Unit.MMHG, Decimal(lower)),
            (Term.PULSE_RATE, Unit.PER_MINUTE, Decimal(round(self.chance.gauss(72, 4)))),
        ]
        self._show(day, minute, Quantity.BLOOD_PRESSURE, *parts)

    def _show(
        self,
        day: int,
        minute: int,
        quantity: Quantity,
        *values: tuple[Term, Unit, Decimal],
        fasting: bool = False,
    ) -> None:
        self.shown.append(Shown(_at(day * 1440 + minute), quantity, values, fasting))

    def _episode(self, kind: EpisodeKind, begins: int, ends: int) -> None:
        self.episodes.append(Episode(kind, _at(begins * 1440), _at(ends * 1440)))

    def _episode_at(self, kind: EpisodeKind, minute: int, lasts: int) -> None:
        self.episodes.append(Episode(kind, _at(minute), _at(minute + lasts)))


def _at(minutes: int) -> dt.datetime:
    return BEGINS + dt.timedelta(minutes=minutes)
