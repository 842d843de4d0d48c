"""What differs between the services that keep records behind a Record Access Control Point.

A family turns packets into records, says how records are asked for, and what it must know beforehand. Each
visit has a family of its own. What has no end of its own (segments) waits in it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from device_drivers.date_time import Stamp
from device_drivers.decoded import Decoded
from device_drivers.decoding import glucose
from device_drivers.decoding_streams import cgm_record, numbered_observation, observation
from device_drivers.driver import Visit
from device_drivers.elapsed_time import EPOCH_2000
from device_drivers.link import GattLink, uuid16
from device_drivers.quantities.continuous_glucose import SessionStart, records
from device_drivers.quantities.health_sensor import Assembler
from device_drivers.quantities.record_access import OpCode, report_all, report_from
from wire_format.errors import MalformedPacket, Misconfigured, Rejected
from wire_format.measurement import RawPacket

_LARGEST_16: Final = 0xFFFF
_LARGEST_32: Final = 0xFFFF_FFFF
_MINUTE: Final = dt.timedelta(minutes=1)


@dataclass(slots=True)
class Record:
    """One record, the packets that brought it, and where it stands in the device's memory, if it is there."""

    decoded: Decoded
    raw: tuple[RawPacket, ...]
    position: int | None


@dataclass(frozen=True, slots=True)
class Stray:
    """A packet that became no record, and why."""

    packet: RawPacket
    reason: str


Found = Record | Stray


class RecordFamily(Protocol):
    """The records of one service, for one visit. Characteristics are named as profiles do.

    `unasked` says that records come on `measurement` also live, without having been asked for.
    """

    measurement: str
    context: str | None
    live: str | None
    unasked: bool
    last_position: int

    async def begin(self, link: GattLink) -> None:
        """Read what must be known before records come."""
        ...

    def take(self, packet: RawPacket) -> Sequence[Found]:
        """Return what a packet of `measurement` or `live` says; never raises for its bytes."""
        ...

    def unfinished(self) -> Sequence[Stray]:
        """Forget what waits for more packets, and return it."""
        ...

    def report_all(self) -> bytes:
        """Ask for every record."""
        ...

    def report_from(self, position: int) -> bytes:
        """Ask for the record at a position, and every later one."""
        ...


class GlucoseRecords:
    """Glucose Service: one record a packet, numbered by its sequence number."""

    measurement = "2A18"
    context: str | None = "2A34"
    live: str | None = None
    unasked = False
    last_position = _LARGEST_16

    def __init__(self, visit: Visit) -> None:
        self.decode = visit.profile.decode
        self.renumbered = visit.profile.records.renumbered

    async def begin(self, link: GattLink) -> None:
        """Nothing is to be known."""

    def take(self, packet: RawPacket) -> Sequence[Found]:
        """Return the record, or why it is none."""
        try:
            decoded = glucose(packet.data, self.decode)
        except MalformedPacket as error:
            return [Stray(packet, str(error))]
        if self.renumbered:
            decoded = replace(decoded, sequence=None)
        return [Record(decoded, (packet,), decoded.sequence)]

    def unfinished(self) -> Sequence[Stray]:
        """Nothing ever waits."""
        return ()

    def report_all(self) -> bytes:
        """Ask for every record."""
        return report_all()

    def report_from(self, position: int) -> bytes:
        """Ask by sequence number."""
        return report_from(position)


class CgmRecords:
    """Continuous Glucose Monitoring Service: records are numbered by minutes since the session began.

    A new session counts from 0 again. Positions are therefore minutes since 2000: the session's start plus
    the record's offset; so the cursor of an old session never hides the records of a new one.
    """

    measurement = "2AA7"
    context: str | None = None
    live: str | None = None
    unasked = True
    last_position = _LARGEST_32

    def __init__(self, visit: Visit) -> None:
        self.decode = visit.profile.decode
        self.start: Stamp | None = None
        self.start_minutes = 0

    async def begin(self, link: GattLink) -> None:
        """Read when the session began; raises `Rejected` if the sensor does not know it.

        Without it a record of this session cannot be told from one of another.
        """
        try:
            start = SessionStart.from_bytes(await link.read(uuid16(0x2AAA)))
        except MalformedPacket as error:
            raise Rejected(f"The sensor's session start cannot be read: {error}") from error
        stated = None if start.unknown else start.stated
        if stated is None:
            raise Rejected(
                "The sensor does not say when its session began: set its time with its own reader, "
                "or start a new session."
            )
        self.start, self.start_minutes = start, (stated - EPOCH_2000) // _MINUTE

    def take(self, packet: RawPacket) -> Sequence[Found]:
        """Return the records of a notification; each keeps the whole of it."""
        found: list[Found] = []
        for one in records(packet.data) if packet.data else (b"",):
            try:
                decoded = replace(cgm_record(one, self.decode), stamp=self.start)
            except MalformedPacket as error:
                found.append(Stray(packet, str(error)))
                break
            found.append(Record(decoded, (packet,), self.start_minutes + (decoded.sequence or 0)))
        return found

    def unfinished(self) -> Sequence[Stray]:
        """Nothing ever waits."""
        return ()

    def report_all(self) -> bytes:
        """Ask for every record."""
        return report_all()

    def report_from(self, position: int) -> bytes:
        """Ask by time offset; what is before this session's start is asked for from its start on."""
        return report_from(max(0, position - self.start_minutes))


class HealthSensorRecords:
    """Generic Health Sensor Service: observations in segments, stored ones behind a number of 32 bit.

    An observation that comes live and again out of the memory is one: it is known by its time and values,
    and the number is only what the memory is asked by.
    """

    measurement = "2BDD"
    context: str | None = None
    live: str | None = "2B8B"
    unasked = False
    last_position = _LARGEST_32

    def __init__(self, visit: Visit) -> None:
        self.decode = visit.profile.decode
        self.assemblers = {"2BDD": Assembler(), "2B8B": Assembler()}

    async def begin(self, link: GattLink) -> None:
        """Nothing is to be known."""

    def take(self, packet: RawPacket) -> Sequence[Found]:
        """Return the observation that this segment completes, if it does."""
        assembler = self.assemblers[packet.source]
        try:
            whole = assembler.take(packet.data)
        except MalformedPacket as error:
            lost = _strays(packet.source, assembler, str(error))
            return [*lost, *self._anew(packet, str(error))]
        if whole is None:
            return ()
        raw = tuple(RawPacket(source=packet.source, data=data) for data in assembler.give_up())
        return self._decoded(packet.source, whole, raw)

    def _anew(self, packet: RawPacket, reason: str) -> Sequence[Found]:
        """Begin again with a segment that did not go on with what was before."""
        assembler = self.assemblers[packet.source]
        try:
            whole = assembler.take(packet.data)
        except MalformedPacket:
            return [Stray(packet, reason)]
        if whole is None:
            return ()
        assembler.give_up()
        return self._decoded(packet.source, whole, (packet,))

    def _decoded(self, source: str, whole: bytes, raw: tuple[RawPacket, ...]) -> Sequence[Found]:
        decoder = numbered_observation if source == self.measurement else observation
        try:
            decoded = decoder(whole, self.decode)
        except MalformedPacket as error:
            return [Stray(packet, str(error)) for packet in raw]
        return [Record(decoded, raw, decoded.position)]

    def unfinished(self) -> Sequence[Stray]:
        """Return the segments of observations that did not become whole."""
        reason = "The rest of this observation did not come."
        return [stray for name, one in self.assemblers.items() for stray in _strays(name, one, reason)]

    def report_all(self) -> bytes:
        """Ask for every record, in a combined report."""
        return report_all(OpCode.COMBINED_REPORT)

    def report_from(self, position: int) -> bytes:
        """Ask by record number, in a combined report."""
        return report_from(position, OpCode.COMBINED_REPORT, 4)


def _strays(source: str, assembler: Assembler, reason: str) -> list[Stray]:
    return [Stray(RawPacket(source=source, data=data), reason) for data in assembler.give_up()]


_Family = type[GlucoseRecords] | type[CgmRecords] | type[HealthSensorRecords]

FAMILIES: Final[Mapping[str, _Family]] = {
    family.measurement: family for family in (GlucoseRecords, CgmRecords, HealthSensorRecords)
}
"""By the characteristic of the records, which a profile names first."""


def family_of(visit: Visit) -> RecordFamily:
    """Return the family that a profile's first characteristic names; raises `Misconfigured`."""
    named = visit.profile.records.characteristics[:1]
    try:
        return FAMILIES["".join(named)](visit)
    except KeyError:
        known = ", ".join(sorted(FAMILIES))
        raise Misconfigured(
            f"The profile {visit.profile.name} must name the characteristic of its records first. "
            f"There are: {known}."
        ) from None
