"""The 7-day protocol of home blood pressure, once: two readings a minute apart, morning and evening.

A day is measured when each window of it has a session of enough readings. The first measured day is dropped,
and what is left is averaged, unrounded; fewer than `minimum_days` measured days (the dropped one counted)
give no mean. Days and windows are those of the patient's own zone.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field

from cloud_bridge.rules.episodes import clusters
from cloud_bridge.rules.parameters import DayWindow, PressureLimit, SessionParameters
from cloud_bridge.rules.pressure import Mean, Pressure, mean


class ProtocolParameters(SessionParameters):
    """How the protocol is done, and the mean from which on it is spoken of."""

    systolic: PressureLimit
    diastolic: PressureLimit
    windows: tuple[DayWindow, ...] = Field(min_length=1)
    readings: int = Field(ge=1)
    days: int = Field(ge=2)
    minimum_days: int = Field(ge=2)


@dataclass(frozen=True, slots=True)
class MeasuredDay:
    """A day on which the protocol was kept, with its readings in order."""

    date: dt.date
    readings: tuple[Pressure, ...]


def measured_days(
    ordered: Sequence[Pressure], own: ProtocolParameters, local: Callable[[Pressure], dt.datetime]
) -> list[MeasuredDay]:
    """Return the days on which every window has its session. A session is where its first reading lies."""
    days: dict[dt.date, dict[int, list[Pressure]]] = defaultdict(lambda: defaultdict(list))
    for session in clusters(ordered, own.gap):
        at = local(session[0])
        for number, window in enumerate(own.windows):
            if window.holds(at) and len(session) >= own.readings:
                days[at.date()][number] += session
    return [
        MeasuredDay(
            date, tuple(sorted((p for one in kept.values() for p in one), key=lambda p: (p.when, p.id)))
        )
        for date, kept in sorted(days.items())
        if len(kept) == len(own.windows)
    ]


def protocol_mean(days: Sequence[MeasuredDay], own: ProtocolParameters) -> Mean | None:
    """Return the mean of measured days without the first; None if there are too few."""
    if len(days) < own.minimum_days:
        return None
    return mean([p for day in days[1:] for p in day.readings])


def ending_on(days: Iterable[MeasuredDay], last: dt.date, own: ProtocolParameters) -> list[MeasuredDay]:
    """Return the measured days of the period that ends on a date."""
    return [day for day in days if dt.timedelta() <= last - day.date < dt.timedelta(days=own.days)]
