"""Service hours: when somebody is on duty, when something is due, and when nobody may be disturbed. Pure.

A due time that falls into a night without anybody is a promise that nobody keeps: times are counted while
somebody is on duty, and outside of it the words say so.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cloud_bridge.rules.base import Severity
from cloud_bridge.rules.care import Care

DAYS_AHEAD: Final = 400
"""How far ahead a calendar is looked through: a year, and its longest holidays."""
_DAY: Final = dt.timedelta(days=1)

Span = tuple[dt.time, dt.time]


@dataclass(frozen=True, slots=True)
class Duty:
    """When somebody of the care team works. Without `hours` somebody always does.

    `hours` are by weekday (Monday 0), in `zone`; `closed` are dates off, `open` dates on which the hours of
    `open_hours` hold although their weekday has none. In `quiet` nobody at home is disturbed by what can
    wait; it may go over midnight. `emergency` is what people are told to call.
    """

    zone: dt.tzinfo = dt.UTC
    hours: tuple[Span | None, ...] = ()
    closed: frozenset[dt.date] = frozenset()
    open: frozenset[dt.date] = frozenset()
    open_hours: Span | None = None
    quiet: Span | None = None
    emergency: str = ""

    def on(self, at: dt.datetime) -> bool:
        """Tell whether somebody is on duty."""
        return not self.hours or any(b <= at < e for b, e in self._service(at, days=1))

    def opens(self, at: dt.datetime) -> dt.datetime:
        """Return when somebody is on duty, from `at` on: `at` itself if somebody is."""
        if self.on(at):
            return at
        return next((begins for begins, _ in self._service(at) if begins > at), at)

    def due(self, care: Care, severity: Severity, at: dt.datetime) -> dt.datetime:
        """Return until when an item of `at` must be seen."""
        match severity:
            case Severity.SEVERE:
                return self._after(at, dt.timedelta(minutes=care.severe_minutes))
            case Severity.HIGH:
                return self._after(at, dt.timedelta(minutes=care.high_minutes))
            case Severity.ROUTINE:
                return self._working_day(at, care.routine_working_days)

    def quiet_until(self, at: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
        """Return when the quiet hours that `at` lies in end, where people live in `zone`; None outside."""
        if self.quiet is None:
            return None
        begins, ends = self.quiet
        local = at.astimezone(zone)
        for day in (local.date() - _DAY, local.date()):
            last = day if begins < ends else day + _DAY
            quiet = (_at(day, begins, zone), _at(last, ends, zone))
            if quiet[0] <= at < quiet[1]:
                return quiet[1]
        return None

    def _after(self, at: dt.datetime, span: dt.timedelta) -> dt.datetime:
        if not self.hours:
            return at + span
        left = span
        for begins, ends in self._service(at):
            starts = max(begins, at)
            if ends - starts >= left:
                return starts + left
            left -= max(ends - starts, dt.timedelta())
        return at + span  # a calendar without work: then the plain time is as good as any

    def _working_day(self, at: dt.datetime, days: int) -> dt.datetime:
        """Return the end of the service of a later working day."""
        if not self.hours:
            return at + days * _DAY
        today = at.astimezone(self.zone).date()
        later = (ends for begins, ends in self._service(at) if begins.astimezone(self.zone).date() > today)
        return next((ends for n, ends in enumerate(later, start=1) if n == days), at + days * _DAY)

    def _service(self, at: dt.datetime, days: int = DAYS_AHEAD) -> Iterator[tuple[dt.datetime, dt.datetime]]:
        """Yield the times of service from the day of `at` on, in UTC."""
        first = at.astimezone(self.zone).date()
        for n in range(days):
            day = first + n * _DAY
            hours = self._of(day)
            if hours is not None:
                yield _at(day, hours[0], self.zone), _at(day, hours[1], self.zone)

    def _of(self, day: dt.date) -> Span | None:
        if day in self.closed:
            return None
        return self.hours[day.weekday()] or (self.open_hours if day in self.open else None)


def _at(day: dt.date, time: dt.time, zone: dt.tzinfo) -> dt.datetime:
    return dt.datetime.combine(day, time, tzinfo=zone).astimezone(dt.UTC)


ALWAYS: Final = Duty()
"""Somebody is on duty day and night."""
