"""Xiaomi scales: the weigh-in frames of Mi Scale 1 and 2, and MiBeacon with the object of the S400.

Layouts as in public sources that agree with published packets: custom-components/ble_monitor (miscale
parser), theengs/decoder, oliexdev/openScale; for MiBeacon Bluetooth-Devices/xiaomi-ble (issue #158).
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from device_drivers.date_time import DateTime
from device_drivers.decoding import Decoded, judged, shape_remarks
from device_drivers.profile import Decode
from device_drivers.quantities.body import mass_unit
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, BodyContext, Component
from wire_format.nomenclature import Quantity, Term, Unit


class Layout(Enum):
    """Where the bits of the control field lie: (pound, jin, stable, removed, impedance)."""

    WEIGHT = (1 << 0, 1 << 4, 1 << 5, 1 << 7, 0)  # 10 bytes: service data 0x181D
    COMPOSITION = (1 << 0, 1 << 14, 1 << 13, 1 << 15, 1 << 9)  # 13 bytes: 0x181B, and 0x2A9C


@dataclass(frozen=True, slots=True)
class WeighInFrame:
    """One state of a scale, numbers as sent; a weigh-in is told in several of them.

    WEIGHT: control u8, weight u16, Date Time. COMPOSITION: control u16, Date Time, impedance u16 (ohm),
    weight u16. Weight counts 0.005 kg, or 0.01 lb or jin. Other bits of the control field are not known.
    """

    layout: Layout
    control: int
    weight: int
    stamp: DateTime
    impedance: int = 0
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes, layout: Layout) -> Self:
        """Decode a frame; raises `MalformedPacket` if it is too short or names two units."""
        r = Reader(data, "Mi Scale")
        if layout is Layout.WEIGHT:
            control, weight = r.uint(1, "control"), r.uint(2, "weight")
            frame = cls(layout, control, weight, r.date_time("time stamp"), trailing=r.rest())
        else:
            control, stamp = r.uint(2, "control"), r.date_time("time stamp")
            impedance, weight = r.uint(2, "impedance"), r.uint(2, "weight")
            frame = cls(layout, control, weight, stamp, impedance, r.rest())
        if frame._has(0) and frame._has(1):
            raise MalformedPacket("Mi Scale: the frame says pound and jin at once.")
        return frame

    def __bytes__(self) -> bytes:
        weight = self.weight.to_bytes(2, "little")
        if self.layout is Layout.WEIGHT:
            return bytes([self.control]) + weight + bytes(self.stamp) + self.trailing
        head = self.control.to_bytes(2, "little") + bytes(self.stamp)
        return head + self.impedance.to_bytes(2, "little") + weight + self.trailing

    def _has(self, bit: int) -> bool:
        return bool(self.control & self.layout.value[bit])

    @property
    def stable(self) -> bool:
        """Whether the scale shows this weight as its result."""
        return self._has(2)

    @property
    def removed(self) -> bool:
        """Whether the person has stepped off."""
        return self._has(3)

    @property
    def awaits_impedance(self) -> bool:
        """Whether a scale that measures impedance has not done so yet."""
        return self.layout is Layout.COMPOSITION and not self._has(4)

    @property
    def unit(self) -> Unit:
        """The unit that the scale is set to."""
        if self._has(1):
            return Unit.JIN
        return mass_unit(imperial=self._has(0))[0]

    def same_result(self, other: Self) -> bool:
        """Tell whether two frames show one weight."""
        return (self.weight, self.unit) == (other.weight, other.unit)

    def decoded(self, decode: Decode) -> Decoded:
        """Return what the frame says.

        The scale counts no records: it names a weigh-in by the digits of its clock, which run on from 1970
        where nobody set it. The weight as sent takes the place of a number beside them, so that a weigh-in
        that is advertised again is known again, also while the clock cannot date it.
        """
        resolution = Decimal("0.005") if self.unit is Unit.KG else Decimal("0.01")
        parts = [Component(term=Term.BODY_WEIGHT, unit=self.unit, value=self.weight * resolution)]
        if self.layout is Layout.COMPOSITION:
            value = None if self.awaits_impedance else Decimal(self.impedance)
            parts.append(_or_absent(Term.IMPEDANCE, Unit.OHM, value))
        return judged(
            Decoded(
                Quantity.BODY_WEIGHT,
                tuple(parts),
                context=BodyContext(),
                stamp=self.stamp,
                sequence=None if self.stamp.unknown else self.weight,
                remarks=shape_remarks(reserved=False, trailing=self.trailing),
            ),
            decode,
        )


def _or_absent(term: Term, unit: Unit, value: Decimal | None) -> Component:
    if value is None:
        return Component(term=term, unit=unit, absent=Absent.NOT_MEASURED)
    return Component(term=term, unit=unit, value=value)


class NotOpened(MalformedPacket):
    """The sealed part of an advertisement is not what this key sealed: another key, or damage on the air."""


ENCRYPTED: Final = 1 << 3
_ADDRESS: Final = 1 << 4
_CAPABILITY: Final = 1 << 5
OBJECT: Final = 1 << 6
_AAD: Final = b"\x11"
_TAG: Final = 4
_EXTENDED_COUNTER: Final = 3


@dataclass(frozen=True, slots=True)
class MiBeacon:
    """Service data 0xFE95: control u16, product u16, counter u8, [address], [capability], the rest.

    `address` is as sent, lowest byte first. An encrypted rest is ciphertext, three bytes of extended counter,
    and a tag of four (AES-CCM).
    """

    control: int
    product: int
    counter: int
    address: bytes | None
    capability: int | None
    rest: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a beacon; raises `MalformedPacket` if it ends too early."""
        r = Reader(data, "MiBeacon")
        control, product, counter = r.uint(2, "control"), r.uint(2, "product"), r.uint(1, "counter")
        address = r.take(6, "address") if control & _ADDRESS else None
        capability = r.uint(1, "capability") if control & _CAPABILITY else None
        return cls(control, product, counter, address, capability, r.rest())

    def __bytes__(self) -> bytes:
        capability = b"" if self.capability is None else bytes([self.capability])
        return self._head() + (self.address or b"") + capability + self.rest

    def _head(self) -> bytes:
        numbers = self.control.to_bytes(2, "little") + self.product.to_bytes(2, "little")
        return numbers + bytes([self.counter])

    @property
    def has_object(self) -> bool:
        """Whether it carries anything but the scale's presence."""
        return bool(self.control & OBJECT)

    @property
    def encrypted(self) -> bool:
        """Whether its object is sealed."""
        return bool(self.control & ENCRYPTED)

    def opened(self, key: bytes, address: bytes) -> bytes:
        """Return the object; `address` is the device's, lowest byte first. Raises `NotOpened`."""
        sealed, tag = self.rest[:-_TAG], self.rest[-_TAG:]
        text, extended = sealed[:-_EXTENDED_COUNTER], sealed[-_EXTENDED_COUNTER:]
        if not text or len(extended) < _EXTENDED_COUNTER:
            raise MalformedPacket("MiBeacon: the packet is too short for what it says that it seals.")
        try:
            return AESCCM(key, tag_length=_TAG).decrypt(self._nonce(address, extended), text + tag, _AAD)
        except InvalidTag as error:
            raise NotOpened("It does not open with this device's bind key.") from error

    def sealed(self, key: bytes, address: bytes, plain: bytes, extended: bytes) -> Self:
        """Return the beacon with `plain` as its sealed object."""
        both = AESCCM(key, tag_length=_TAG).encrypt(self._nonce(address, extended), plain, _AAD)
        rest = both[:-_TAG] + extended + both[-_TAG:]
        return type(self)(self.control, self.product, self.counter, self.address, self.capability, rest)

    def _nonce(self, address: bytes, extended: bytes) -> bytes:
        return (self.address or address) + self._head()[2:] + extended


_WEIGH_IN: Final = 0x6E16
_WEIGH_IN_LENGTH: Final = 9
_PULSE_BASE: Final = 50
_NO_PULSE: Final = (0, 127)
_TENTH: Final = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class WeighInObject:
    """The S400's object 0x6E16: profile u8, 32 bits (weight 11, pulse 7, impedance 14), Unix time u32.

    Weight counts 0.1 kg, pulse from 50, impedance 0.1 ohm. A weigh-in is two objects of one time: one with
    the weight, one with the impedance at the other frequency alone; which of the two is the higher one,
    public sources do not agree. An object of zeros says that the person has stepped off.
    """

    profile: int
    weight: int
    pulse: int
    impedance: int
    time: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode an object; raises `MalformedPacket` if it is another, or not whole."""
        r = Reader(data, "MiBeacon object")
        kind, length = r.uint(2, "type"), r.uint(1, "length")
        if kind != _WEIGH_IN or length != _WEIGH_IN_LENGTH:
            raise MalformedPacket(f"MiBeacon: the object 0x{kind:04X} of {length} bytes is not known here.")
        profile, bits, time = r.uint(1, "profile"), r.uint(4, "values"), r.uint(4, "time")
        if r.rest():
            raise MalformedPacket("MiBeacon: something follows the object.")
        return cls(profile, bits & 0x7FF, bits >> 11 & 0x7F, bits >> 18, time)

    def __bytes__(self) -> bytes:
        bits = self.weight | self.pulse << 11 | self.impedance << 18
        head = _WEIGH_IN.to_bytes(2, "little") + bytes([_WEIGH_IN_LENGTH, self.profile])
        return head + bits.to_bytes(4, "little") + self.time.to_bytes(4, "little")

    @property
    def stepped_off(self) -> bool:
        """Whether it says only that nobody stands on the scale any more."""
        return not (self.weight or self.impedance)

    def decoded(self, second: Self | None, decode: Decode) -> Decoded:
        """Return what the object with the weight says, together with the second one if that came."""
        pulse = None if self.pulse in _NO_PULSE else Decimal(self.pulse + _PULSE_BASE)
        other = second.impedance if second else 0
        moment = dt.datetime.fromtimestamp(self.time, dt.UTC).replace(tzinfo=None)
        return judged(
            Decoded(
                Quantity.BODY_WEIGHT,
                (
                    Component(term=Term.BODY_WEIGHT, unit=Unit.KG, value=self.weight * _TENTH),
                    _or_absent(Term.PULSE_RATE, Unit.PER_MINUTE, pulse),
                    _or_absent(Term.IMPEDANCE, Unit.OHM, _tenths(self.impedance)),
                    _or_absent(Term.IMPEDANCE_SECOND, Unit.OHM, _tenths(other)),
                ),
                context=BodyContext(packets=2 if second else 1),
                user=self.profile,
                stamp=DateTime.of(moment) if self.time else None,
                sequence=self.weight,
            ),
            decode,
        )


def _tenths(raw: int) -> Decimal | None:
    return raw * _TENTH if raw else None
