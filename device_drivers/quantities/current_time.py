"""Current Time (0x2A2B), Current Time Service 1.1: Date Time, day of week, 1/256 s, adjust reason."""

import datetime as dt
from dataclasses import dataclass
from typing import Self

from device_drivers.date_time import DateTime
from device_drivers.reader import Reader


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """Ten bytes. Day of week: 1 Monday to 7 Sunday, 0 unknown."""

    date_time: DateTime
    day_of_week: int
    fractions: int
    adjust_reason: int
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; raises `MalformedPacket` if it is too short."""
        r = Reader(data, "Current Time")
        return cls(
            r.date_time("date and time"),
            r.uint(1, "day of week"),
            r.uint(1, "1/256 s"),
            r.uint(1, "adjust reason"),
            r.rest(),
        )

    @classmethod
    def of(cls, moment: dt.datetime, *, adjust_reason: int = 1) -> Self:
        """Encode the digits of a naive local moment; reason 1 is a manual update."""
        fractions = moment.microsecond * 256 // 1_000_000
        return cls(DateTime.of(moment), moment.isoweekday(), fractions, adjust_reason)

    def __bytes__(self) -> bytes:
        return (
            bytes(self.date_time)
            + bytes([self.day_of_week, self.fractions, self.adjust_reason])
            + self.trailing
        )
