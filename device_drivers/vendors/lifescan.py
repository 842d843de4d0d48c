"""LifeScan's binary frame, common to its meters on cables and over Bluetooth; the record of the Verio Flex.

A frame: 02, length of the whole, link control, message, 03, CRC-16/CCITT (from FFFF) of all before it, low
byte first. Layouts as in glucometers-tech/glucometer-protocols (shared binary protocol) and, for Bluetooth,
NightscoutFoundation/xDrip (VerioHelper).
"""

import binascii
import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.decoding import Decoded, judged
from device_drivers.profile import Decode
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import Component, GlucoseContext, Remark
from wire_format.nomenclature import Quantity, Term, Unit

STX: Final = 0x02
ETX: Final = 0x03
OVERHEAD: Final = 6
_CRC: Final = 2


def crc16(data: bytes) -> int:
    """Return CRC-16/CCITT over `data`, beginning with FFFF."""
    return binascii.crc_hqx(data, 0xFFFF)


@dataclass(frozen=True, slots=True)
class LifeScanFrame:
    """One frame; an acknowledgement and a disconnection have no message."""

    link: int
    message: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole frame; raises `MalformedPacket` for a wrong length, delimiter or CRC."""
        if len(data) < OVERHEAD or data[0] != STX or data[1] != len(data):
            raise MalformedPacket(f"LifeScan frame: {len(data)} bytes, not framed as their head says.")
        if data[-_CRC - 1] != ETX:
            raise MalformedPacket("LifeScan frame: it does not end with 03 and a checksum.")
        if crc16(data[:-_CRC]) != int.from_bytes(data[-_CRC:], "little"):
            raise MalformedPacket("LifeScan frame: the checksum is wrong.")
        return cls(data[2], bytes(data[3 : -_CRC - 1]))

    def __bytes__(self) -> bytes:
        head = bytes([STX, len(self.message) + OVERHEAD, self.link]) + self.message + bytes([ETX])
        return head + crc16(head).to_bytes(_CRC, "little")


def since_2000(seconds: int) -> DateTime:
    """Return the digits of a clock that counts seconds since the beginning of 2000."""
    return DateTime.of(dt.datetime(2000, 1, 1) + dt.timedelta(seconds=seconds))  # noqa: DTZ001 - it has no zone


@dataclass(frozen=True, slots=True)
class VerioRecord:
    """One result of a Verio Flex, 11 bytes.

    Seconds since 2000 u32, mg/dL u16, control solution u8, two bytes whose meaning is not known and that are
    0 in results of blood, the kind of result u8 (0 glucose), sensor status u8.
    """

    seconds: int
    mg_dl: int
    control: int = 0
    reserved: int = 0
    kind: int = 0
    status: int = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a record; raises `MalformedPacket` if it has another length or is no glucose result."""
        r = Reader(data, "Verio record")
        seconds, mg_dl, control = r.uint(4, "time"), r.uint(2, "value"), r.uint(1, "control")
        reserved, kind, status = r.uint(2, "reserved"), r.uint(1, "kind"), r.uint(1, "status")
        if r.rest():
            raise MalformedPacket("Verio record: it is longer than any that is known.")
        if kind or status:
            raise MalformedPacket(f"Verio record: result kind {kind} with status {status} is not known.")
        return cls(seconds, mg_dl, control, reserved, kind, status)

    def __bytes__(self) -> bytes:
        numbers = self.seconds.to_bytes(4, "little") + self.mg_dl.to_bytes(2, "little")
        return (
            numbers
            + bytes([self.control])
            + self.reserved.to_bytes(2, "little")
            + bytes([self.kind, self.status])
        )

    def decoded(self, number: int, decode: Decode) -> Decoded:
        """Return what the record `number` says; the value is in mg/dL whatever the meter shows."""
        return judged(
            Decoded(
                Quantity.GLUCOSE,
                (Component(term=Term.GLUCOSE, unit=Unit.MG_PER_DL, value=Decimal(self.mg_dl)),),
                context=GlucoseContext(control_solution=bool(self.control)),
                stamp=since_2000(self.seconds),
                sequence=number,
                remarks=(Remark.RESERVED_BITS,) if self.reserved else (),
            ),
            decode,
        )
