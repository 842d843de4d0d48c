"""What a rehearsal is worth: alerts per patient and time, episodes found, alerts outside of any. Pure.

Rates come with 95 % intervals: shares by Wilson's score, rates by patients drawn again (bootstrap, one seed).
"""

import datetime as dt
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from cloud_bridge.rehearsal.cohort import Episode, EpisodeKind
from cloud_bridge.rehearsal.run import Raised, items, problem_of
from cloud_bridge.rules.base import Severity

FOUND_WITHIN: Final = dt.timedelta(days=7)
PER_DAYS: Final = 10
Z95: Final = 1.959964
DRAWS: Final = 400

PROBLEM: Final[dict[EpisodeKind, str]] = {
    EpisodeKind.HYPERTENSION: "pressure",
    EpisodeKind.SEVERE_PRESSURE: "pressure",
    EpisodeKind.DECOMPENSATION: "weight",
    EpisodeKind.LOW_GLUCOSE: "low glucose",
}
SEVERE: Final = frozenset({EpisodeKind.SEVERE_PRESSURE, EpisodeKind.LOW_GLUCOSE})
"""Episodes that must all be found, at once; their alerts are budgeted apart."""
AT_ONCE: Final = dt.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One patient's rehearsal: what was true, what was raised, when it began and how many days it took.

    An episode from before the beginning can be found from then on.
    """

    patient: str
    stratum: str
    begins: dt.datetime
    days: float
    episodes: tuple[Episode, ...]
    raised: tuple[Raised, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with the 95 % interval of Wilson's score; None of none."""

    found: int
    of: int

    @property
    def value(self) -> float | None:
        """The share."""
        return None if self.of == 0 else self.found / self.of

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval."""
        if self.of == 0:
            return None
        n, p, z2 = self.of, self.found / self.of, Z95**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Rate:
    """Items per patient and ten days, with a 95 % interval over patients drawn again."""

    count: int
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """What one rule set did in one stratum (or in all)."""

    patients: int
    manual: Rate  # items that a nurse works through, without the severe ones
    severe: Rate
    single: int  # alerts before repeats fold
    outside: Share  # manual items outside of any episode of their problem
    found: Share  # episodes of which an item of their problem was raised within 7 days
    severe_found: Share  # severe episodes found within a day


def manual(one: Raised) -> bool:
    """Whether a nurse works through it in service hours: clinical, not severe."""
    return one.clinical and one.severity is not Severity.SEVERE


def severe(one: Raised) -> bool:
    """Whether it is budgeted apart."""
    return one.clinical and one.severity is Severity.SEVERE


def score(outcomes: Sequence[Outcome]) -> Score:
    """Score some patients' outcomes."""
    found = [_found(o, e) for o in outcomes for e in o.episodes if e.kind not in SEVERE]
    at_once = [_found(o, e) for o in outcomes for e in o.episodes if e.kind in SEVERE]
    worked = [(o, one) for o in outcomes for one in items(o.raised, manual)]
    outside = [one for o, one in worked if not _within(one, o.episodes)]
    return Score(
        patients=len(outcomes),
        manual=_rate(outcomes, manual),
        severe=_rate(outcomes, severe),
        single=sum(one.clinical for o in outcomes for one in o.raised),
        outside=Share(len(outside), len(worked)),
        found=Share(sum(found), len(found)),
        severe_found=Share(sum(at_once), len(at_once)),
    )


def _found(outcome: Outcome, episode: Episode) -> bool:
    """Tell whether an alert of the episode's problem was raised in time; folded ones count too."""
    patience = AT_ONCE if episode.kind in SEVERE else FOUND_WITHIN
    begins = max(episode.begins, outcome.begins)
    wanted = severe if episode.kind in SEVERE else (lambda one: one.clinical)
    return any(
        wanted(one)
        and problem_of(one.rule) == PROBLEM[episode.kind]
        and begins <= one.at <= begins + patience
        for one in outcome.raised
    )


def _within(one: Raised, episodes: Iterable[Episode]) -> bool:
    return any(
        PROBLEM[e.kind] == problem_of(one.rule) and e.begins <= one.at <= e.ends + FOUND_WITHIN
        for e in episodes
    )


def _rate(outcomes: Sequence[Outcome], counts: Callable[[Raised], bool]) -> Rate:
    each = [(len(items(o.raised, counts)), o.days) for o in outcomes]
    total, days = sum(n for n, _ in each), sum(d for _, d in each)
    chance = random.Random(1)  # noqa: S311 - an interval, no secret
    drawn = sorted(_per_ten(chance.choices(each, k=len(each))) for _ in range(DRAWS)) if each else [0.0]
    low, high = drawn[int(0.025 * len(drawn))], drawn[min(int(0.975 * len(drawn)), len(drawn) - 1)]
    return Rate(total, _per_ten([(total, days)]), (low, high))


def _per_ten(each: Sequence[tuple[int, float]]) -> float:
    days = sum(d for _, d in each)
    return sum(n for n, _ in each) * PER_DAYS / days if days else 0.0
