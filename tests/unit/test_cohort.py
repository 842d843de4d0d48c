"""The simulated cohort: the mix, the spreads, the truth behind what devices show, one seed one cohort."""

import datetime as dt
import statistics
from collections import Counter
from functools import cache

import pytest

from cloud_bridge.rehearsal.cohort import (
    BEGINS,
    EpisodeKind,
    SimulatedPatient,
    Stratum,
    cohort,
)
from wire_format.nomenclature import Quantity, Term

pytestmark = pytest.mark.no_cover  # about the rehearsal, which has no floor


@cache
def many() -> list[SimulatedPatient]:
    return list(cohort(200, 90, 1))


def of(stratum: Stratum) -> list[SimulatedPatient]:
    return [one for one in many() if one.stratum is stratum]


def systolic(patient: SimulatedPatient) -> list[list[float]]:
    """Systolic values by session."""
    sessions: list[list[float]] = []
    last = None
    for one in patient.shown:
        if one.quantity is Quantity.BLOOD_PRESSURE:
            value = float(one.values[0][2])
            if last is not None and one.at - last <= dt.timedelta(minutes=5):
                sessions[-1].append(value)
            else:
                sessions.append([value])
            last = one.at
    return sessions


def test_the_mix_is_exact() -> None:
    assert Counter(one.stratum for one in many()) == {
        Stratum.CONTROLLED: 120,
        Stratum.UNCONTROLLED: 50,
        Stratum.HEART_FAILURE: 20,
        Stratum.HYPO_PRONE: 10,
    }


def test_one_seed_gives_one_cohort() -> None:
    assert list(cohort(20, 10, 7)) == list(cohort(20, 10, 7))
    assert list(cohort(20, 10, 7)) != list(cohort(20, 10, 8))


def test_what_is_shown_spreads_as_cited() -> None:
    within, between = [], []
    for patient in of(Stratum.CONTROLLED):
        sessions = [s for s in systolic(patient) if len(s) == 2]
        within += [a - b for a, b in sessions]
        means = [statistics.fmean(s) for s in sessions]
        between.append(statistics.variance(means))
    assert abs(statistics.stdev(within) / 2**0.5 - 5) < 0.2
    assert abs(statistics.fmean(between) - (8**2 + 5**2 / 2)) < 4
    weights = [
        statistics.stdev(float(s.values[0][2]) for s in p.shown[:40] if s.quantity is Quantity.BODY_WEIGHT)
        for p in of(Stratum.HEART_FAILURE)
        if p.episodes[0].begins > BEGINS + dt.timedelta(days=30)
    ]
    assert abs(statistics.fmean(weights) - 0.7) < 0.15


def test_everybody_has_two_sessions_on_most_days() -> None:
    for patient in many():
        days = Counter(
            (one.at - BEGINS).days for one in patient.shown if one.quantity is Quantity.BLOOD_PRESSURE
        )
        assert len(days) > 80
        assert max(days.values()) == 4
        times = [one.at for one in patient.shown]
        assert times == sorted(times)
        assert len(set(times)) == len(times)


def test_the_truth_is_in_what_is_shown() -> None:
    assert all(one.episodes == () for one in of(Stratum.CONTROLLED))
    for patient in of(Stratum.UNCONTROLLED):
        for episode in patient.episodes:
            inside = [
                float(s.values[0][2])
                for s in patient.shown
                if episode.begins + dt.timedelta(days=3) <= s.at < episode.ends
            ]
            if episode.kind is EpisodeKind.HYPERTENSION and len(inside) > 20:
                assert statistics.fmean(inside) > 138
            elif episode.kind is EpisodeKind.SEVERE_PRESSURE:
                shown = [s for s in patient.shown if episode.begins <= s.at <= episode.ends]
                assert max(float(s.values[0][2]) for s in shown) > 180
    kinds = {e.kind for one in many() for e in one.episodes}
    assert kinds == set(EpisodeKind)


def test_low_glucose_is_measured_and_measured_again() -> None:
    for patient in of(Stratum.HYPO_PRONE):
        low = [s for s in patient.shown if s.values[0][0] is Term.GLUCOSE and s.values[0][2] < 3]
        assert len(low) == sum(e.kind is EpisodeKind.LOW_GLUCOSE for e in patient.episodes) > 3
        assert any(s.fasting for s in patient.shown)


def test_water_comes_and_goes() -> None:
    for patient in of(Stratum.HEART_FAILURE):
        weights = {
            (s.at - BEGINS).days: float(s.values[0][2])
            for s in patient.shown
            if s.quantity is Quantity.BODY_WEIGHT
        }
        episode = patient.episodes[0]
        begins, ends = ((moment - BEGINS).days for moment in (episode.begins, episode.ends))
        before = [w for day, w in weights.items() if begins - 12 <= day < begins]
        last = [w for day, w in weights.items() if ends - 3 <= day < ends]
        if len(last) > 1:
            assert statistics.fmean(last) - statistics.fmean(before) > 1.5
