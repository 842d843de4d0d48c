"""Stories of the rules of glucose, weight and silence."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from cloud_bridge.rules.base import Reading, Settings
from cloud_bridge.rules.programme import PROGRAMMES
from tests.doubles.bridge_readings import NOW, owned, weight
from tests.doubles.story_kit import DAY, Story, bp, kg, lb, member, mg, no, own_setting, sugar, yes
from wire_format.measurement import Absent, Meal, Specimen
from wire_format.nomenclature import Unit


def _folded(value: str, hours: int) -> list[Story]:
    """Two readings so far apart that they are one finding, or two."""
    return [yes(sugar(value), sugar(value, hours * 60 + extra)) for extra in (0, 1)]


def low_1() -> list[Story]:
    return [
        yes(sugar("3.8")), no(sugar("3.9")), yes(sugar("3.0")), no(sugar("2.9")),
        yes(mg("69")), no(mg("70")), yes(mg("54")), no(mg("53")), *_folded("3.5", 24),
    ]  # fmt: skip


def low_2() -> list[Story]:
    return [
        yes(sugar("2.9")), no(sugar("3.0")), yes(mg("53")), no(mg("54")), yes(sugar(Absent.BELOW_RANGE)),
        no(sugar(Absent.ABOVE_RANGE)), *_folded("2.5", 2),
    ]  # fmt: skip


def high_1() -> list[Story]:
    return [
        yes(sugar("10.1")), no(sugar("10.0")), yes(sugar("13.9")), no(sugar("14.0")),
        yes(mg("181")), no(mg("180")), yes(mg("250")), no(mg("251")), *_folded("12.0", 72),
    ]  # fmt: skip


def high_2() -> list[Story]:
    return [
        yes(sugar("14.0")), no(sugar("13.9")), yes(sugar("16.6")), no(sugar("16.7")),
        yes(mg("251")), no(mg("250")), yes(mg("299")), no(mg("300")), *_folded("15.0", 24),
    ]  # fmt: skip


def urgent() -> list[Story]:
    return [
        yes(sugar("16.7")), no(sugar("16.6")), yes(mg("300")), no(mg("299")), yes(sugar("3.9")),
        no(sugar("3.8")), no(sugar("4.0")), yes(mg("70")), no(mg("69")), no(mg("71")),
        yes(sugar(Absent.ABOVE_RANGE)), no(sugar(Absent.BELOW_RANGE)), no(sugar("3.9"), settings=Settings()),
        *_folded("17.0", 12),
    ]  # fmt: skip


def fasting(value: str, day: int = 0, **more: Any) -> Reading:
    return sugar(value, day * DAY, meal=Meal.FASTING, **more)


def fasting_stories() -> list[Story]:
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


def time_in_range() -> list[Story]:
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


def weight_gain() -> list[Story]:
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


def silence(name: str) -> list[Story]:
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
