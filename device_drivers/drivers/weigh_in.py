"""Scales that tell a weigh-in in several frames: Mi Scale 1 and 2, in advertisements and over GATT.

What is final, of the frames of one weigh-in:
1. A frame that is not stable is never a reading. It begins a new weigh-in.
2. A stable frame is final at once, if the scale measures no impedance or has measured it.
3. Else it waits for the impedance. Stepping off, a new weigh-in, or silence make it final as it is.
4. Frames of a weigh-in that was committed say nothing new.
5. A result whose person was not seen on the scale in this visit may be an old one, advertised again: it is
   marked as a stored record, and its arrival does not date it.
Frames that are not understood are kept as they are, so many at most as `MAX_LOST`.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict

from device_drivers.adverts import take_adverts
from device_drivers.clock_sync import compare_clock
from device_drivers.device_time import ClockComparison
from device_drivers.driver import Visit
from device_drivers.link import AdvertLink, GattLink
from device_drivers.profile import long_uuid
from device_drivers.readings import measurement, undecodable
from device_drivers.silence import until_silent
from device_drivers.vendors.xiaomi import Layout, WeighInFrame
from wire_format.errors import MalformedPacket
from wire_format.measurement import RawPacket

MAX_LOST: Final = 20
"""Frames of one visit that are kept although nobody understands them."""

Told = tuple[WeighInFrame, RawPacket]


class MiScaleProtocol(BaseModel):
    """What a profile says of the frames: the layout of Mi Scale 1 (10 bytes) or 2 (13 bytes)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    composition: bool

    @property
    def layout(self) -> Layout:
        """The layout of the frames."""
        return Layout.COMPOSITION if self.composition else Layout.WEIGHT


@dataclass(slots=True)
class WeighIns:
    """The frames of one visit, and what became of them."""

    visit: Visit
    layout: Layout
    source: str
    comparison: ClockComparison | None = None
    ordinal: int = 0
    lost: int = 0
    waiting: Told | None = None
    committed: WeighInFrame | None = None
    over: bool = False
    watched: bool = False
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, data: bytes) -> None:
        """Take one frame; a reading that it makes final is durable when this returns."""
        packet = RawPacket(source=self.source, data=data)
        self.heard.set()
        try:
            frame = WeighInFrame.from_bytes(data, self.layout)
        except MalformedPacket as error:
            self._keep(packet, str(error))
            return
        if not frame.removed:
            self._on_scale(frame, packet)
        elif frame.stable:
            self._stepped_off(frame, packet)

    def _on_scale(self, frame: WeighInFrame, packet: RawPacket) -> None:
        if self.over or not frame.stable:
            self.finish()
            self.committed, self.over = None, False
        self.watched = True
        if not frame.stable or self._known(frame):
            return
        if frame.awaits_impedance:
            self.waiting = (frame, packet)
        else:
            self.waiting = None
            self._commit(frame, packet)

    def _stepped_off(self, frame: WeighInFrame, packet: RawPacket) -> None:
        if self.waiting is not None and (frame.awaits_impedance or not self.waiting[0].same_result(frame)):
            self.finish()
        self.waiting = None
        if not self._known(frame):
            self._commit(frame, packet)
        self.over, self.watched = True, False

    def _known(self, frame: WeighInFrame) -> bool:
        return self.committed is not None and self.committed.same_result(frame)

    def finish(self) -> None:
        """Commit the result that waits for an impedance which will not come any more."""
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            self._commit(*waiting)

    def _commit(self, frame: WeighInFrame, packet: RawPacket) -> None:
        self.ordinal += 1
        reading = measurement(
            self.visit,
            frame.decoded(self.visit.profile.decode),
            (packet,),
            self.visit.now(),
            self.ordinal,
            self.comparison,
            stored=not self.watched,
        )
        self.visit.sink.commit([reading])
        self.committed = frame

    def _keep(self, packet: RawPacket, reason: str) -> None:
        if self.lost < MAX_LOST:
            self.lost += 1
            self.ordinal += 1
            at = self.visit.now()
            self.visit.sink.commit([undecodable(self.visit, packet, reason, at, self.ordinal)])


def _weigh_ins(visit: Visit, source: str) -> WeighIns:
    return WeighIns(visit, visit.profile.protocol_as(MiScaleProtocol).layout, source)


class MiScaleAdvert:
    """Mi Scale 1 and 2 by their advertisements: nothing is connected."""

    protocol = MiScaleProtocol

    async def collect(self, link: AdvertLink, visit: Visit) -> None:
        """Commit each weigh-in until the scale is silent. See `AdvertDriver.collect`."""
        (name,) = visit.profile.records.characteristics
        weigh_ins = _weigh_ins(visit, f"advert:{name}")
        try:
            await take_adverts(link, long_uuid(name), weigh_ins.take, visit.profile.records)
        finally:
            weigh_ins.finish()


class MiScaleGatt:
    """Mi Scale 2 by the same frames in a characteristic."""

    protocol = MiScaleProtocol

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Commit each weigh-in until the scale is silent or gone. See `Driver.collect`."""
        (name,) = visit.profile.records.characteristics
        weigh_ins = _weigh_ins(visit, name)
        weigh_ins.comparison = await compare_clock(link, visit)
        await link.subscribe(long_uuid(name), weigh_ins.take)
        records = visit.profile.records
        try:
            async with asyncio.timeout(float(records.overall_s)):
                await until_silent(link, weigh_ins.heard, float(records.first_s), float(records.idle_s))
        except TimeoutError:
            return  # it talks without end: what was said is committed, the rest comes with the next visit
        finally:
            weigh_ins.finish()
