"""The layouts in which a device's clock is read and written, by the name that a profile gives.

A layout that is a value of one characteristic is a row of this table; a clock behind vendor commands belongs
to its driver.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final, Protocol

from device_drivers.date_time import DateTime
from device_drivers.quantities.current_time import CurrentTime
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket


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


class _Contour:
    """Ascensia's clock, 10 bytes: op code 1, Date Time in UTC, then the zone in minutes.

    The layout is that of the public example of weliem/blessed-android (writeContourClock).
    """

    def encode(self, local: dt.datetime, zone_offset_minutes: int) -> bytes:
        utc = local - dt.timedelta(minutes=zone_offset_minutes)
        return b"\x01" + bytes(DateTime.of(utc)) + zone_offset_minutes.to_bytes(2, "little", signed=True)

    def decode(self, data: bytes) -> DateTime:
        r = Reader(data, "Contour clock")
        r.take(1, "op code")
        utc, minutes = r.date_time("date and time"), r.sint(2, "zone")
        if utc.stated is None:
            return utc
        try:
            return DateTime.of(utc.stated + dt.timedelta(minutes=minutes))
        except OverflowError as error:
            raise MalformedPacket("The Contour clock shows a time outside of the calendar.") from error


_ISENS_HEAD: Final = bytes.fromhex("c0030100")


class _ISens:
    """i-SENS's clock, 11 bytes: C0 03 01 00, then Date Time in the home's zone.

    As in the maker's public example for iOS, and in NightscoutFoundation/xDrip (TimeTx).
    """

    def encode(self, local: dt.datetime, zone_offset_minutes: int) -> bytes:
        del zone_offset_minutes
        return _ISENS_HEAD + bytes(DateTime.of(local))

    def decode(self, data: bytes) -> DateTime:
        if data[:4] != _ISENS_HEAD:
            raise MalformedPacket("The CareSens clock does not begin with C0 03 01 00.")
        return DateTime(bytes(data[4:]))


CLOCK_LAYOUTS: Final[Mapping[str, ClockLayout]] = {
    "current_time": _CurrentTime(),
    "date_time": _DateTime(),
    "contour": _Contour(),
    "isens": _ISens(),
}
