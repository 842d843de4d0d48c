"""PLX Spot-Check Measurement (0x2A5E), Pulse Oximeter Service 1.0.1."""

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
QUESTIONABLE_BITS: Final = 1 << 14 | 1 << 15 | 1 << 13  # questionable, invalid, unavailable


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
