"""Temperature Measurement (0x2A1C), Health Thermometer Service 1.0. FLOAT, then the optional fields."""

from dataclasses import dataclass
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from device_drivers.reader import Reader
from wire_format.nomenclature import Unit

_FAHRENHEIT: Final = 1
_TIME_STAMP: Final = 2
_TYPE: Final = 4
_KNOWN: Final = 0b111
_TYPES: Final = range(1, 10)


@dataclass(frozen=True, slots=True)
class TemperatureMeasurement:
    """One packet of 0x2A1C; `kind` is the Temperature Type."""

    flags: int
    temperature: MedFloat
    time_stamp: DateTime | None = None
    kind: int | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Temperature Measurement")
        flags = r.uint(1, "flags")
        value = r.float32("temperature")
        time_stamp = r.date_time("time stamp") if flags & _TIME_STAMP else None
        kind = r.uint(1, "temperature type") if flags & _TYPE else None
        return cls(flags, value, time_stamp, kind, r.rest())

    def __bytes__(self) -> bytes:
        stamp = bytes(self.time_stamp) if self.time_stamp else b""
        kind = b"" if self.kind is None else bytes([self.kind])
        return bytes([self.flags]) + bytes(self.temperature) + stamp + kind + self.trailing

    @property
    def unit(self) -> Unit:
        """The unit of the value."""
        return Unit.FAHRENHEIT if self.flags & _FAHRENHEIT else Unit.CELSIUS

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag or type is used."""
        return bool(self.flags & ~_KNOWN) or (self.kind is not None and self.kind not in _TYPES)
