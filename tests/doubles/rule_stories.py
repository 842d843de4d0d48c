"""For each rule, the smallest histories that it is pinned by: what just fires, and what just does not.

A story lies close to a threshold, on one side of it, so that any nudge of a parameter changes what some story
finds. `tests/unit/test_rule_registry.py` takes them all, for every rule of the live registry.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from cloud_bridge.rules.base import FirstVisit, Reading, Settings
from cloud_bridge.rules.catalogue import AnyReadingRule
from tests.doubles import glucose_stories
from tests.doubles.bridge_readings import NOW, reading
from tests.doubles.story_kit import DAY, EVERYTHING, Story, bp, kpa, member, no, own_setting, yes


def _severe() -> list[Story]:
    return [
        yes(bp("181"), text="unconfirmed"), no(bp("180", "120")), yes(bp("150", "121")),
        yes(kpa("24.1")), no(kpa("24.0", "16.0")), yes(kpa("20.0", "16.1")),
        yes(bp("190"), bp("190", minutes=10), text="confirmed"), yes(bp("190"), bp("190", minutes=11)),
    ]  # fmt: skip


def _urgent() -> list[Story]:
    return [
        yes(bp("180")), no(bp("179", "109")), yes(bp("150", "110")), yes(kpa("24.0")),
        no(kpa("23.9", "14.6")), yes(kpa("20.0", "14.7")), no(bp("181")), no(bp("150", "121")),
        yes(bp("150", "120")),
        no(kpa("24.1")), yes(kpa("20.0", "16.0")), no(kpa("20.0", "16.1")),
        no(bp("180", minutes=2 * DAY - 9)), yes(bp("180", minutes=2 * DAY - 10)), *_apart("180", "110"),
    ]  # fmt: skip


def _apart(high: str, low: str) -> list[Story]:
    """Two readings of one session, whose mean lies on the other side, and the same as two sessions."""
    return [no(bp(high), bp(low, minutes=10)), yes(bp(high), bp(low, minutes=11))]


def _low() -> list[Story]:
    return [
        yes(bp("89")), no(bp("90", "60")), yes(bp("110", "59")), yes(kpa("11.9")), no(kpa("12.0", "8.0")),
        yes(kpa("14.0", "7.9")), no(bp("89", minutes=2 * DAY - 9)), yes(bp("89", minutes=2 * DAY - 10)),
        *_apart("89", "120"),
    ]  # fmt: skip


def _sessions(*values: tuple[str, str], make: Callable[..., Reading] = bp) -> list[Reading]:
    return [
        make(high, low, minutes=n * DAY / 2 - 3 * DAY + extra)
        for n, (high, low) in enumerate(values)
        for extra in (0, 1)
    ]


def _consecutive() -> list[Story]:
    run = _sessions(("135", "80"), ("135", "80"))
    return [
        yes(*_sessions(*[("135", "80")] * 3)), no(*_sessions(*[("134", "84")] * 3)),
        yes(*_sessions(*[("120", "85")] * 3)), no(*_sessions(*[("135", "80")] * 2)),
        yes(*_sessions(*[("18.0", "10.0")] * 3, make=kpa)), no(*_sessions(*[("17.9", "11.2")] * 3, make=kpa)),
        yes(*_sessions(*[("16.0", "11.3")] * 3, make=kpa)),
        no(*run, bp("136"), bp("132", minutes=10)), yes(*run, bp("136"), bp("132", minutes=11)),
    ]  # fmt: skip


def _third() -> list[Story]:
    return [
        yes(bp("140"), bp("129", minutes=1)), no(bp("140"), bp("130", minutes=1)),
        yes(bp("140", "91"), bp("140", "80", minutes=1)), yes(kpa("18.0"), kpa("16.6", minutes=1)),
        no(kpa("18.0"), kpa("16.7", minutes=1)), yes(bp("140"), bp("120", minutes=10)),
        no(bp("140"), bp("120", minutes=11)), no(bp("140")),
    ]  # fmt: skip


def kept(days: Iterable[int], high: str = "135", low: str = "80", **more: Any) -> list[Reading]:
    """Days on which the protocol was kept, at 6:00 and 20:59 of UTC (NOW is 8:00)."""
    make = more.pop("make", bp)
    morning, evening = more.pop("morning", -120), more.pop("evening", 12 * 60 + 59)
    return [r for day in days for at in (morning, evening) for r in _pair(make, high, low, day * DAY + at)]


def _pair(make: Callable[..., Reading], high: str, low: str, at: float) -> list[Reading]:
    return [make(high, low, minutes=at), make(high, low, minutes=at + 1)]


def _home() -> list[Story]:
    first = kept([-3], "120")
    return [
        yes(*first, *kept([-2, -1])), no(*first, *kept([-2, -1], "134", "84")),
        yes(*first, *kept([-2, -1], "120", "85")), no(*kept([-3], "120"), *kept([-1])),
        yes(*kept([-3, -2, -1], "18.0", "10.0", make=kpa)), no(*kept([-3, -2, -1], "17.9", "11.2", make=kpa)),
        yes(*kept([-3, -2, -1], "16.0", "11.3", make=kpa)),
        # The first measured day is dropped, and what lies a week back is not of the period.
        no(*kept([-3], "200"), *kept([-2, -1], "130")),
        yes(*kept([-7], "200"), *kept([-4, -1], "135")), no(*kept([-8], "200"), *kept([-4, -1], "135")),
        # Windows, both ends included, and two readings in each.
        no(*kept([-3, -2, -1], morning=-121)), no(*kept([-3, -2, -1], morning=61)),
        yes(*kept([-3, -2, -1], morning=60)),
        no(*kept([-3, -2, -1], evening=13 * 60 + 1)), yes(*kept([-3, -2, -1], evening=13 * 60)),
        no(*kept([-3, -2, -1], evening=599)), yes(*kept([-3, -2, -1], evening=600)),
        no(*[r for i, r in enumerate(kept([-3, -2, -1])) if i % 2]),
        yes(*_spaced(10)), no(*_spaced(11)),
    ]  # fmt: skip


def _spaced(apart: int) -> list[Reading]:
    """Pairs so many minutes apart."""
    return [
        bp("140", minutes=day * DAY + at + extra)
        for day in (-3, -2, -1)
        for at in (-120, 700)
        for extra in (0, apart)
    ]


def _ordered() -> list[Story]:
    begins = (NOW - dt.timedelta(days=8)).date()
    asked = member(own=(own_setting("BP-PROTOCOL", "begins", begins.isoformat()),))
    ended = dt.datetime.combine(begins + dt.timedelta(days=7), dt.time(), tzinfo=dt.UTC)
    week, just_before = range(-8, -1), ended - dt.timedelta(seconds=1)
    return [
        yes(*kept(week), settings=asked, now=just_before, text="done"),
        no(*kept(list(week)[1:]), settings=asked, now=just_before),
        yes(*kept(list(week)[:3]), settings=asked, now=ended, text="done"),
        yes(*kept(list(week)[:2]), settings=asked, now=ended, text="short"),
        yes(settings=asked, now=ended, text="short"),
        no(*kept(week)),
        yes(*kept([-9, -8, -7]), settings=asked, text="short"),
        yes(*kept([-2, -1, -3]), settings=asked, text="short"),
        yes(*kept([-2, -4, -3]), settings=asked, text="done"),
        yes(*kept(list(week)[:3], morning=-121), settings=asked, now=ended, text="short"),
        yes(*kept(list(week)[:3], morning=61), settings=asked, now=ended, text="short"),
        yes(*kept(list(week)[:3], morning=60), settings=asked, now=ended, text="done"),
        yes(*kept(list(week)[:3], evening=599), settings=asked, now=ended, text="short"),
        yes(*kept(list(week)[:3], evening=600), settings=asked, now=ended, text="done"),
        yes(*kept(list(week)[:3], evening=13 * 60 + 1), settings=asked, now=ended, text="short"),
        yes(*kept(list(week)[:3], evening=13 * 60), settings=asked, now=ended, text="done"),
    ]


def pulse(rate: str, minutes: float = 0, **more: Any) -> Reading:
    return reading("120", minutes=minutes, pulse=rate, **more)


def _baseline(rate: str, days: int = 7, back: int = 0) -> list[Reading]:
    usual = [pulse("60", -(n + back) * DAY) for n in range(1, days + 1)]
    return [*usual, pulse(rate)]


def _rate() -> list[Story]:
    return [
        yes(pulse("49"), text="low"), no(pulse("50")), yes(pulse("111"), text="high"), no(pulse("110")),
        no(pulse("111", 2 * DAY - 9)), yes(pulse("111", 2 * DAY - 10)),
        no(pulse("111"), pulse("80", 10)), yes(pulse("111"), pulse("80", 11)),
    ]  # fmt: skip


def _rate_with_baseline() -> list[Story]:
    return [
        *_rate(), yes(*_baseline("75"), text="baseline"), no(*_baseline("74")), no(*_baseline("75", days=6)),
        yes(*_baseline("75", back=7), text="baseline"), no(*_baseline("75", back=8)),
    ]  # fmt: skip


def flags(told: str, gap: float = DAY) -> list[Reading]:
    """Readings with the device's flag: x irregular, o regular, ? not said."""
    said = {"x": True, "o": False, "?": None}
    return [
        reading(str(120 + n), minutes=n * gap - 2 * DAY, irregular=said[one]) for n, one in enumerate(told)
    ]


def _irregular() -> list[Story]:
    return [
        yes(*flags("xox")), no(*flags("xoox")), no(*flags("x")),
        no(*flags("xx", gap=10)), yes(*flags("xx", gap=11)), no(*flags("??")),
    ]  # fmt: skip


def _visits() -> list[Story]:
    def asked(**more: Any) -> Settings:
        due = NOW + dt.timedelta(hours=72)
        return replace(EVERYTHING, visits=(FirstVisit(UUID(int=9), NOW, due, **more),))

    at = {hours: NOW + dt.timedelta(hours=hours) for hours in (10, 71, 72, 80)}
    return [
        no(now=at[72]),
        no(settings=asked(), now=at[71]),
        yes(settings=asked(), now=at[72], text="overdue"),
        no(settings=asked(done_at=at[71]), now=at[80]),
        yes(settings=asked(done_at=at[80]), now=at[80], text="over"),
        yes(settings=asked(given_back_at=at[10]), now=at[10], text="given_back"),
        yes(settings=asked(given_back_at=at[10], done_at=at[71]), now=at[71], text="over"),
    ]


_STORIES: dict[str, Callable[[], list[Story]]] = {
    "BP-SEVERE": _severe,
    "BP-URGENT-CN": _urgent,
    "BP-LOW": _low,
    "BP-CONSECUTIVE": _consecutive,
    "BP-THIRD": _third,
    "BP-HOME": _home,
    "BP-PROTOCOL": _ordered,
    "PULSE-IRREGULAR": _irregular,
    "GLU-LOW-1": glucose_stories.low_1,
    "GLU-LOW-2": glucose_stories.low_2,
    "GLU-HIGH-1": glucose_stories.high_1,
    "GLU-HIGH-2": glucose_stories.high_2,
    "GLU-URGENT-CN": glucose_stories.urgent,
    "GLU-FASTING": glucose_stories.fasting_stories,
    "GLU-TIR": glucose_stories.time_in_range,
    "WEIGHT-HF": glucose_stories.weight_gain,
    "FIRST-VISIT": _visits,
}


def stories(one: AnyReadingRule) -> list[Story]:
    """Return the stories of a rule; `KeyError` for one that has none: write them beside the others."""
    if one.id == "SILENCE":
        return glucose_stories.silence(one.programme)
    if one.id == "PULSE":
        return _rate_with_baseline() if one.programme == "heart_failure" else _rate()
    return _STORIES[one.id]()
