"""Enhanced Blood Pressure Measurement (0x2B34), Blood Pressure Service 1.1.1.

Flags: bit 0 kPa, 1 time stamp, 2 pulse rate, 3 user id, 4 measurement status, 5 user-facing time, 6 the epoch
is 2000 (else 1900), 7 reserved. Three SFLOATs, then the optional fields in that order. Both times are seconds
of 32 bit; the time stamp counts UTC, the user-facing time what the display shows. Features are those of
0x2A49.
"""

from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from device_drivers.elapsed_time import EPOCH_1900, EPOCH_2000, EpochSeconds
from device_drivers.medfloat import MedFloat
from device_drivers.quantities.blood_pressure import KNOWN_STATUS, status_context
from device_drivers.reader import Reader
from wire_format.measurement import BloodPressureContext
from wire_format.nomenclature import Unit


class EnhancedFlag(IntFlag):
    """Flags of 0x2B34."""

    KPA = 1
    TIME_STAMP = 2
    PULSE_RATE = 4
    USER_ID = 8
    STATUS = 16
    USER_FACING_TIME = 32
    EPOCH_2000 = 64


_KNOWN_FLAGS: Final = 0b0111_1111


@dataclass(frozen=True, slots=True)
class EnhancedBloodPressure:
    """One packet of 0x2B34; times in seconds as sent."""

    flags: int
    systolic: MedFloat
    diastolic: MedFloat
    mean_arterial: MedFloat
    time_stamp: int | None = None
    pulse_rate: MedFloat | None = None
    user_id: int | None = None
    status: int | None = None
    user_facing_time: int | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Enhanced Blood Pressure Measurement")
        flags = r.uint(1, "flags")
        systolic, diastolic, mean = r.sfloat("systolic"), r.sfloat("diastolic"), r.sfloat("mean pressure")
        time_stamp = r.uint(4, "time stamp") if flags & EnhancedFlag.TIME_STAMP else None
        pulse = r.sfloat("pulse rate") if flags & EnhancedFlag.PULSE_RATE else None
        user = r.uint(1, "user id") if flags & EnhancedFlag.USER_ID else None
        status = r.uint(2, "measurement status") if flags & EnhancedFlag.STATUS else None
        facing = r.uint(4, "user-facing time") if flags & EnhancedFlag.USER_FACING_TIME else None
        return cls(flags, systolic, diastolic, mean, time_stamp, pulse, user, status, facing, r.rest())

    def __bytes__(self) -> bytes:
        parts = [
            bytes([self.flags]),
            bytes(self.systolic),
            bytes(self.diastolic),
            bytes(self.mean_arterial),
            b"" if self.time_stamp is None else self.time_stamp.to_bytes(4, "little"),
            bytes(self.pulse_rate) if self.pulse_rate else b"",
            b"" if self.user_id is None else bytes([self.user_id]),
            b"" if self.status is None else self.status.to_bytes(2, "little"),
            b"" if self.user_facing_time is None else self.user_facing_time.to_bytes(4, "little"),
            self.trailing,
        ]
        return b"".join(parts)

    @property
    def unit(self) -> Unit:
        """The unit of the three pressures."""
        return Unit.KPA if self.flags & EnhancedFlag.KPA else Unit.MMHG

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag or status bit is set. The values hold all the same."""
        return bool(self.flags & ~_KNOWN_FLAGS or (self.status or 0) & ~KNOWN_STATUS)

    @property
    def context(self) -> BloodPressureContext:
        """The status bits as fields; all None if the device sent no status."""
        return status_context(self.status)

    @property
    def stamp(self) -> EpochSeconds | None:
        """When it was measured: by the time stamp, else by the time that the user saw; None if neither came.

        The time stamp is preferred because nobody sets it by hand.
        """
        epoch = EPOCH_2000 if self.flags & EnhancedFlag.EPOCH_2000 else EPOCH_1900
        if self.time_stamp is not None:
            return EpochSeconds(self.time_stamp, epoch)
        if self.user_facing_time is not None:
            return EpochSeconds(self.user_facing_time, epoch, local=True)
        return None
