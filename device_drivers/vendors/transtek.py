"""Transtek scales (ADE, Trisa): the weight frame in 0x8A21 or 0x8A24, and the commands of 0x8A81 and 0x8A82.

Flags u8, weight FLOAT in kg whatever is shown, [seconds since 2010 u32], [resistance FLOAT], [resistance
FLOAT], [user u8], [status u8]. Layout as in oliexdev/openScale (Trisa Body Analyze) and, for ADE,
KristianP26/ble-scale-sync issue #138 and pull requests #153 and #158.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final, Self

from device_drivers.date_time import DateTime
from device_drivers.decoding import Decoded, component, judged, shape_remarks
from device_drivers.medfloat import MedFloat
from device_drivers.profile import Decode
from device_drivers.reader import Reader
from wire_format.measurement import BodyContext
from wire_format.nomenclature import Quantity, Term, Unit

CHALLENGE: Final = 0xA1
ANSWER_CHALLENGE: Final = 0x20
SET_CLOCK: Final = 0x02

_TIME, _FIRST, _SECOND, _USER, _STATUS = 1, 2, 4, 8, 16
_UNIT_SHOWN: Final = 0x60
_STABLE: Final = 1
EPOCH: Final = dt.datetime(2010, 1, 1)  # noqa: DTZ001 - a device clock has no zone


@dataclass(frozen=True, slots=True)
class TranstekWeight:
    """One weight frame, numbers as sent. What the resistances mean is not known: no value is made of them."""

    flags: int
    weight: MedFloat
    seconds: int | None = None
    resistances: tuple[MedFloat, ...] = ()
    user: int | None = None
    status: int | None = None
    trailing: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a frame; raises `MalformedPacket` if it ends before its last field."""
        r = Reader(data, "Transtek weight")
        flags, weight = r.uint(1, "flags"), r.float32("weight")
        seconds = r.uint(4, "time") if flags & _TIME else None
        resistances = tuple(r.float32("resistance") for bit in (_FIRST, _SECOND) if flags & bit)
        user = r.uint(1, "user") if flags & _USER else None
        status = r.uint(1, "status") if flags & _STATUS else None
        return cls(flags, weight, seconds, resistances, user, status, r.rest())

    def __bytes__(self) -> bytes:
        optional = [
            b"" if self.seconds is None else self.seconds.to_bytes(4, "little"),
            *map(bytes, self.resistances),
            *(bytes([one]) for one in (self.user, self.status) if one is not None),
        ]
        return bytes([self.flags]) + bytes(self.weight) + b"".join(optional) + self.trailing

    @property
    def stable(self) -> bool:
        """Whether the scale has settled; a frame without status says nothing else."""
        return self.status is None or bool(self.status & _STABLE)

    def decoded(self, decode: Decode) -> Decoded:
        """Return what the frame says. The byte behind the status is not known, and is in every frame seen."""
        moment = None if self.seconds is None else EPOCH + dt.timedelta(seconds=self.seconds)
        return judged(
            Decoded(
                Quantity.BODY_WEIGHT,
                (component(Term.BODY_WEIGHT, Unit.KG, self.weight),),
                context=BodyContext(),
                user=self.user,
                stamp=None if moment is None else DateTime.of(moment),
                remarks=shape_remarks(reserved=bool(self.flags & 0x80), trailing=self.trailing[1:]),
            ),
            decode,
        )


def clock_command(local: dt.datetime) -> bytes:
    """Return the command that sets the clock to these digits."""
    seconds = int((local - EPOCH).total_seconds())
    return bytes([SET_CLOCK]) + seconds.to_bytes(4, "little")
