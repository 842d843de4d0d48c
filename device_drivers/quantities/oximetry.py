"""PLX Spot-Check (0x2A5E) and Continuous Measurement (0x2A5F), Pulse Oximeter Service 1.0.1.

Measurement status: bit 5 ongoing, 6 early estimate, 7 validated, 8 fully qualified, 9 from storage,
10 demonstration, 11 testing, 12 calibration, 13 unavailable, 14 questionable, 15 invalid.
"""

from dataclasses import dataclass
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.reader import Reader

_TIME_STAMP: Final = 1
_MEASUREMENT_STATUS: Final = 2
_SENSOR_STATUS: Final = 4
_PULSE_AMPLITUDE: Final = 8
_CLOCK_NOT_SET: Final = 16
_KNOWN: Final = 0b1_1111
EARLY_BIT: Final = 1 << 6
STORED_BIT: Final = 1 << 9
TEST_BITS: Final = 1 << 10 | 1 << 11 | 1 << 12  # demonstration, testing, calibration
NO_VALUE_BITS: Final = 1 << 13 | 1 << 15  # unavailable, invalid
QUESTIONABLE_BIT: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class PlxSpotCheck:
    """One packet of 0x2A5E."""

    flags: int
    saturation: MedFloat
    pulse_rate: MedFloat
    time_stamp: DateTime | None = None
    measurement_status: int | None = None
    sensor_status: int | None = None
    pulse_amplitude: MedFloat | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "PLX Spot-Check Measurement")
        flags = r.uint(1, "flags")
        saturation, pulse = r.sfloat("SpO2"), r.sfloat("pulse rate")
        time_stamp = r.date_time("time stamp") if flags & _TIME_STAMP else None
        status = r.uint(2, "measurement status") if flags & _MEASUREMENT_STATUS else None
        sensor = r.uint(3, "device and sensor status") if flags & _SENSOR_STATUS else None
        amplitude = r.sfloat("pulse amplitude index") if flags & _PULSE_AMPLITUDE else None
        return cls(flags, saturation, pulse, time_stamp, status, sensor, amplitude, r.rest())

    def __bytes__(self) -> bytes:
        parts = [
            bytes([self.flags]),
            bytes(self.saturation),
            bytes(self.pulse_rate),
            bytes(self.time_stamp) if self.time_stamp else b"",
            b"" if self.measurement_status is None else self.measurement_status.to_bytes(2, "little"),
            b"" if self.sensor_status is None else self.sensor_status.to_bytes(3, "little"),
            bytes(self.pulse_amplitude) if self.pulse_amplitude else b"",
            self.trailing,
        ]
        return b"".join(parts)

    @property
    def clock_not_set(self) -> bool:
        """Whether the device says that its clock was never set."""
        return bool(self.flags & _CLOCK_NOT_SET)

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag is set."""
        return bool(self.flags & ~_KNOWN)


_FAST: Final = 1
_SLOW: Final = 2
_STREAM_MEASUREMENT_STATUS: Final = 4
_STREAM_SENSOR_STATUS: Final = 8
_STREAM_PULSE_AMPLITUDE: Final = 16
_STREAM_KNOWN: Final = 0b1_1111

Pair = tuple[MedFloat, MedFloat]
"""Saturation (%) and pulse rate (/min)."""


@dataclass(frozen=True, slots=True)
class PlxContinuous:
    """One packet of 0x2A5F. `fast` and `slow` react quicker and slower than `normal`."""

    flags: int
    normal: Pair
    fast: Pair | None = None
    slow: Pair | None = None
    measurement_status: int | None = None
    sensor_status: int | None = None
    pulse_amplitude: MedFloat | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "PLX Continuous Measurement")
        flags = r.uint(1, "flags")
        normal = _pair(r, "SpO2 and pulse rate")
        fast = _pair(r, "fast SpO2 and pulse rate") if flags & _FAST else None
        slow = _pair(r, "slow SpO2 and pulse rate") if flags & _SLOW else None
        status = r.uint(2, "measurement status") if flags & _STREAM_MEASUREMENT_STATUS else None
        sensor = r.uint(3, "device and sensor status") if flags & _STREAM_SENSOR_STATUS else None
        amplitude = r.sfloat("pulse amplitude index") if flags & _STREAM_PULSE_AMPLITUDE else None
        return cls(flags, normal, fast, slow, status, sensor, amplitude, r.rest())

    def __bytes__(self) -> bytes:
        pairs = [pair for pair in (self.normal, self.fast, self.slow) if pair is not None]
        parts = [
            bytes([self.flags]),
            *(bytes(number) for pair in pairs for number in pair),
            b"" if self.measurement_status is None else self.measurement_status.to_bytes(2, "little"),
            b"" if self.sensor_status is None else self.sensor_status.to_bytes(3, "little"),
            bytes(self.pulse_amplitude) if self.pulse_amplitude else b"",
            self.trailing,
        ]
        return b"".join(parts)

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag is set."""
        return bool(self.flags & ~_STREAM_KNOWN)


def _pair(r: Reader, what: str) -> Pair:
    return r.sfloat(what), r.sfloat(what)
