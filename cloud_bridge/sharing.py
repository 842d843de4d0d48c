"""Whom homes seal to beside the hospital: worked out from consents, told when it changes, and anew. Pure.

A home is told all of it each time. What it was told ends by itself after `LASTS`, so that a home which no
longer hears the hospital shares with nobody; while it stands it is told anew in time.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from cloud_bridge.access.consent import DATA_OF, ORGANIZATION, Consent, covers
from cloud_bridge.access.model import DataType
from wire_format.downlink import Recipients, Share
from wire_format.keys import SealKey

LASTS: Final = dt.timedelta(days=30)
ANEW: Final = dt.timedelta(days=7)
AT_MOST_EVERY: Final = dt.timedelta(minutes=1)
"""How often a home that comes and goes is told again: that it came is said by nobody who signs."""


def shares(
    people: Iterable[tuple[str, Sequence[Consent]]], keys: Mapping[str, SealKey], now: dt.datetime
) -> tuple[Share, ...]:
    """Return what of whom is sealed to which organization, of people (pseudonym, consents), in order."""
    found = [
        (person, name, until, data)
        for person, given in people
        for name in keys
        for data in DataType
        if (until := _until(given, ORGANIZATION + name, data, now)) is not None
    ]
    ordered = sorted(found, key=lambda one: one[:3])
    return tuple(
        Share(
            person=person,
            organization=name,
            kem=keys[name].kem,
            key=keys[name].raw,
            quantities=tuple(q for q, kind in DATA_OF.items() if kind in {one[3] for one in same}),
            until=None if until == _NEVER else until,
        )
        for (person, name, until), group in groupby(ordered, key=lambda one: one[:3])
        if (same := list(group)) and any(one[3] in set(DATA_OF.values()) for one in same)
    )


_NEVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)


def _until(given: Sequence[Consent], to: str, data: DataType, now: dt.datetime) -> dt.datetime | None:
    """Return until when a kind of data is consented to, at a moment; None if it is not."""
    holding = [one for one in given if covers([one], to, data, now)]
    return max((one.valid_until or _NEVER for one in holding), default=None)


def is_due(
    wanted: tuple[Share, ...],
    told: Recipients | None,
    told_at: dt.datetime | None,
    came_at: dt.datetime | None,
    now: dt.datetime,
) -> bool:
    """Tell whether a home is to be told: it changed, it would end soon, or the home came since.

    A home that was never told anything is not told that there is nothing.
    """
    if told is None or told_at is None:
        return bool(wanted)
    if wanted != told.shares:
        return True
    came = came_at is not None and came_at > told_at and now - told_at >= AT_MOST_EVERY
    return came or (bool(wanted) and now - told_at >= ANEW)
