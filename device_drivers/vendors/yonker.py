"""Yonker YK-IBPA1: one 15-byte packet says the final result.

Public source: derdilla/blood-pressure-monitor-fl issue 615. Byte 0 is 0x81; 1 systolic, 2 diastolic (mmHg),
3 pulse; 6 day, 7 month, 8 year after 2000, 9 hour, 10 minute. Bytes 4, 5 and 11 to 14 are not known: kept.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.decoding import PLAIN, Decoded, judged, order_remarks
from device_drivers.profile import Decode
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import BloodPressureContext, Component
from wire_format.nomenclature import Quantity, Term, Unit

FINAL: Final = 0x81
LENGTH: Final = 15
CENTURY: Final = 2000


@dataclass(frozen=True, slots=True)
class YonkerResult:
    """The final packet of one measurement."""

    systolic: int
    diastolic: int
    pulse: int
    time_stamp: DateTime
    unknown: tuple[bytes, bytes] = (bytes(2), bytes(4))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a final packet; raises `MalformedPacket` for any other."""
        if len(data) != LENGTH or data[0] != FINAL:
            raise MalformedPacket(f"A final Yonker packet has {LENGTH} bytes, the first of them 0x81.")
        r = Reader(data, "Yonker result", 1)
        values = [r.uint(1, name) for name in ("systolic", "diastolic", "pulse")]
        before = r.take(2, "unknown")
        day, month, year, hour, minute = r.take(5, "time")
        stamp = DateTime((CENTURY + year).to_bytes(2, "little") + bytes([month, day, hour, minute, 0]))
        return cls(values[0], values[1], values[2], stamp, (before, r.rest()))

    def __bytes__(self) -> bytes:
        year, month, day, hour, minute, _ = self.time_stamp.digits
        values = bytes([FINAL, self.systolic, self.diastolic, self.pulse])
        time = bytes([day, month, year - CENTURY, hour, minute])
        return values + self.unknown[0] + time + self.unknown[1]

    def decoded(self, decode: Decode = PLAIN) -> Decoded:
        """Return what the packet says."""
        parts = (
            Component(term=Term.SYSTOLIC, unit=Unit.MMHG, value=Decimal(self.systolic)),
            Component(term=Term.DIASTOLIC, unit=Unit.MMHG, value=Decimal(self.diastolic)),
            Component(term=Term.PULSE_RATE, unit=Unit.PER_MINUTE, value=Decimal(self.pulse)),
        )
        said = Decoded(
            Quantity.BLOOD_PRESSURE,
            parts,
            context=BloodPressureContext(),
            stamp=self.time_stamp,
            remarks=order_remarks(parts),
        )
        return judged(said, decode)
