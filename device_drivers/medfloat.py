"""IEEE 11073-20601 SFLOAT (16 bit) and FLOAT (32 bit), exact in decimal arithmetic.

A value keeps mantissa and exponent as sent, so that its bytes come back unchanged: 72E0 and 720E-1 are equal
as numbers and different as bytes.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent

_MANTISSA_BITS: Final = {2: 12, 4: 24}

# Special values exist with exponent 0 only: offsets from the positive NaN 0x7FF or 0x7FFFFF.
_SPECIALS: Final = {
    -1: Absent.ABOVE_RANGE,  # +INFINITY
    0: Absent.NOT_A_NUMBER,  # NaN
    1: Absent.NOT_AT_THIS_RESOLUTION,  # NRes
    2: Absent.RESERVED_VALUE,
    3: Absent.BELOW_RANGE,  # -INFINITY
}


@dataclass(frozen=True, slots=True)
class MedFloat:
    """One medical float: `word` as sent, `size` 2 or 4 bytes."""

    word: int
    size: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read 2 or 4 bytes, little-endian."""
        if len(data) not in _MANTISSA_BITS:
            raise MalformedPacket(f"A medical float has 2 or 4 bytes, not {len(data)}.")
        return cls(int.from_bytes(data, "little"), len(data))

    @classmethod
    def of(cls, value: Decimal, size: int = 2) -> Self:
        """Encode a decimal exactly; raises `MalformedPacket` if mantissa or exponent do not fit."""
        sign, digits, exponent = value.as_tuple()
        bits = _MANTISSA_BITS[size]
        mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
        limit = (1 << bits - 1) - 3  # above are the special values
        low, high = (-8, 7) if size == 2 else (-128, 127)  # noqa: PLR2004 - the two sizes there are
        if not isinstance(exponent, int) or abs(mantissa) > limit or not low <= exponent <= high:
            raise MalformedPacket(f"The number does not fit a float of {size} bytes.")
        exponent_mask = (1 << size * 8 - bits) - 1
        return cls((exponent & exponent_mask) << bits | mantissa & (1 << bits) - 1, size)

    def __bytes__(self) -> bytes:
        return self.word.to_bytes(self.size, "little")

    @property
    def absent(self) -> Absent | None:
        """The special value, or None for a number."""
        bits = _MANTISSA_BITS[self.size]
        return _SPECIALS.get(self.word - ((1 << bits - 1) - 1))

    @property
    def value(self) -> Decimal | None:
        """The number, with the exponent as sent; None for a special value."""
        if self.absent is not None:
            return None
        bits = _MANTISSA_BITS[self.size]
        mantissa = _signed(self.word & (1 << bits) - 1, bits)
        exponent = _signed(self.word >> bits, self.size * 8 - bits)
        return Decimal(mantissa).scaleb(exponent)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value
