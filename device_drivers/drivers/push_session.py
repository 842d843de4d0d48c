"""What becomes of the packets that a device pushes: one visit's readings, as they come.

Most packets are readings of their own. Some are half of one (`more_follows`); some have their time and user
in the packet before them (`records.paired`); of a stream only some are kept (`records.every_s`); and some
are placeholders in which nothing was measured (`decode.derived`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from device_drivers.decoded import Decoded
from device_drivers.decoding import join
from device_drivers.decoding_streams import STREAMS
from device_drivers.device_time import ClockComparison
from device_drivers.driver import Reading, Visit
from device_drivers.events import device_event
from device_drivers.profile import Decode
from device_drivers.readings import decode_packet, measurement, undecodable
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, RawPacket, Remark
from wire_format.statements import DeviceEventKind

_NS: Final = 1_000_000_000


@dataclass(slots=True)
class Stream:
    """Which packets of a stream are kept: one in `every_s` seconds, and those out of the device's memory.

    A provisional one (early estimate, no valid value, test data) is not kept; the next settled one is.
    """

    every_s: int | None
    heard: int = 0
    kept: int = 0
    _reading_due_ns: int | None = None
    _stray_due_ns: int | None = None

    def wants(self, source: str, decoded: Decoded, now_ns: int) -> bool:
        """Tell whether a packet becomes a reading."""
        if self.every_s is None or source not in STREAMS or Remark.STORED_RECORD in decoded.remarks:
            return True
        self.heard += 1
        early = self._reading_due_ns is not None and now_ns < self._reading_due_ns
        if decoded.provisional or early:
            return False
        self._reading_due_ns = now_ns + self.every_s * _NS
        self.kept += 1
        return True

    def wants_stray(self, source: str, now_ns: int) -> bool:
        """Tell whether bytes that cannot be decoded are kept: of a stream as seldom as readings."""
        if self.every_s is None or source not in STREAMS:
            return True
        if self._stray_due_ns is not None and now_ns < self._stray_due_ns:
            return False
        self._stray_due_ns = now_ns + self.every_s * _NS
        return True


@dataclass(slots=True)
class Partner:
    """The last packet with a time stamp: the one after it, of another characteristic, may go with it."""

    said: Decoded | None = None
    packet: RawPacket | None = None
    taken_by: RawPacket | None = None

    def note(self, decoded: Decoded, packet: RawPacket) -> None:
        """Remember a packet that has a time stamp."""
        if decoded.stamp is not None:
            self.said, self.packet, self.taken_by = decoded, packet, None

    def forget(self) -> None:
        """Something was lost in between: what comes next may go with what did not arrive."""
        self.said = self.packet = self.taken_by = None

    def complete(self, decoded: Decoded, raw: tuple[RawPacket, ...]) -> tuple[Decoded, tuple[RawPacket, ...]]:
        """Return a packet with time and user of the one before it; each lends them to one packet only."""
        if self.said is None or self.packet is None or decoded.stamp is not None:
            return decoded, raw
        if self.packet.source == raw[0].source or self.taken_by not in {None, raw[0]}:
            return decoded, raw
        self.taken_by = raw[0]
        user = self.said.user if decoded.user is None else decoded.user
        return replace(decoded, stamp=self.said.stamp, user=user), (*raw, self.packet)


def is_placeholder(decoded: Decoded, decode: Decode) -> bool:
    """Tell whether a packet has nothing but what the device works out without measuring."""
    derived = [c for c in decoded.components if c.term in decode.derived]
    others = [c for c in decoded.components if c.term not in decode.derived]
    return bool(derived and others) and all(c.absent is Absent.NOT_MEASURED for c in others)


@dataclass(slots=True)
class PushSession:
    """The packets of one visit, until they are committed. `subscribed` are the characteristics so far."""

    visit: Visit
    stream: Stream
    comparison: ClockComparison | None = None
    ordinal: int = 0
    partial: tuple[Decoded, RawPacket] | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    subscribed: set[str] = field(default_factory=set)
    _partner: Partner = field(default_factory=Partner)
    _placeholders: set[bytes] = field(default_factory=set)

    @classmethod
    def of(cls, visit: Visit) -> "PushSession":
        """Return the session of a visit."""
        return cls(visit, Stream(visit.profile.records.every_s))

    def handler(self, source: str) -> Callable[[bytes], None]:
        """Return the handler of one characteristic."""
        return lambda data: self.take(RawPacket(source=source, data=data))

    def take(self, packet: RawPacket) -> None:
        """Decode and commit one packet. Durable when this returns."""
        readings = self._readings(packet)
        if readings:
            self.visit.sink.commit(readings)
        self.heard.set()

    def next_person(self) -> None:
        """Forget halves of what was measured so far: what comes now is another person's."""
        self._partner.forget()
        lost = self.give_up_partial()
        if lost:
            self.visit.sink.commit(lost)

    def finish(self) -> None:
        """Commit what is left at the end of the visit, and say how a stream was thinned."""
        rest = [*self.give_up_partial(), *self._thinned()]
        if rest:
            self.visit.sink.commit(rest)

    def give_up_partial(self) -> list[Reading]:
        """Return the first half of a measurement whose second half did not come: bytes, and no reading.

        The device may send the whole again; half a reading beside the whole one would be a second reading.
        """
        if self.partial is None:
            return []
        _, packet = self.partial
        self.partial = None
        return [self._lost(packet, "The second packet of this measurement did not come.")]

    def _readings(self, packet: RawPacket) -> list[Reading]:
        try:
            decoded = decode_packet(self.visit, packet)
        except MalformedPacket as error:
            self._partner.forget()
            wanted = self.stream.wants_stray(packet.source, self.visit.now().monotonic_ns)
            lost = [self._lost(packet, str(error))] if wanted else []
            return [*self.give_up_partial(), *lost]
        if self.partial is not None and packet.source == self.partial[1].source:
            first, raw = self.partial
            if packet == raw:
                return []  # the first half once more, not the second
            self.partial = None
            return self._whole(join(first, decoded, self.visit.profile.decode), (raw, packet))
        if decoded.more_follows:
            self.partial = (decoded, packet)
            return []
        return self._whole(decoded, (packet,))

    def _whole(self, decoded: Decoded, raw: tuple[RawPacket, ...]) -> list[Reading]:
        profile = self.visit.profile
        if profile.records.paired:
            self._partner.note(decoded, raw[0])
            decoded, raw = self._partner.complete(decoded, raw)
        if is_placeholder(decoded, profile.decode):
            return self._placeholder(raw[0])
        if not self.stream.wants(raw[0].source, decoded, self.visit.now().monotonic_ns):
            return []
        self.ordinal += 1
        return [measurement(self.visit, decoded, raw, self.visit.now(), self.ordinal, self.comparison)]

    def _placeholder(self, packet: RawPacket) -> list[Reading]:
        """Keep a placeholder's bytes once a visit: it says nothing, and is sent for each stored record."""
        if packet.data in self._placeholders:
            return []
        self._placeholders.add(packet.data)
        return [self._lost(packet, "A placeholder: nothing in it was measured.")]

    def _lost(self, packet: RawPacket, reason: str) -> Reading:
        self.ordinal += 1
        return undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal)

    def _thinned(self) -> list[Reading]:
        visit, stream = self.visit, self.stream
        if stream.heard == stream.kept:
            return []
        detail = f"{stream.heard} readings were heard, {stream.kept} kept: one in {stream.every_s} s."
        return [device_event(visit, DeviceEventKind.STREAM_THINNED, detail=detail)]
