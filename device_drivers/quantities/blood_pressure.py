"""Blood Pressure Measurement (0x2A35), Intermediate Cuff Pressure (0x2A36), Blood Pressure Feature (0x2A49).

Blood Pressure Service 1.1.1. Flags: bit 0 kPa, 1 time stamp, 2 pulse rate, 3 user id, 4 measurement status,
5-7 reserved. Three SFLOATs, then the optional fields in the order of their bits.
"""

from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.reader import ByteOrder, Reader
from wire_format.measurement import BloodPressureContext, PulseRange
from wire_format.nomenclature import Unit

USER_UNKNOWN: Final = 0xFF


class Flag(IntFlag):
    """Flags of 0x2A35 and 0x2A36."""

    KPA = 1
    TIME_STAMP = 2
    PULSE_RATE = 4
    USER_ID = 8
    STATUS = 16


_KNOWN_FLAGS: Final = 0b0001_1111
KNOWN_STATUS: Final = 0b0011_1111


def status_context(status: int | None) -> BloodPressureContext:
    """Return the measurement status as fields; all None without one."""
    if status is None:
        return BloodPressureContext()
    ranges = (PulseRange.WITHIN, PulseRange.ABOVE, PulseRange.BELOW, PulseRange.RESERVED)
    return BloodPressureContext(
        movement=bool(status & 1),
        cuff_loose=bool(status & 2),
        irregular_pulse=bool(status & 4),
        pulse_range=ranges[status >> 3 & 3],
        improper_position=bool(status & 32),
        status_bits=status,
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a device departs from the specification; the default is the specification."""

    user_always: bool = False  # the user byte is there although its flag is clear
    tail_order: ByteOrder = "little"  # byte order of pulse rate and status

    @property
    def standard(self) -> bool:
        """Whether nothing departs."""
        return self == Layout()


STANDARD: Final = Layout()


@dataclass(frozen=True, slots=True)
class BloodPressureMeasurement:
    """One packet of 0x2A35 (or 0x2A36, whose first value is the cuff's pressure and the others are NaN)."""

    flags: int
    systolic: MedFloat
    diastolic: MedFloat
    mean_arterial: MedFloat
    time_stamp: DateTime | None = None
    pulse_rate: MedFloat | None = None
    user_id: int | None = None
    status: int | None = None
    trailing: bytes = b""
    layout: Layout = STANDARD

    @classmethod
    def from_bytes(cls, data: bytes, layout: Layout = STANDARD) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Blood Pressure Measurement")
        flags = r.uint(1, "flags")
        systolic, diastolic, mean = r.sfloat("systolic"), r.sfloat("diastolic"), r.sfloat("mean pressure")
        time_stamp = r.date_time("time stamp") if flags & Flag.TIME_STAMP else None
        order = layout.tail_order
        pulse = r.sfloat("pulse rate", order) if flags & Flag.PULSE_RATE else None
        user = r.uint(1, "user id") if flags & Flag.USER_ID or layout.user_always else None
        status = r.uint(2, "measurement status", order) if flags & Flag.STATUS else None
        return cls(flags, systolic, diastolic, mean, time_stamp, pulse, user, status, r.rest(), layout)

    def __bytes__(self) -> bytes:
        step = 1 if self.layout.tail_order == "little" else -1
        parts = [
            bytes([self.flags]),
            bytes(self.systolic),
            bytes(self.diastolic),
            bytes(self.mean_arterial),
            bytes(self.time_stamp) if self.time_stamp else b"",
            bytes(self.pulse_rate)[::step] if self.pulse_rate else b"",
            bytes([self.user_id]) if self.user_id is not None else b"",
            self.status.to_bytes(2, self.layout.tail_order) if self.status is not None else b"",
            self.trailing,
        ]
        return b"".join(parts)

    @property
    def unit(self) -> Unit:
        """The unit of the three pressures."""
        return Unit.KPA if self.flags & Flag.KPA else Unit.MMHG

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag or status bit is set. The values hold all the same."""
        return bool(self.flags & ~_KNOWN_FLAGS or (self.status or 0) & ~KNOWN_STATUS)

    @property
    def context(self) -> BloodPressureContext:
        """The status bits as fields; all None if the device sent no status."""
        return status_context(self.status)


@dataclass(frozen=True, slots=True)
class BloodPressureFeature:
    """Blood Pressure Feature (0x2A49), 16 bit; reserved bits are kept."""

    bits: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the feature word."""
        return cls(Reader(data, "Blood Pressure Feature").uint(2, "features"))

    def __bytes__(self) -> bytes:
        return self.bits.to_bytes(2, "little")

    @property
    def names(self) -> tuple[str, ...]:
        """What the device can do, lowest bit first."""
        return tuple(name for bit, name in enumerate(_FEATURES) if self.bits >> bit & 1)


_FEATURES: Final = (
    "body_movement",
    "cuff_fit",
    "irregular_pulse",
    "pulse_rate_range",
    "measurement_position",
    "multiple_bond",
    "e2e_crc",
    "user_data_service",
    "user_facing_time",
)
