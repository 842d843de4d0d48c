"""For each rule, the smallest histories that it is pinned by: what just fires, and what just does not.

A story lies close to a threshold, on one side of it, so that any nudge of a parameter changes what some story
finds. `tests/unit/test_rule_registry.py` takes them all, for every rule of the live registry.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud_bridge.rules.base import Membership, Reading, Setting, Settings
from cloud_bridge.rules.catalogue import AnyReadingRule
from cloud_bridge.rules.programme import PROGRAMMES, programme
from tests.doubles.bridge_readings import NOW, glucose, owned, reading, weight
from wire_format.identity import derived_id
from wire_format.measurement import Absent, Meal, Specimen
from wire_format.nomenclature import Unit

DAY = 24 * 60
LATER = NOW + dt.timedelta(days=2)
LONG_AGO = NOW - dt.timedelta(days=200)


def every_rule() -> list[AnyReadingRule]:
    """Every rule of every installed programme."""
    return [rule for name in PROGRAMMES for rule in programme(name).rules]


def rule(identity: str, of_programme: str | None = None) -> AnyReadingRule:
    """One rule of the registry, of the first programme that has it unless one is named."""
    return next(one for one in every_rule() if one.id == identity and of_programme in {None, one.programme})


def own_setting(identity: str, parameter: str, value: Any, *, minutes: int = 0) -> Setting:
    """A patient's own value, stated `minutes` after NOW."""
    text, at = json.dumps(value), NOW + dt.timedelta(minutes=minutes)
    made = derived_id("test-setting", identity, parameter, text, minutes)
    return Setting(made, identity, parameter, text, "physician-1", "agreed with the patient", at)


def member(
    *programmes: str, since: dt.datetime = LONG_AGO, zone: str = "UTC", own: tuple[Setting, ...] = ()
) -> Settings:
    """Settings of patient-1, who joined programmes at a moment."""
    joined = tuple(Membership(derived_id("test-member", name), name, since) for name in programmes)
    return Settings(own, joined, zone, "patient-1")


EVERYTHING = member(*PROGRAMMES)


@dataclass(frozen=True)
class Story:
    """A history, what is agreed, and the moment at which the rule is asked."""

    readings: Sequence[Reading]
    fires: bool
    settings: Settings = EVERYTHING
    now: dt.datetime = LATER
    text: str | None = field(default=None)


def yes(*readings: Reading, text: str | None = None, **more: Any) -> Story:
    return Story(readings, fires=True, text=text, **more)


def no(*readings: Reading, **more: Any) -> Story:
    return Story(readings, fires=False, **more)


def bp(systolic: str, diastolic: str = "80", minutes: float | None = 0, **more: Any) -> Reading:
    return reading(systolic, diastolic, minutes=minutes, **more)


def kpa(systolic: str, diastolic: str = "10.0", minutes: float = 0) -> Reading:
    return reading(systolic, diastolic, minutes=minutes, unit=Unit.KPA)


def sugar(value: str | Absent, minutes: float | None = 0, **more: Any) -> Reading:
    return owned(glucose(value, minutes=minutes, **more))


def mg(value: str, minutes: float = 0, **more: Any) -> Reading:
    return sugar(value, minutes, unit=Unit.MG_PER_DL, **more)


def kg(value: str, day: int, minutes: float = 0) -> Reading:
    return owned(weight(value, minutes=day * DAY + minutes))


def lb(value: str, day: int) -> Reading:
    return owned(weight(value, minutes=day * DAY, unit=Unit.POUND))


def twice(make: Callable[[float], Reading], at: float) -> list[Reading]:
    return [make(at), make(at + 1)]


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


def _folded(value: str, hours: int) -> list[Story]:
    """Two readings so far apart that they are one finding, or two."""
    return [yes(sugar(value), sugar(value, hours * 60 + extra)) for extra in (0, 1)]


def _low_1() -> list[Story]:
    return [
        yes(sugar("3.8")), no(sugar("3.9")), yes(sugar("3.0")), no(sugar("2.9")),
        yes(mg("69")), no(mg("70")), yes(mg("54")), no(mg("53")), *_folded("3.5", 24),
    ]  # fmt: skip


def _low_2() -> list[Story]:
    return [
        yes(sugar("2.9")), no(sugar("3.0")), yes(mg("53")), no(mg("54")), yes(sugar(Absent.BELOW_RANGE)),
        no(sugar(Absent.ABOVE_RANGE)), *_folded("2.5", 2),
    ]  # fmt: skip


def _high_1() -> list[Story]:
    return [
        yes(sugar("10.1")), no(sugar("10.0")), yes(sugar("13.9")), no(sugar("14.0")),
        yes(mg("181")), no(mg("180")), yes(mg("250")), no(mg("251")), *_folded("12.0", 72),
    ]  # fmt: skip


def _high_2() -> list[Story]:
    return [
        yes(sugar("14.0")), no(sugar("13.9")), yes(sugar("16.6")), no(sugar("16.7")),
        yes(mg("251")), no(mg("250")), yes(mg("299")), no(mg("300")), *_folded("15.0", 24),
    ]  # fmt: skip


def _urgent_glucose() -> list[Story]:
    return [
        yes(sugar("16.7")), no(sugar("16.6")), yes(mg("300")), no(mg("299")), yes(sugar("3.9")),
        no(sugar("3.8")), no(sugar("4.0")), yes(mg("70")), no(mg("69")), no(mg("71")),
        yes(sugar(Absent.ABOVE_RANGE)), no(sugar(Absent.BELOW_RANGE)), no(sugar("3.9"), settings=Settings()),
        *_folded("17.0", 12),
    ]  # fmt: skip


def fasting(value: str, day: int = 0, **more: Any) -> Reading:
    return sugar(value, day * DAY, meal=Meal.FASTING, **more)


def _fasting() -> list[Story]:
    return [
        yes(fasting("7.0"), text="first"), no(fasting("6.9")), no(sugar("7.0")),
        yes(fasting("126", unit=Unit.MG_PER_DL)), no(fasting("125", unit=Unit.MG_PER_DL)),
        yes(fasting("7.0"), fasting("7.1", 1), text="again"),
        yes(fasting("7.0"), sugar("7.2", 60, meal=Meal.FASTING), text="first"),
    ]  # fmt: skip


FORTNIGHT_ENDS = dt.datetime(2026, 12, 6, tzinfo=dt.UTC)


def sensor(*values: str, missing: int = 0, unit: Unit = Unit.MMOL_PER_L, every: int = 60) -> list[Reading]:
    """A fortnight of a sensor that ends on FORTNIGHT_ENDS, a value an hour; `values` at its beginning."""
    begin = (FORTNIGHT_ENDS - dt.timedelta(days=14) - NOW) / dt.timedelta(minutes=1)
    count = 14 * DAY // every
    plain = "6.0" if unit is Unit.MMOL_PER_L else "108"
    given = [*values, *[plain] * (count - len(values))][: count - missing]
    return [
        sugar(value, begin + n * every, unit=unit, specimen=Specimen.INTERSTITIAL_FLUID)
        for n, value in enumerate(given)
    ]


def _range() -> list[Story]:
    """336 hours: 1 % is 3.36 of them, 4 % 13.44, 5 % 16.8, 30 % 100.8, 50 % 168."""
    hourly = own_setting("GLU-TIR", "interval_minutes", 60)
    settings = member(*PROGRAMMES, own=(hourly,))
    old = member(*PROGRAMMES, own=(hourly, own_setting("GLU-TIR", "older", value=True)))
    at: dict[str, Any] = {"settings": settings, "now": FORTNIGHT_ENDS}
    mg_dl = Unit.MG_PER_DL
    return [
        yes(*sensor(*["11.0"] * 101), **at, text="in_range"), no(*sensor(*["11.0"] * 100), **at),
        yes(*sensor(*["10.1"] * 101), **at), no(*sensor(*["10.0"] * 101), **at),
        yes(*sensor(*["3.8"] * 14), **at, text="low"),
        no(*sensor(*["3.8"] * 13), **at), no(*sensor(*["3.9"] * 14), **at),
        yes(*sensor(*["2.9"] * 4), **at, text="very_low"),
        no(*sensor(*["2.9"] * 3), **at), no(*sensor(*["3.0"] * 4), **at),
        yes(*sensor(*["14.0"] * 17), **at, text="very_high"),
        no(*sensor(*["14.0"] * 16), **at), no(*sensor(*["13.9"] * 17), **at),
        yes(*sensor(*["181"] * 101, unit=mg_dl), **at), no(*sensor(*["180"] * 101, unit=mg_dl), **at),
        yes(*sensor(*["69"] * 14, unit=mg_dl), **at), no(*sensor(*["70"] * 14, unit=mg_dl), **at),
        yes(*sensor(*["53"] * 4, unit=mg_dl), **at), no(*sensor(*["54"] * 4, unit=mg_dl), **at),
        yes(*sensor(*["251"] * 17, unit=mg_dl), **at), no(*sensor(*["250"] * 17, unit=mg_dl), **at),
        yes(*sensor(*["11.0"] * 168), settings=old, now=FORTNIGHT_ENDS),
        no(*sensor(*["11.0"] * 167), settings=old, now=FORTNIGHT_ENDS),
        no(*sensor(*["11.0"] * 101), settings=settings, now=FORTNIGHT_ENDS - dt.timedelta(seconds=1)),
        # 70 % of 336 hours are 235.2.
        yes(*sensor(*["11.0"] * 100, missing=100), **at), no(*sensor(*["11.0"] * 100, missing=101), **at),
        no(*[sugar("11.0", n * 60 - 3 * DAY) for n in range(60)], **at),
    ]  # fmt: skip


def _weight() -> list[Story]:
    return [
        yes(kg("80.0", -3), kg("82.1", 0), text="gain"), no(kg("80.0", -3), kg("82.0", 0)),
        no(kg("80.0", -4), kg("83.0", 0)),
        yes(lb("180.0", -3), lb("184.5", 0)), no(lb("180.0", -3), lb("184.4", 0)),
        yes(lb("180.0", -1), lb("183.0", 0)), no(lb("180.0", -1), lb("182.9", 0)),
        no(lb("180.0", -2), lb("183.0", 0)),
        yes(kg("80.0", -1), kg("81.36", 0)), no(kg("80.0", -1), kg("81.35", 0)),
        # The first weighing of a day counts.
        no(kg("80.0", -1), kg("80.5", 0), kg("83.0", 0, 30)),
        *_moving(),
    ]  # fmt: skip


def _moving() -> list[Story]:
    """Differences of means: three equal last days of fourteen count 11/14 of their rise."""
    at: dict[str, Any] = {"settings": member(*PROGRAMMES, own=(own_setting("WEIGHT-HF", "gains", []),))}

    def days(*last: str, usual: int = 11, plain: str = "80.0", make: Any = kg) -> list[Reading]:
        values = [*[plain] * usual, *last]
        return [make(value, n + 1 - len(values)) for n, value in enumerate(values)]

    return [
        yes(*days("81.3", "81.3", "81.3"), **at, text="moving"), no(*days("81.27", "81.27", "81.27"), **at),
        yes(*days("81.3", "81.3", "81.3", usual=12), **at), yes(*days("81.9", "81.0", "81.0"), **at),
        yes(*days("182.9", "182.9", "182.9", plain="180.0", make=lb), **at),
        no(*days("182.7", "182.7", "182.7", plain="180.0", make=lb), **at),
        no(*days("80.0", "80.0", "81.9")[:-3], kg("81.9", 0), **at),
        yes(*days("80.0", "80.0", "80.0")[:-3], kg("81.5", -1), kg("81.5", 0), **at),
        yes(*days("81.8", "81.8", "81.8", usual=4), **at), no(*days("82.1", "82.1", "82.1", usual=3), **at),
    ]  # fmt: skip


_MAKE: dict[str, Callable[[float], Reading]] = {
    "hypertension": lambda at: bp("120", minutes=at),
    "diabetes": lambda at: sugar("6.0", at),
    "heart_failure": lambda at: owned(weight("80.0", minutes=at)),
}
MONDAY = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


def _silence(name: str) -> list[Story]:
    make, days = _MAKE[name], {"diabetes": 3}.get(name, 2)
    here = member(name, since=NOW - dt.timedelta(hours=1))
    over, second = NOW + dt.timedelta(days=days), dt.timedelta(seconds=1)
    return [
        yes(make(0), settings=here, now=over, text="missing"), no(make(0), settings=here, now=over - second),
        yes(settings=member(name, since=NOW), now=over, text="missing"),
        yes(make(0), make(days * DAY), settings=here, now=over, text="over"),
        no(make(0), make(days * DAY - 1), settings=here, now=over),
        no(make(0), settings=member(), now=over), no(make(0), settings=Settings(), now=over),
        *_falling(name, make),
    ]  # fmt: skip


def _falling(name: str, make: Callable[[float], Reading]) -> list[Story]:
    def weeks(*counts: int) -> list[Reading]:
        begin = (MONDAY - dt.timedelta(days=35) - NOW) / dt.timedelta(minutes=1) + 600
        return [make(begin + (7 * w + d) * DAY) for w, count in enumerate(counts) for d in range(count)]

    since = MONDAY - dt.timedelta(days=35)
    at: dict[str, Any] = {"settings": member(name, since=since), "now": MONDAY, "text": "falling"}
    early = {**at, "now": MONDAY - dt.timedelta(seconds=1)}
    return [
        yes(*weeks(4, 4, 4, 4, 2), **at), no(*weeks(4, 4, 4, 4, 3), **at), no(*weeks(4, 4, 4, 4, 2), **early),
        no(*weeks(5, 5, 5, 5, 3), **at), yes(*weeks(3, 3, 3, 3, 1), **at), no(*weeks(3, 3, 3, 2, 1), **at),
        yes(*weeks(1, 5, 5, 5, 2), **at), yes(*weeks(4, 4, 4, 4, 0), **at),
    ]  # fmt: skip


_STORIES: dict[str, Callable[[], list[Story]]] = {
    "BP-SEVERE": _severe,
    "BP-URGENT-CN": _urgent,
    "BP-LOW": _low,
    "BP-CONSECUTIVE": _consecutive,
    "BP-THIRD": _third,
    "BP-HOME": _home,
    "BP-PROTOCOL": _ordered,
    "PULSE-IRREGULAR": _irregular,
    "GLU-LOW-1": _low_1,
    "GLU-LOW-2": _low_2,
    "GLU-HIGH-1": _high_1,
    "GLU-HIGH-2": _high_2,
    "GLU-URGENT-CN": _urgent_glucose,
    "GLU-FASTING": _fasting,
    "GLU-TIR": _range,
    "WEIGHT-HF": _weight,
}


def stories(one: AnyReadingRule) -> list[Story]:
    """Return the stories of a rule; `KeyError` for one that has none: write them beside the others."""
    if one.id == "SILENCE":
        return _silence(one.programme)
    if one.id == "PULSE":
        return _rate_with_baseline() if one.programme == "heart_failure" else _rate()
    return _STORIES[one.id]()
