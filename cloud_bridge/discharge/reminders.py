"""When a patient is reminded of which medicines: the times of a plan on the patient's clock. Pure.

A time that lies in quiet hours has no reminder: one that is held back until the morning could be taken for
the next dose.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cloud_bridge.discharge.plan import DischargePlan, Medication
from cloud_bridge.duty import Duty

_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Moment:
    """Some medicines are due at one moment (UTC)."""

    at: dt.datetime
    medicines: tuple[str, ...]


def due_within(
    plan: DischargePlan, after: dt.datetime, until: dt.datetime, where: tuple[dt.tzinfo, Duty]
) -> list[Moment]:
    """Return what is due after a moment and not after another one, in order."""
    zone, duty = where
    found: dict[dt.datetime, list[str]] = {}
    for one in _reminded(plan):
        for day in _days(one, after.astimezone(zone).date(), until.astimezone(zone).date()):
            for at in one.at:
                moment = dt.datetime.combine(day, at, tzinfo=zone).astimezone(dt.UTC)
                if after < moment <= until and duty.quiet_until(moment, zone) is None:
                    found.setdefault(moment, []).append(one.text)
    return [Moment(at, tuple(found[at])) for at in sorted(found)]


def next_due(plan: DischargePlan, after: dt.datetime, where: tuple[dt.tzinfo, Duty]) -> dt.datetime | None:
    """Return when something is due next; None if nothing is any more."""
    begins = [one.starts for one in _reminded(plan) if one.starts is not None]
    ends = [one.ends for one in _reminded(plan) if one.ends is not None]
    if not ends:
        return None
    last = dt.datetime.combine(max(ends) + _DAY, dt.time(), tzinfo=where[0]).astimezone(dt.UTC)
    first = dt.datetime.combine(min(begins), dt.time(), tzinfo=where[0]).astimezone(dt.UTC)
    look = max(after, first - _DAY)
    while look < last:
        found = due_within(plan, look, look + 8 * _DAY, where)
        if found:
            return found[0].at
        look += 8 * _DAY
    return None


def in_quiet_hours(plan: DischargePlan, day: dt.date, where: tuple[dt.tzinfo, Duty]) -> list[str]:
    """Return the medicines of which nobody is reminded at some time, because it lies in quiet hours."""
    zone, duty = where

    def quiet(at: dt.time) -> bool:
        return duty.quiet_until(dt.datetime.combine(day, at, tzinfo=zone), zone) is not None

    return [one.key for one in _reminded(plan) if any(map(quiet, one.at))]


def _reminded(plan: DischargePlan) -> Sequence[Medication]:
    listed = () if plan.over or plan.care is None else plan.care.medications
    return [one for one in listed if one.at and one.starts is not None and one.ends is not None]


def _days(one: Medication, first: dt.date, last: dt.date) -> Iterator[dt.date]:
    day = max(first, one.starts or first)
    while day <= min(last, one.ends or last):
        if not one.weekdays or day.weekday() in one.weekdays:
            yield day
        day += _DAY
