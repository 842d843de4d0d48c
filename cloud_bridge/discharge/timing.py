"""When a dosage is due on the patient's clock, from a FHIR R4 Timing; or why nobody can say. Pure.

What is understood: given times of day, or codes that the site has times for, every day or on given weekdays.
Everything else has no reminder: one at a wrong time is worse than none.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud_bridge.discharge.terms import Terms

_DAYS: Final = {name: n for n, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
_ABBREVIATION: Final = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
_FREQUENCIES: Final = {1: "QD", 2: "BID", 3: "TID", 4: "QID"}
_BOUNDS: Final = ("boundsPeriod", "boundsDuration")
_LONGEST: Final = dt.timedelta(days=3653)
CUT: Final = "its end is too far ahead: reminders end ten years after the discharge"
_UNDERSTOOD: Final = frozenset(
    {*_BOUNDS, "frequency", "period", "periodUnit", "timeOfDay", "when", "dayOfWeek", "id", "extension"}
)


@dataclass(frozen=True, slots=True)
class Due:
    """Times of day on weekdays (empty: each), from a date on. `cut`: its end was said to be far ahead."""

    at: tuple[dt.time, ...]
    weekdays: tuple[int, ...]
    starts: dt.date
    cut: bool = False


class NotUnderstoodError(Exception):
    """Why there is no reminder, in words."""


def due(
    dosages: Sequence[Mapping[str, Any]], terms: Terms, begins: dt.date, plan_ends: dt.date | None
) -> tuple[Due, dt.date]:
    """Return when a medicine is due, and its last day; raises `NotUnderstoodError`.

    `begins` is the day of the discharge, `plan_ends` the last day of the plan.
    """
    if len(dosages) != 1:
        raise NotUnderstoodError("it has no dosage" if not dosages else "it has more than one dosage")
    (dosage,) = dosages
    if dosage.get("asNeededBoolean") or "asNeededCodeableConcept" in dosage:
        raise NotUnderstoodError("it is taken as needed")
    if "modifierExtension" in dosage or "modifierExtension" in dosage.get("timing", {}):
        raise NotUnderstoodError("its dosage has a modifierExtension")
    timing = dosage.get("timing", {})
    if "event" in timing:
        raise NotUnderstoodError("its timing lists single events")
    repeat = timing.get("repeat", {})
    unknown = sorted(set(repeat) - _UNDERSTOOD)
    if unknown:
        raise NotUnderstoodError(f"its timing.repeat.{unknown[0]} is not understood")
    starts, ends = _bounds(repeat, begins)
    last = min(filter(None, (ends, plan_ends)), default=None)
    if last is None:
        raise NotUnderstoodError("neither its timing nor CarePlan.period has an end")
    starts, farthest = max(starts or begins, begins), latest(begins)
    if starts > min(last, farthest):
        raise NotUnderstoodError("its timing or the plan ends before it begins")
    times, weekdays = _times(timing, repeat, terms), _weekdays(repeat)
    return Due(times, weekdays, starts, cut=last > farthest), min(last, farthest)


def latest(begins: dt.date) -> dt.date:
    """Return the last day of which anybody is reminded: an end in the year 9999 means that there is none."""
    return begins + _LONGEST


def _times(timing: Mapping[str, Any], repeat: Mapping[str, Any], terms: Terms) -> tuple[dt.time, ...]:
    given = [str(one) for one in repeat.get("timeOfDay", ())]
    codes = [str(one) for one in repeat.get("when", ())]
    if given and codes:
        raise NotUnderstoodError("its timing has both timeOfDay and when")
    often = _often(repeat)
    abbreviation = _abbreviation(timing)
    if not given and not codes:
        if often is None and abbreviation is None:
            raise NotUnderstoodError("its timing does not say when: write timeOfDay")
        codes = [abbreviation or _FREQUENCIES.get(often or 0, f"{often} times a day")]
    found = [_clock(one) for one in given] or [at for code in codes for at in _of_code(code, terms)]
    if often is not None and often != len(found):
        raise NotUnderstoodError("its timing.repeat.frequency is another number than the times of the day")
    return tuple(sorted(set(found)))


def _often(repeat: Mapping[str, Any]) -> int | None:
    """Return how often a day it is taken, if that is said; any other period is not understood."""
    if "period" not in repeat and "periodUnit" not in repeat:
        return int(repeat["frequency"]) if "frequency" in repeat else None
    period, unit = repeat.get("period"), repeat.get("periodUnit")
    weekly = unit == "wk" and "dayOfWeek" in repeat
    if period != 1 or (unit != "d" and not weekly):
        raise NotUnderstoodError("it is not taken each day, and its timing names no weekdays")
    if weekly:
        if int(repeat.get("frequency", 1)) != len(repeat["dayOfWeek"]):
            raise NotUnderstoodError("its timing.repeat.frequency is another number than its weekdays")
        return None
    return int(repeat.get("frequency", 1))


def _abbreviation(timing: Mapping[str, Any]) -> str | None:
    codings = timing.get("code", {}).get("coding", ())
    return next((str(one["code"]) for one in codings if one.get("system") == _ABBREVIATION), None)


def _of_code(code: str, terms: Terms) -> tuple[dt.time, ...]:
    if code not in terms.times:
        raise NotUnderstoodError(f"the site has no times for {code}: write [discharge.times]")
    return terms.times[code]


def _clock(text: str) -> dt.time:
    try:
        at = dt.time.fromisoformat(text)
    except ValueError as error:
        raise NotUnderstoodError("its timing.repeat.timeOfDay is no time of day") from error
    return at.replace(second=0, microsecond=0)


def _weekdays(repeat: Mapping[str, Any]) -> tuple[int, ...]:
    days = repeat.get("dayOfWeek", ())
    unknown = [one for one in days if one not in _DAYS]
    if unknown:
        raise NotUnderstoodError("its timing.repeat.dayOfWeek is no weekday")
    return tuple(sorted({_DAYS[one] for one in days}))


def _bounds(repeat: Mapping[str, Any], begins: dt.date) -> tuple[dt.date | None, dt.date | None]:
    period = repeat.get("boundsPeriod", {})
    starts, ends = _day(period, "start"), _day(period, "end")
    if "boundsDuration" in repeat:
        span = repeat["boundsDuration"]
        units = {"d": 1, "wk": 7}
        if span.get("code") not in units or "value" not in span or span.get("comparator"):
            raise NotUnderstoodError("its timing.repeat.boundsDuration is not in days or weeks")
        days = span["value"] * units[span["code"]]
        if days != int(days) or not 0 < days < 3660:  # noqa: PLR2004 - ten years
            raise NotUnderstoodError("its timing.repeat.boundsDuration is no number of days")
        ends = begins + dt.timedelta(days=int(days) - 1)
    return starts, ends


def _day(period: Mapping[str, Any], edge: str) -> dt.date | None:
    if edge not in period:
        return None
    try:
        return dt.date.fromisoformat(str(period[edge])[:10])
    except ValueError as error:
        raise NotUnderstoodError(f"its timing.repeat.boundsPeriod.{edge} is no day") from error
