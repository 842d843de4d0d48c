"""Continuous Glucose Monitoring Service: measurement (0x2AA7), feature (0x2AA8), session start (0x2AAA).

A notification holds one or more records, each beginning with its own size, which counts the whole record and
its E2E-CRC, where there is one. Flags: bit 0 trend, 1 quality, 5 warning octet, 6 calibration and temperature
octet, 7 status octet. The concentration is in mg/dL, the time offset in minutes since the session began.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from device_drivers import crc
from device_drivers.date_time import LENGTH as DATE_TIME_LENGTH
from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket


class CgmFlag(IntFlag):
    """Flags of 0x2AA7."""

    TREND = 1
    QUALITY = 2
    WARNING = 32
    CALIBRATION = 64
    STATUS = 128


_KNOWN_FLAGS: Final = 0b1110_0011
_LEAST: Final = 6  # size, flags, concentration, time offset
_NOT_SUPPORTED_CRC: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class CgmMeasurement:
    """One record of 0x2AA7; `checked` says whether it carries an E2E-CRC (which then is right)."""

    flags: int
    concentration: MedFloat
    offset_minutes: int
    warning: int | None = None
    calibration: int | None = None
    status: int | None = None
    trend: MedFloat | None = None
    quality: MedFloat | None = None
    checked: bool = False
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode one record, size and CRC included.

        Raises `MalformedPacket` if it is shorter or longer than it says, or its CRC is wrong. Two bytes
        behind the last field are the CRC: the feature that announces it need not be known.
        """
        r = Reader(data, "CGM Measurement")
        size = r.uint(1, "size")
        if size != len(data) or size < _LEAST:
            raise MalformedPacket(f"A CGM record of {len(data)} bytes says that it has {size}.")
        flags = r.uint(1, "flags")
        concentration, offset = r.sfloat("concentration"), r.uint(2, "time offset")
        warning = r.uint(1, "warning") if flags & CgmFlag.WARNING else None
        calibration = r.uint(1, "calibration and temperature") if flags & CgmFlag.CALIBRATION else None
        status = r.uint(1, "sensor status") if flags & CgmFlag.STATUS else None
        trend = r.sfloat("trend") if flags & CgmFlag.TREND else None
        quality = r.sfloat("quality") if flags & CgmFlag.QUALITY else None
        checked = len(data) - r.position == crc.LENGTH
        if checked:
            _check(data[: r.position], r.uint(crc.LENGTH, "E2E-CRC"))
        octets = (warning, calibration, status)
        return cls(flags, concentration, offset, *octets, trend, quality, checked, r.rest())

    def __bytes__(self) -> bytes:
        octets = [bytes([o]) for o in (self.warning, self.calibration, self.status) if o is not None]
        floats = [bytes(number) for number in (self.trend, self.quality) if number is not None]
        head = bytes([self.flags]) + bytes(self.concentration) + self.offset_minutes.to_bytes(2, "little")
        body = head + b"".join([*octets, *floats]) + self.trailing
        size = 1 + len(body) + (crc.LENGTH if self.checked else 0)
        record = bytes([size]) + body
        return record + crc.mcrf4xx(record).to_bytes(crc.LENGTH, "little") if self.checked else record

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag is set."""
        return bool(self.flags & ~_KNOWN_FLAGS)

    @property
    def annunciation_bits(self) -> int | None:
        """Status octet, then calibration and temperature, then warning, lowest first; None without any."""
        octets = (self.status, self.calibration, self.warning)
        if all(octet is None for octet in octets):
            return None
        return sum((octet or 0) << 8 * place for place, octet in enumerate(octets))


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of one notification; the last one may be cut off, and is found out when decoded."""
    while data:
        size = max(data[0], 1)
        yield data[:size]
        data = data[size:]


def _check(data: bytes, said: int) -> None:
    if crc.mcrf4xx(data) != said:
        raise MalformedPacket(f"The E2E-CRC says {said:04x}, the bytes give {crc.mcrf4xx(data):04x}.")


@dataclass(frozen=True, slots=True)
class CgmFeature:
    """CGM Feature (0x2AA8): 24 bits, the sample's type and location as in 0x2A18, and a CRC of 16 bit.

    Bit 12 of the features: measurements carry an E2E-CRC. Without it the CRC field is 0xFFFF.
    """

    bits: int
    type_location: int
    crc: int = _NOT_SUPPORTED_CRC

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; raises `MalformedPacket` if it is too short, or its CRC is wrong."""
        r = Reader(data, "CGM Feature")
        value = cls(r.uint(3, "features"), r.uint(1, "type and location"), r.uint(2, "E2E-CRC"))
        if value.checked:
            _check(data[:4], value.crc)
        return value

    def __bytes__(self) -> bytes:
        return self.bits.to_bytes(3, "little") + bytes([self.type_location]) + self.crc.to_bytes(2, "little")

    @property
    def checked(self) -> bool:
        """Whether measurements carry an E2E-CRC."""
        return bool(self.bits >> 12 & 1)


_ZONE_UNKNOWN: Final = -128
_DAYLIGHT: Final = {0: 0, 2: 30, 4: 60, 8: 120}
_START_LENGTH: Final = DATE_TIME_LENGTH + 2


@dataclass(frozen=True, slots=True)
class SessionStart:
    """CGM Session Start Time (0x2AAA): Date Time, zone in quarter hours, daylight saving, perhaps a CRC."""

    date_time: DateTime
    zone_quarters: int
    daylight: int
    checked: bool = False
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; raises `MalformedPacket` if it is too short, or its CRC is wrong."""
        r = Reader(data, "CGM Session Start Time")
        date_time, zone, daylight = (
            r.date_time("session start"),
            r.sint(1, "zone"),
            r.uint(1, "daylight saving"),
        )
        checked = len(data) == _START_LENGTH + crc.LENGTH
        if checked:
            _check(data[:_START_LENGTH], r.uint(crc.LENGTH, "E2E-CRC"))
        return cls(date_time, zone, daylight, checked, r.rest())

    def __bytes__(self) -> bytes:
        zone = self.zone_quarters.to_bytes(1, "little", signed=True)
        value = bytes(self.date_time) + zone + bytes([self.daylight])
        check = crc.mcrf4xx(value).to_bytes(crc.LENGTH, "little") if self.checked else b""
        return value + check + self.trailing

    @property
    def unknown(self) -> bool:
        """Whether the session's start was never set."""
        return self.date_time.unknown

    @property
    def stated(self) -> dt.datetime | None:
        """The digits as a naive moment."""
        return self.date_time.stated

    @property
    def zone_minutes(self) -> int | None:
        """The offset from UTC, with daylight saving; None if either is unknown."""
        if self.zone_quarters == _ZONE_UNKNOWN or self.daylight not in _DAYLIGHT:
            return None
        return self.zone_quarters * 15 + _DAYLIGHT[self.daylight]

    @property
    def text(self) -> str:
        """The digits as ISO 8601 text."""
        return self.date_time.text
