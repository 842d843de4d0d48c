"""The layouts in which a device's clock is read and written, by the name that a profile gives.

A layout that is a value of one characteristic is a row of this table; a clock behind vendor commands belongs
to its driver.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final, Protocol

from device_drivers.date_time import DateTime
from device_drivers.quantities.current_time import CurrentTime


class ClockLayout(Protocol):
    """How a moment is written into a characteristic, and read from it."""

    def encode(self, local: dt.datetime, zone_offset_minutes: int) -> bytes:
        """Encode digits of the profile's zone; the home's offset is there for layouts that carry it."""
        ...

    def decode(self, data: bytes) -> DateTime:
        """Return the digits that the device shows; raises `MalformedPacket`."""
        ...


class _CurrentTime:
    """Current Time (0x2A2B), 10 bytes."""

    def encode(self, local: dt.datetime, zone_offset_minutes: int) -> bytes:
        del zone_offset_minutes
        return bytes(CurrentTime.of(local))

    def decode(self, data: bytes) -> DateTime:
        return CurrentTime.from_bytes(data).date_time


class _DateTime:
    """Date Time (0x2A08), 7 bytes."""

    def encode(self, local: dt.datetime, zone_offset_minutes: int) -> bytes:
        del zone_offset_minutes
        return bytes(DateTime.of(local))

    def decode(self, data: bytes) -> DateTime:
        return DateTime(bytes(data))


CLOCK_LAYOUTS: Final[Mapping[str, ClockLayout]] = {
    "current_time": _CurrentTime(),
    "date_time": _DateTime(),
}
