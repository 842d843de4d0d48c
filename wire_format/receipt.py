"""Receipt: what the hospital confirms. Signed, not sealed: it holds sequence numbers and hashes only.

Only a receipt lets a home forget. Each settled range carries the hash over the envelopes it speaks of, so
that a receipt for other bytes under the same numbers settles nothing.
"""

import datetime as dt
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from wire_format import cose
from wire_format.base import Utc, Wire, plain
from wire_format.canonical import decode, encode
from wire_format.errors import Rejected
from wire_format.keys import SigningKey, VerifyKey

CONTENT_TYPE: Final = "application/vnd.kiteline.receipt+cbor"
MAX_RANGES: Final = 256


class Verdict(StrEnum):
    """What became of an envelope."""

    STORED = "stored"  # opened, stored, and its rules evaluated
    QUARANTINED = "quarantined"  # its bytes are kept; a human looks at them
    FORKED = "forked"  # stored and marked: its number was used before; begin a new outbox


class SettledRange(Wire):
    """Envelopes `first` to `last` with one verdict; `digest` is the SHA-256 over their digests, in order."""

    first: int = Field(ge=1)
    last: int = Field(ge=1)
    verdict: Verdict
    digest: bytes = Field(min_length=32, max_length=32)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last < self.first:
            raise ValueError("a range ends before it begins")
        return self


class Receipt(Wire):
    """What is settled of one outbox."""

    gateway: str
    outbox_id: UUID
    issued_at: Utc
    ranges: tuple[SettledRange, ...] = Field(min_length=1, max_length=MAX_RANGES)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for before, after in zip(self.ranges, self.ranges[1:], strict=False):
            if after.first <= before.last:
                raise ValueError("ranges overlap or descend")
        return self


def range_digest(digests: Iterable[bytes]) -> bytes:
    """Return the SHA-256 over envelope digests in the order of their sequence."""
    hasher = hashlib.sha256()
    for digest in digests:
        hasher.update(digest)
    return hasher.digest()


def coalesce(settled: Iterable[tuple[int, Verdict, bytes]]) -> tuple[SettledRange, ...]:
    """Return (sequence, verdict, envelope digest) as the fewest ranges, ascending."""
    runs: list[list[tuple[int, Verdict, bytes]]] = []
    for item in sorted(set(settled)):
        if runs and runs[-1][-1][0] + 1 == item[0] and runs[-1][-1][1] is item[1]:
            runs[-1].append(item)
        else:
            runs.append([item])
    return tuple(
        SettledRange(
            first=run[0][0], last=run[-1][0], verdict=run[0][1], digest=range_digest(d for _, _, d in run)
        )
        for run in runs
    )


def split(ranges: Sequence[SettledRange]) -> list[tuple[SettledRange, ...]]:
    """Cut ranges into as many receipts as are needed."""
    return [tuple(ranges[i : i + MAX_RANGES]) for i in range(0, len(ranges), MAX_RANGES)]


def sign_receipt(receipt: Receipt, key: SigningKey) -> bytes:
    """Return the receipt, signed by the bridge's receipt key."""
    return cose.sign1(cose.protected_header(CONTENT_TYPE, key, {}), encode(plain(receipt)), key)


def verify_receipt(data: bytes, key: VerifyKey) -> Receipt:
    """Return a receipt after verifying it. Raises `Rejected` or `Untrusted`."""
    signed = cose.parse_sign1(data, CONTENT_TYPE, {})
    signed.verify(key)
    try:
        return Receipt.model_validate(decode(signed.payload))
    except ValidationError as error:
        raise Rejected("The receipt breaks its schema.") from error


def issue(
    gateway: str, outbox_id: UUID, settled: Iterable[tuple[int, Verdict, bytes]], now: dt.datetime
) -> list[Receipt]:
    """Return the receipts that confirm `settled`: (sequence, verdict, envelope digest).

    Forks are confirmed apart: the number of a fork is also that of another envelope. So are further
    envelopes of one number, however many came: no receipt names a number twice.
    """
    groups: dict[tuple[bool, int], list[tuple[int, Verdict, bytes]]] = defaultdict(list)
    seen: Counter[tuple[bool, int]] = Counter()
    for item in sorted(set(settled), key=lambda item: (item[0], item[1] is not Verdict.STORED, item[2])):
        forked = item[1] is Verdict.FORKED
        groups[forked, seen[forked, item[0]]].append(item)
        seen[forked, item[0]] += 1
    return [
        Receipt(gateway=gateway, outbox_id=outbox_id, issued_at=now, ranges=ranges)
        for _, group in sorted(groups.items(), key=lambda pair: pair[0])
        for ranges in split(coalesce(group))
    ]
