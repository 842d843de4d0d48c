"""Generic Health Sensor Service (0x1840): segments, and the observation records that they carry.

This is the layout of an implementation that is older than the adopted specification; it was not compared
with that. An observation: class, length of 16 bit, flags of 16 bit, then what the flags say in their order:
bit 0 type (MDC code), 1 time, 2 duration, 3 status, 4 object id, 5 patient, 6 supplemental information,
7 derived from, 8 has member, 9 further attributes; then the value. A stored one (0x2BDD) begins with its
record number of 32 bit.
"""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final, Self

from device_drivers.elapsed_time import ElapsedTime
from device_drivers.medfloat import MedFloat
from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket

_COUNTER: Final = 64
MAX_SEGMENTS: Final = 64
"""More segments than this are no observation of a vital sign."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One packet of 0x2B8B or 0x2BDD: whether it is the first and the last, its counter, and its part."""

    first: bool
    last: bool
    counter: int
    part: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a packet; raises `MalformedPacket` if it is empty."""
        r = Reader(data, "Health Sensor segment")
        header = r.uint(1, "segment header")
        return cls(bool(header & 1), bool(header & 2), header >> 2, r.rest())

    def __bytes__(self) -> bytes:
        return bytes([self.first | self.last << 1 | self.counter << 2]) + self.part


def segmented(data: bytes, most: int, counter: int = 0) -> list[bytes]:
    """Return `data` as packets of at most `most` bytes, their counters from `counter` on."""
    parts = [data[i : i + most - 1] for i in range(0, len(data), most - 1)]
    last = len(parts) - 1
    return [
        bytes(Segment(number == 0, number == last, (counter + number) % _COUNTER, part))
        for number, part in enumerate(parts)
    ]


@dataclass(slots=True)
class Assembler:
    """Joins segments. `waiting` are the packets of an observation that is not whole yet."""

    waiting: list[bytes] = field(default_factory=list)
    _parts: list[bytes] = field(default_factory=list)
    _next: int = 0

    def take(self, packet: bytes) -> bytes | None:
        """Return an observation once it is whole; raises `MalformedPacket` if a segment is missing.

        What was waiting then stays in `waiting`, for whoever keeps it; see `give_up`.
        """
        segment = Segment.from_bytes(packet)
        if self._parts and packet == self.waiting[-1]:
            return None  # the same segment once more
        wrong = segment.first if self._parts else not segment.first
        if wrong or (self._parts and segment.counter != self._next) or len(self._parts) >= MAX_SEGMENTS:
            raise MalformedPacket("A segment of this observation did not come.")
        self.waiting.append(packet)
        self._parts.append(segment.part)
        self._next = (segment.counter + 1) % _COUNTER
        if not segment.last:
            return None
        whole = b"".join(self._parts)
        self._parts = []
        return whole

    def give_up(self) -> list[bytes]:
        """Forget what is waiting, and return it."""
        waiting, self.waiting, self._parts = self.waiting, [], []
        return waiting


class ObservationClass(IntEnum):
    """What kind of value an observation has. Only the numeric ones are decoded."""

    NUMERIC = 1
    DISCRETE = 2
    STRING = 3
    SAMPLE_ARRAY = 4
    COMPOUND_DISCRETE = 5
    COMPOUND_STATE = 6
    COMPOUND = 7
    TLV = 8
    BUNDLE = 0xFF


class ObservationFlag(IntFlag):
    """Which attributes an observation has, in their order."""

    TYPE = 1
    TIME = 2
    DURATION = 4
    STATUS = 8
    OBJECT_ID = 16
    PATIENT = 32
    SUPPLEMENTAL = 64
    DERIVED_FROM = 128
    HAS_MEMBER = 256
    ATTRIBUTES = 512


_KNOWN_FLAGS: Final = 0x3FF
_NUMERIC_PART: Final = 1
_LENGTH_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class NumericValue:
    """One number: its MDC type (that of the observation, if it is its only one), MDC unit, and value."""

    kind: int
    unit: int
    value: MedFloat


@dataclass(frozen=True, slots=True)
class Observation:
    """One numeric observation, alone or compound. Lists of codes and handles as sent."""

    observation_class: int
    flags: int
    kind: int
    values: tuple[NumericValue, ...]
    time: ElapsedTime | None = None
    duration: MedFloat | None = None
    status: int | None = None
    object_id: int | None = None
    patient: int | None = None
    supplemental: tuple[int, ...] = ()
    derived_from: tuple[int, ...] = ()
    has_member: tuple[int, ...] = ()
    trailing: bytes = b""
    length_counts_itself: bool = True

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole observation.

        Raises `MalformedPacket` for a class that is not numeric, for attributes in TLV form, and if the
        length is wrong. The length may or may not count its own two bytes: both are seen.
        """
        r = Reader(data, "Health Sensor observation")
        observation_class = _numeric_class(r.uint(1, "class"))
        counts_itself = _counts_itself(r.uint(_LENGTH_BYTES, "length"), len(data) - r.position)
        has = ObservationFlag((flags := r.uint(2, "flags")) & _KNOWN_FLAGS)
        if ObservationFlag.ATTRIBUTES in has or ObservationFlag.TYPE not in has:
            raise MalformedPacket("An observation without type, or with TLV attributes, is not decoded.")
        kind = r.uint(4, "type")
        time = ElapsedTime.take(r) if ObservationFlag.TIME in has else None
        duration = r.float32("duration") if ObservationFlag.DURATION in has else None
        status = r.uint(2, "status") if ObservationFlag.STATUS in has else None
        object_id = r.uint(4, "object id") if ObservationFlag.OBJECT_ID in has else None
        patient = r.uint(1, "patient") if ObservationFlag.PATIENT in has else None
        supplemental = _codes(r, "supplemental") if ObservationFlag.SUPPLEMENTAL in has else ()
        derived = _codes(r, "derived from") if ObservationFlag.DERIVED_FROM in has else ()
        member = _codes(r, "has member") if ObservationFlag.HAS_MEMBER in has else ()
        values = _values(r, observation_class, kind)
        return cls(
            observation_class, flags, kind, values, time, duration, status, object_id, patient,
            supplemental, derived, member, r.rest(), counts_itself,
        )  # fmt: skip

    def __bytes__(self) -> bytes:
        body = self.flags.to_bytes(2, "little") + self.kind.to_bytes(4, "little") + self._attributes()
        body += self._value_bytes() + self.trailing
        length = len(body) + (_LENGTH_BYTES if self.length_counts_itself else 0)
        return bytes([self.observation_class]) + length.to_bytes(_LENGTH_BYTES, "little") + body

    def _attributes(self) -> bytes:
        lists = (
            (ObservationFlag.SUPPLEMENTAL, self.supplemental),
            (ObservationFlag.DERIVED_FROM, self.derived_from),
            (ObservationFlag.HAS_MEMBER, self.has_member),
        )
        parts = [
            bytes(self.time) if self.time else b"",
            bytes(self.duration) if self.duration else b"",
            b"" if self.status is None else self.status.to_bytes(2, "little"),
            b"" if self.object_id is None else self.object_id.to_bytes(4, "little"),
            b"" if self.patient is None else bytes([self.patient]),
            *(_code_bytes(codes) for flag, codes in lists if self.flags & flag),
        ]
        return b"".join(parts)

    def _value_bytes(self) -> bytes:
        numbers = [one.unit.to_bytes(2, "little") + bytes(one.value) for one in self.values]
        if self.observation_class == ObservationClass.NUMERIC:
            return numbers[0]
        kinds = [one.kind.to_bytes(4, "little") + bytes([_NUMERIC_PART]) for one in self.values]
        pairs = zip(kinds, numbers, strict=True)
        return bytes([len(numbers)]) + b"".join(kind + number for kind, number in pairs)

    @property
    def reserved_bits(self) -> bool:
        """Whether a reserved flag is set."""
        return bool(self.flags & ~_KNOWN_FLAGS) or (self.time is not None and self.time.reserved_bits)


def _numeric_class(code: int) -> int:
    if code in {ObservationClass.NUMERIC, ObservationClass.COMPOUND}:
        return code
    known = code in set(ObservationClass)
    name = ObservationClass(code).name.lower().replace("_", " ") if known else "reserved"
    raise MalformedPacket(f"An observation of class {code} ({name}) is not decoded: only numeric ones are.")


def _counts_itself(length: int, rest: int) -> bool:
    if length not in {rest, rest + _LENGTH_BYTES}:
        raise MalformedPacket(f"An observation has {rest} bytes behind its length, which says {length}.")
    return length == rest + _LENGTH_BYTES


def _codes(r: Reader, what: str) -> tuple[int, ...]:
    return tuple(r.uint(4, what) for _ in range(r.uint(1, f"number of {what}")))


def _code_bytes(codes: tuple[int, ...]) -> bytes:
    return bytes([len(codes)]) + b"".join(code.to_bytes(4, "little") for code in codes)


def _values(r: Reader, observation_class: int, kind: int) -> tuple[NumericValue, ...]:
    if observation_class == ObservationClass.NUMERIC:
        return (_number(r, kind),)
    found = []
    for _ in range(r.uint(1, "number of components")):
        part = r.uint(4, "type of a component")
        form = r.uint(1, "kind of a component")
        if form != _NUMERIC_PART:
            raise MalformedPacket(f"A component of kind {form} is not decoded: only numeric ones are.")
        found.append(_number(r, part))
    if not found:
        raise MalformedPacket("A compound observation has no component.")
    return tuple(found)


def _number(r: Reader, kind: int) -> NumericValue:
    return NumericValue(kind, r.uint(2, "unit"), r.float32("value"))
