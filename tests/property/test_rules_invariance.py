"""The set of findings depends on what is stored, not on the order, repetition or batches it came in."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.rules.base import Reading, Settings
from cloud_bridge.rules.catalogue import RULES

from bridge_readings import NOW, reading

READINGS = st.builds(
    lambda systolic, minutes: reading(str(systolic), minutes=minutes),
    st.sampled_from((120, 134, 136, 150, 181, 195)),
    st.one_of(st.none(), st.integers(-3000, 0)),
)


def all_findings(readings: list[Reading]) -> set[object]:
    now = NOW + dt.timedelta(hours=1)
    return {finding for rule in RULES for finding in rule.findings(readings, Settings(), now)}


@given(readings=st.lists(READINGS, max_size=14), random=st.randoms(use_true_random=False))
def test_order_and_duplication_change_nothing(readings: list[Reading], random: object) -> None:
    shuffled = readings + readings[: len(readings) // 2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' own random
    assert all_findings(shuffled) == all_findings(readings)


@given(readings=st.lists(READINGS, max_size=14), cut=st.integers(0, 14))
def test_batches_end_in_the_same_findings(readings: list[Reading], cut: int) -> None:
    all_findings(readings[:cut])  # a rule keeps nothing from an earlier evaluation
    assert all_findings(readings[cut:] + readings[:cut]) == all_findings(readings)
