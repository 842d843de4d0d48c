"""The set of findings depends on what is stored, not on the order, repetition or batches it came in.

Every rule of the live registry is taken: a new rule meets these laws before its author writes a test.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.rules.base import Finding, FirstVisit, Reading, Settings
from cloud_bridge.rules.catalogue import AnyReadingRule
from cloud_bridge.rules.programme import PROGRAMMES, TECHNICAL, programme
from cloud_bridge.rules.technical import Sign, SignKind
from wire_format.identity import derived_id
from wire_format.measurement import Absent, Meal, Specimen
from wire_format.nomenclature import Unit

from bridge_readings import NOW, glucose, owned, reading, weight
from story_kit import DAY, every_rule, member, own_setting

# How fast it goes is the machine's matter, and never a failure.
SOME = settings(max_examples=60)
EVERY = pytest.mark.parametrize("one", every_rule(), ids=lambda r: f"{r.programme}:{r.id}")
VISIT = FirstVisit(UUID(int=9), NOW - dt.timedelta(hours=80), NOW - dt.timedelta(hours=8))
SETTINGS = member(
    *PROGRAMMES,
    since=NOW - dt.timedelta(days=60),
    zone="Asia/Shanghai",
    own=(
        # So that a short history is enough for each of them.
        own_setting("BP-PROTOCOL", "begins", (NOW - dt.timedelta(days=4)).date().isoformat()),
        own_setting("BP-PROTOCOL", "days", 3),
        own_setting("BP-PROTOCOL", "minimum_days", 2),
        own_setting("BP-HOME", "minimum_days", 2),
        own_setting("BP-HOME", "windows", [{"begins": "00:00", "ends": "23:59"}]),
        own_setting("BP-HOME", "readings", 1),
        own_setting("BP-PROTOCOL", "windows", [{"begins": "00:00", "ends": "23:59"}]),
        own_setting("BP-PROTOCOL", "readings", 1),
        own_setting("PULSE", "above_baseline", "15"),
        own_setting("PULSE", "baseline_minimum", 2),
        own_setting("GLU-TIR", "minimum_data", "0.01"),
        own_setting(
            "WEIGHT-HF",
            "moving",
            {
                "short": 2, "long": 6, "minimum_short": 1, "minimum_long": 2,
                "above": {"kg": "0.5", "lb": "1.1"}, "severity": "high",
            },
        ),
    ),
)  # fmt: skip
SETTINGS = replace(SETTINGS, visits=(VISIT,))
LATER = NOW + dt.timedelta(hours=1)

_RANDOM: Final = Random(20261124)  # noqa: S311 - an example, no secret
"""The pools are the same in every run; what is drawn from them is hypothesis' own."""


def _when() -> float | None:
    """Neighbours within a session, on one day, and over weeks; None: nobody knows when."""
    if _RANDOM.random() < 0.05:
        return None
    return -_RANDOM.randint(-1, 30) * DAY - _RANDOM.choice((0, 1, 5, 10, 11, 60, 700))


def _who() -> str | None:
    return None if _RANDOM.random() < 0.1 else "patient-1"


def _pressure() -> Reading:
    pick = _RANDOM.choice
    return reading(
        pick(("85", "120", "134", "136", "150", "180", "181", "195")),
        pick(("55", "80", "86", "112")),
        minutes=_when(),
        patient=_who(),
        pulse=pick(("48", "70", "90", "115")),
        irregular=pick((None, False, True, True)),
    )


def _sugar() -> Reading:
    pick = _RANDOM.choice
    values = ("2.5", "3.5", "3.9", "6.0", "7.1", "12.0", "15.0", "17.0", Absent.BELOW_RANGE)
    specimen = pick((Specimen.CAPILLARY_PLASMA, Specimen.INTERSTITIAL_FLUID))
    m = glucose(pick(values), minutes=_when(), meal=pick((None, Meal.FASTING)), specimen=specimen)
    return owned(m, _who())


def _weight() -> Reading:
    pick = _RANDOM.choice
    if _RANDOM.random() < 0.2:
        return owned(weight(pick(("176.0", "179.0", "182.0")), minutes=_when(), unit=Unit.POUND))
    return owned(weight(pick(("79.0", "80.0", "81.4", "82.1", "83.0")), minutes=_when()), _who())


def _pool(make: Callable[[], Reading]) -> list[Reading]:
    """Many readings, of each identity one: a store keeps no two."""
    return list({r.id: r for r in (make() for _ in range(200))}.values())


PRESSURES, SUGARS, WEIGHTS = map(_pool, (_pressure, _sugar, _weight))
HISTORIES = st.one_of(
    st.lists(st.sampled_from(pool), max_size=14)
    for pool in (PRESSURES, SUGARS, WEIGHTS, [*PRESSURES, *SUGARS, *WEIGHTS])
)


def asked(one: AnyReadingRule, readings: Sequence[Reading], now: dt.datetime = LATER) -> frozenset[Finding]:
    return one.findings(readings, SETTINGS, now)


def shuffled(readings: Sequence[Any], seed: int) -> list[Any]:
    """The same in another order, some of it twice."""
    twice = [*readings, *readings[: len(readings) // 2]]
    Random(seed).shuffle(twice)  # noqa: S311 - an order, no secret
    return twice


@EVERY
@SOME
@given(readings=HISTORIES, seed=st.integers(0, 99))
def test_order_and_duplication_change_nothing(
    one: AnyReadingRule, readings: list[Reading], seed: int
) -> None:
    assert asked(one, shuffled(readings, seed)) == asked(one, readings)


@EVERY
@SOME
@given(readings=HISTORIES, cut=st.integers(0, 14))
def test_batches_end_in_the_same_findings(one: AnyReadingRule, readings: list[Reading], cut: int) -> None:
    asked(one, readings[:cut])  # a rule keeps nothing from an earlier evaluation
    assert asked(one, readings[cut:] + readings[:cut]) == asked(one, readings)


@EVERY
@SOME
@given(readings=HISTORIES)
def test_a_finding_follows_from_its_own_evidence(one: AnyReadingRule, readings: list[Reading]) -> None:
    for finding in asked(one, readings):
        alone = [r for r in readings if r.id in finding.evidence]
        assert finding in asked(one, alone)


@EVERY
@SOME
@given(readings=HISTORIES)
def test_findings_of_one_rule_are_told_apart(one: AnyReadingRule, readings: list[Reading]) -> None:
    found = asked(one, readings)
    assert len({f.finding_id for f in found}) == len(found)


@EVERY
@SOME
@given(readings=HISTORIES, share=st.floats(0, 0.999999), hours=st.integers(0, 900))
def test_time_alone_changes_nothing_before_the_rule_wakes(
    one: AnyReadingRule, readings: list[Reading], share: float, hours: int
) -> None:
    now = NOW + dt.timedelta(hours=hours - 800)
    wakes = one.wakes(readings, SETTINGS, now)
    assert wakes is None or wakes > now
    until = now + dt.timedelta(days=60) if wakes is None else wakes
    between = now + (until - now) * share
    assert asked(one, readings, between) == asked(one, readings, now)


@EVERY
@SOME
@given(readings=HISTORIES)
def test_unassigned_readings_are_nobodys_history(one: AnyReadingRule, readings: list[Reading]) -> None:
    nobodys = [owned(r.measurement, None) for r in readings]
    found = one.findings(nobodys, Settings(subject="home:gw-1"), LATER)
    assert not found or one.everybody
    assert {f.subject for f in found} <= {"home:gw-1"}


def test_the_histories_reach_every_rule() -> None:
    """A law that nothing is tried on would hold for ever: each rule finds something in some history."""
    silent = {f"{one.programme}:{one.id}" for one in every_rule()}

    @settings(SOME, max_examples=800, derandomize=True)
    @given(readings=HISTORIES)
    def look(readings: list[Reading]) -> None:
        for one in every_rule():
            if asked(one, readings):
                silent.discard(f"{one.programme}:{one.id}")

    look()
    assert silent == set()


# --- equipment ---

SIGNS = st.lists(
    st.builds(
        lambda kind, hour, device: Sign(
            derived_id("test-sign", kind, hour, device),
            kind,
            NOW - dt.timedelta(hours=hour),
            "" if kind is SignKind.HEARD else device,
            device,
        ),
        st.sampled_from(list(SignKind)),
        st.sampled_from((0, 1, 24, 71, 72, 73, 400, 720, 1300)),
        st.sampled_from(("cuff", "scale")),
    ),
    max_size=12,
)


def technical(signs: Sequence[Sign], now: dt.datetime = LATER) -> frozenset[Finding]:
    (rule,) = programme(TECHNICAL).technical
    return rule.findings(signs, Settings(subject="gateway:gw-1"), now)


@SOME
@given(signs=SIGNS, seed=st.integers(0, 99))
def test_signs_of_equipment_have_no_order_either(signs: list[Sign], seed: int) -> None:
    found = technical(signs)
    assert technical(shuffled(signs, seed)) == found
    assert len({f.finding_id for f in found}) == len(found)
    for finding in found:
        assert finding in technical([s for s in signs if s.id in finding.evidence])


@SOME
@given(signs=SIGNS, share=st.floats(0, 0.999999))
def test_equipment_is_looked_at_again_in_time(signs: list[Sign], share: float) -> None:
    (rule,) = programme(TECHNICAL).technical
    now = NOW - dt.timedelta(hours=30)
    wakes = rule.wakes(signs, Settings(subject="gateway:gw-1"), now)
    until = now + dt.timedelta(days=60) if wakes is None else wakes
    assert technical(signs, now + (until - now) * share) == technical(signs, now)
