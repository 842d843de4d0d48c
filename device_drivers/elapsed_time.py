"""Clocks that count: seconds since an epoch (Enhanced Blood Pressure), and Elapsed Time (0x2BF2).

Elapsed Time, 9 bytes: flags, a count of 48 bits since 2000, the source of the time, and the zone in quarter
hours. Flags: bit 0 ticks without an epoch, 1 UTC, 2-3 resolution, 4 zone used, 5 on the current timeline.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from device_drivers.reader import Reader

EPOCH_1900: Final = dt.datetime(1900, 1, 1)  # noqa: DTZ001 - what is counted from it says its own zone
EPOCH_2000: Final = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - as above
_SECONDS_BYTES: Final = 4
QUARTER_MINUTES: Final = 15


@dataclass(frozen=True, slots=True)
class EpochSeconds:
    """Seconds since 1900 or 2000, 32 bit. `local`: as the user sees them, in the home's zone; else UTC.

    0 is taken for a clock that was never set: nobody measured in the second in which the epoch began.
    """

    count: int
    epoch: dt.datetime = EPOCH_2000
    local: bool = False

    def __bytes__(self) -> bytes:
        return self.count.to_bytes(_SECONDS_BYTES, "little")

    @property
    def unknown(self) -> bool:
        """Whether it was never set."""
        return self.count == 0

    @property
    def stated(self) -> dt.datetime | None:
        """The moment; every count has one."""
        return self.epoch + dt.timedelta(seconds=self.count)

    @property
    def zone_minutes(self) -> int | None:
        """0 for UTC; None for what the user sees."""
        return None if self.local else 0

    @property
    def text(self) -> str:
        """The moment as ISO 8601 text."""
        return (self.epoch + dt.timedelta(seconds=self.count)).isoformat()


_TICKS: Final = 1
_UTC: Final = 2
_ZONE: Final = 16
_CURRENT: Final = 32
_KNOWN: Final = 0b11_1111
_RESOLUTIONS: Final = (Decimal(1), Decimal("0.1"), Decimal("0.001"), Decimal("0.0001"))
_MICROSECONDS: Final = 1_000_000
_MAX_QUARTERS: Final = 14 * 4


@dataclass(frozen=True, slots=True)
class ElapsedTime:
    """One Elapsed Time. `zone_quarters` is meant only if the flags say that a zone is used."""

    flags: int
    count: int
    source: int
    zone_quarters: int

    @classmethod
    def take(cls, r: Reader) -> Self:
        """Read nine bytes of a packet; raises `MalformedPacket` if they are not there."""
        return cls(
            r.uint(1, "time flags"),
            r.uint(6, "elapsed time"),
            r.uint(1, "time source"),
            r.sint(1, "zone and daylight saving"),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; bytes after the nine are the caller's."""
        return cls.take(Reader(data, "Elapsed Time"))

    def __bytes__(self) -> bytes:
        return (
            bytes([self.flags])
            + self.count.to_bytes(6, "little")
            + bytes([self.source])
            + self.zone_quarters.to_bytes(1, "little", signed=True)
        )

    @property
    def ticks(self) -> bool:
        """Whether it counts from an unknown moment: then it dates nothing."""
        return bool(self.flags & _TICKS)

    @property
    def utc(self) -> bool:
        """Whether it counts UTC, and not local time."""
        return bool(self.flags & _UTC)

    @property
    def zone_used(self) -> bool:
        """Whether the zone is said."""
        return bool(self.flags & _ZONE)

    @property
    def current_timeline(self) -> bool:
        """Whether the clock was not set anew since."""
        return bool(self.flags & _CURRENT)

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag is set."""
        return bool(self.flags & ~_KNOWN)

    @property
    def unknown(self) -> bool:
        """Whether it dates nothing: ticks, another timeline than the clock's, or a clock never set."""
        return self.ticks or not self.current_timeline or self.count == 0

    @property
    def stated(self) -> dt.datetime | None:
        """The moment that is counted, to the microsecond; None for ticks and beyond the calendar."""
        if self.ticks:
            return None
        microseconds = int(self.count * _RESOLUTIONS[self.flags >> 2 & 3] * _MICROSECONDS)
        try:
            return EPOCH_2000 + dt.timedelta(microseconds=microseconds)
        except OverflowError:
            return None

    @property
    def zone_minutes(self) -> int | None:
        """The offset from UTC of the digits: 0 for UTC; that of the zone, if one is said and exists."""
        if self.utc:
            return 0
        exists = self.zone_used and abs(self.zone_quarters) <= _MAX_QUARTERS
        return self.zone_quarters * QUARTER_MINUTES if exists else None

    @property
    def text(self) -> str:
        """The value in hexadecimal digits."""
        return bytes(self).hex()
