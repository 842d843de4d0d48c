"""Sessions, runs and overlapping windows: how single readings become one thing to speak of. Written once.

Everything here is a function of the set of readings that it is given. An episode is closed under its own
evidence: looked at alone, its readings give the same episode again. That is what lets a past alert be
replayed from what it stood on.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

from cloud_bridge.rules.base import Reading

LAST: Final = dt.datetime.max.replace(tzinfo=dt.UTC)


class Taken:
    """A reading as one family of rules sees it. Subclasses add the values they stand on."""

    __slots__ = ("reading",)

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    @property
    def id(self) -> UUID:
        """The measurement's id."""
        return self.reading.id

    @property
    def at(self) -> dt.datetime | None:
        """The folded moment; None if unknown."""
        return None if self.reading.measured is None else self.reading.measured.utc

    @property
    def when(self) -> dt.datetime:
        """The folded moment; `ValueError` if unknown."""
        if self.at is None:
            raise ValueError("a reading without a time has no place in a sequence")
        return self.at


class Timed(Protocol):
    """Whatever has a moment and an identity."""

    @property
    def id(self) -> UUID:
        """The identity."""
        ...

    @property
    def when(self) -> dt.datetime:
        """The moment."""
        ...


_T = TypeVar("_T", bound=Timed)
_S = TypeVar("_S")


def plus(at: dt.datetime, span: dt.timedelta) -> dt.datetime:
    """Return a moment later than another; the end of the calendar if it would lie beyond."""
    return at + span if LAST - at >= span else LAST


def clusters(ordered: Sequence[_T], gap: dt.timedelta) -> list[list[_T]]:
    """Return neighbours at most `gap` apart as one; dated and ordered."""
    found: list[list[_T]] = []
    for one in ordered:
        if found and one.when - found[-1][-1].when <= gap:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def sessions(ordered: Sequence[_T], gap: dt.timedelta, now: dt.datetime) -> list[list[_T]]:
    """Return the sessions that count at `now`: at two readings, or when its time is over."""
    return [s for s in clusters(ordered, gap) if len(s) > 1 or now - s[-1].when >= gap]


def next_session(ordered: Sequence[_T], gap: dt.timedelta, now: dt.datetime) -> dt.datetime | None:
    """Return when the next session will count by the mere passing of time; None if none waits."""
    alone = (s[0].when for s in clusters(ordered, gap) if len(s) == 1)
    waiting = (plus(at, gap) for at in alone if now - at < gap)
    # What lies at the end of the calendar waits for longer than there are dates.
    return min((due for due in waiting if due < LAST), default=None)


def runs(things: Iterable[_S], holds: Callable[[_S], bool]) -> list[list[_S]]:
    """Return the longest stretches of neighbours of which each one holds."""
    found: list[list[_S]] = []
    unbroken = False
    for one in things:
        if not holds(one):
            unbroken = False
            continue
        if not unbroken:
            found.append([])
        found[-1].append(one)
        unbroken = True
    return found


def merged(windows: Iterable[Sequence[_T]]) -> list[list[_T]]:
    """Return windows that share a reading as one, their readings once each and in order.

    The windows are those of which something holds; each ends with what decided it. What is returned ends
    with the last of these.
    """
    groups: list[dict[UUID, _T]] = []
    for window in windows:
        mine = {one.id: one for one in window}
        apart: list[dict[UUID, _T]] = []
        for group in groups:
            if group.keys().isdisjoint(mine):
                apart.append(group)
            else:
                mine = {**group, **mine}
        groups = [*apart, mine]
    made = [sorted(group.values(), key=lambda one: (one.when, one.id)) for group in groups]
    return sorted(made, key=lambda one: (one[0].when, one[0].id))


def soonest(*moments: dt.datetime | None) -> dt.datetime | None:
    """Return the first of some moments, None if there is none."""
    return min((m for m in moments if m is not None), default=None)
