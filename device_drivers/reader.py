"""A strict cursor over the bytes of one packet: fields in order, nothing skipped, nothing guessed."""

from dataclasses import dataclass
from typing import Literal

from device_drivers.date_time import DateTime
from device_drivers.medfloat import MedFloat
from wire_format.errors import MalformedPacket

ByteOrder = Literal["little", "big"]


@dataclass(slots=True)
class Reader:
    """Reads `data` from `position` on. `of` names the characteristic in errors."""

    data: bytes
    of: str
    position: int = 0

    def take(self, length: int, what: str) -> bytes:
        """Return the next bytes; raise `MalformedPacket` naming the field if there are not enough."""
        end = self.position + length
        if end > len(self.data):
            raise MalformedPacket(
                f"{self.of}: the packet of {len(self.data)} bytes ends within {what} "
                f"(bytes {self.position} to {end - 1})."
            )
        part = self.data[self.position : end]
        self.position = end
        return part

    def uint(self, length: int, what: str, order: ByteOrder = "little") -> int:
        """Return an unsigned integer of `length` bytes."""
        return int.from_bytes(self.take(length, what), order)

    def sint(self, length: int, what: str) -> int:
        """Return a signed integer of `length` bytes, little-endian."""
        return int.from_bytes(self.take(length, what), "little", signed=True)

    def sfloat(self, what: str, order: ByteOrder = "little") -> MedFloat:
        """Return a 16-bit medical float."""
        part = self.take(2, what)
        return MedFloat.from_bytes(part if order == "little" else part[::-1])

    def float32(self, what: str) -> MedFloat:
        """Return a 32-bit medical float."""
        return MedFloat.from_bytes(self.take(4, what))

    def date_time(self, what: str) -> DateTime:
        """Return a Date Time of 7 bytes."""
        return DateTime(self.take(7, what))

    def rest(self) -> bytes:
        """Return what is left: trailing bytes, reported and kept by whoever reads."""
        return self.take(len(self.data) - self.position, "the rest")
