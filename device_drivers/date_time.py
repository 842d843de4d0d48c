"""Date Time (0x2A08), 7 bytes: year u16, month, day, hours, minutes, seconds. Digits are kept as sent."""

import datetime as dt
from dataclasses import dataclass
from typing import Final, Protocol, Self

from wire_format.errors import MalformedPacket

LENGTH: Final = 7


class Stamp(Protocol):
    """What a device stamps on a reading, in whatever form it counts its time."""

    def __bytes__(self) -> bytes: ...

    @property
    def unknown(self) -> bool:
        """Whether the device says that it does not know the time."""
        ...

    @property
    def stated(self) -> dt.datetime | None:
        """The moment as naive digits; None if unknown or in no calendar."""
        ...

    @property
    def zone_minutes(self) -> int | None:
        """The offset from UTC of these digits; None if the device does not say it: the profile does."""
        ...

    @property
    def text(self) -> str:
        """The moment as text: distinct moments give distinct text."""
        ...


@dataclass(frozen=True, slots=True)
class DateTime:
    """Seven bytes of a device's clock. Year 0, month 0 or day 0 mean "unknown" and are legal."""

    raw: bytes

    def __post_init__(self) -> None:
        """Refuse another length."""
        if len(self.raw) != LENGTH:
            raise MalformedPacket(f"A Date Time has {LENGTH} bytes, not {len(self.raw)}.")

    @classmethod
    def of(cls, moment: dt.datetime) -> Self:
        """Encode the digits of a naive moment, without its fraction of a second."""
        rest = (moment.month, moment.day, moment.hour, moment.minute, moment.second)
        return cls(moment.year.to_bytes(2, "little") + bytes(rest))

    @classmethod
    def from_digits(cls, *digits: int) -> Self:
        """Keep year, month, day, hours, minutes, seconds as a device gave them, in a calendar or not.

        Raises `MalformedPacket` for what no seven bytes hold.
        """
        try:
            return cls(digits[0].to_bytes(2, "little") + bytes(digits[1:]))
        except (ValueError, OverflowError):
            raise MalformedPacket("The digits of a clock are beyond all calendars.") from None

    def __bytes__(self) -> bytes:
        return self.raw

    @property
    def digits(self) -> tuple[int, int, int, int, int, int]:
        """Year, month, day, hours, minutes, seconds as sent."""
        _, _, month, day, hours, minutes, seconds = self.raw
        return int.from_bytes(self.raw[:2], "little"), month, day, hours, minutes, seconds

    @property
    def unknown(self) -> bool:
        """Whether the device says that it does not know its date."""
        return 0 in self.digits[:3]

    @property
    def stated(self) -> dt.datetime | None:
        """The digits as a naive moment; None if unknown or in no calendar (month 13)."""
        try:
            return dt.datetime(*self.digits)  # noqa: DTZ001 - a device clock has no zone
        except ValueError:
            return None

    @property
    def zone_minutes(self) -> int | None:
        """None: a Date Time does not say its zone."""
        return None

    @property
    def text(self) -> str:
        """The digits as ISO 8601 text, in a calendar or not; distinct digits give distinct text."""
        year, month, day, hours, minutes, seconds = self.digits
        return f"{year:04d}-{month:02d}-{day:02d}T{hours:02d}:{minutes:02d}:{seconds:02d}"
