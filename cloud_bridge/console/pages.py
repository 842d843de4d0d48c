"""Pages of the inbox: so many people at a time, and no one of them shifts unseen. Pure.

A page is named by the place of the last person before it, not by a number of people: whoever comes in above
moves nothing on it. How many were above when somebody turned to it is in its address, so that it can say how
many came in since.
"""

import datetime as dt
import hashlib
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloud_bridge.store.base import Place

PEOPLE: Final = 50
"""People on one page."""
_ADDRESS: Final = re.compile(r"after=([01])-([0-9])-(\d{1,20})-(\d{1,20})-([0-9a-f]{16})&above=(\d{1,7})")
_EPOCH: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)

Key = tuple[int, int, int, int, str]


@dataclass(frozen=True, slots=True)
class Turned:
    """Where somebody turned to: behind a place in the queue, with so many people above it at that time."""

    after: Key
    above: int

    def __str__(self) -> str:
        """Return it as the query of an address."""
        return "after={}-{}-{}-{}-{}".format(*self.after) + f"&above={self.above}"


def turned(query: str) -> Turned | None:
    """Return what an address says; None for the first page, and for what is no address of ours."""
    found = _ADDRESS.fullmatch(query)
    if found is None:
        return None
    seen, rank, due, since, who = found.groups()[:5]
    return Turned((int(seen), int(rank), int(due), int(since), who), int(found[6]))


@dataclass(frozen=True, slots=True)
class Pages:
    """One page among others: people `first` to `last` of `total`. Addresses are queries; None: there is none.

    `came`: so many more people are above it than when somebody turned to it.
    """

    people: tuple[Place, ...]
    first: int
    last: int
    total: int
    number: int
    of: int
    came: int
    here: str
    before: str | None
    behind: str | None


def page(queue: Sequence[Place], at: Turned | None, size: int = PEOPLE) -> Pages:
    """Return the page of a queue in order that somebody turned to; the last one if nobody is behind that."""
    ordered = sorted((key_of(one), one) for one in queue)
    keys = [key for key, _ in ordered]
    begins = 0 if at is None else bisect_right(keys, at.after)
    if at is not None and begins >= len(keys):
        begins, at = max(0, len(keys) - size), None
    # Who came or left since shifts the count of people above, not the page: the nearest number is its own.
    ends, above = min(begins + size, len(keys)), max(round(begins / size), min(begins, 1))
    return Pages(
        people=tuple(one for _, one in ordered[begins:ends]),
        first=begins + 1,
        last=ends,
        total=len(keys),
        number=above + 1,
        of=above + 1 + -(-(len(keys) - ends) // size),
        came=0 if at is None else max(0, begins - at.above),
        here="" if begins == 0 else str(at or _behind(keys, begins)),
        # Near the beginning it is the first page itself: whoever came in meanwhile stands there.
        before=None if begins == 0 else _address(keys, 0 if begins < 2 * size else begins - size),
        behind=None if ends == len(keys) else _address(keys, ends),
    )


def key_of(place: Place) -> Key:
    """Return what people are ordered by. It names nobody: it stands in addresses."""
    who = hashlib.sha256(place.subject.encode()).hexdigest()[:16]
    return int(place.seen), place.rank, _ticks(place.due_at), _ticks(place.since), who


def _ticks(at: dt.datetime) -> int:
    """Return the microseconds until a moment, exactly."""
    passed = at - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _address(keys: Sequence[Key], begins: int) -> str:
    return "" if begins == 0 else str(_behind(keys, begins))


def _behind(keys: Sequence[Key], begins: int) -> Turned:
    return Turned(keys[begins - 1], begins)
