"""Xiaomi S400: weigh-ins in encrypted advertisements, opened with the bind key of the configuration.

Two packets of one time make one reading: the weight (with pulse and impedance), and the second impedance.
Stepping off, another weigh-in, or silence make a weight final whose second packet did not come. A packet
that does not open is kept as it is, so many at most as `MAX_LOST`; if none opened, the visit ends by saying
what to do: the agent tells that once, and not with every advertisement.
"""

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from device_drivers.adverts import take_adverts
from device_drivers.driver import Visit
from device_drivers.link import AdvertLink
from device_drivers.profile import long_uuid
from device_drivers.readings import measurement, undecodable
from device_drivers.vendors.xiaomi import MiBeacon, NotOpened, WeighInObject
from wire_format.errors import MalformedPacket, Misconfigured
from wire_format.measurement import RawPacket

MAX_LOST: Final = 20
"""Packets of one visit that are kept although they were not understood."""

NO_KEY: Final = (
    "The scale encrypts its advertisements, and its bind key is not configured: write bind_key (32 hex "
    "digits) into its [[device]]."
)
WRONG_KEY: Final = (
    "Nothing that the scale advertises opens with its bind key: the key changes when the scale is added to "
    "an app again. Write the new bind_key into its [[device]]."
)
Part = tuple[WeighInObject, RawPacket]


class S400Protocol(BaseModel):
    """What a profile says: the product number in the beacon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: int = Field(ge=0, le=0xFFFF)


@dataclass(slots=True)
class _Weighing:
    visit: Visit
    product: int
    source: str
    ordinal: int = 0
    lost: int = 0
    opened: int = 0
    unopened: int = 0
    weight: Part | None = None
    second: Part | None = None
    committed: int | None = None

    def take(self, data: bytes) -> None:
        """Take one beacon; a reading that it makes whole is durable when this returns."""
        packet = RawPacket(source=self.source, data=data)
        try:
            found = self._object(data)
        except MalformedPacket as error:
            self.unopened += isinstance(error, NotOpened)
            self._keep(packet, str(error))
            return
        if found is not None:
            self._add(found, packet)

    def _object(self, data: bytes) -> WeighInObject | None:
        beacon = MiBeacon.from_bytes(data)
        if not beacon.has_object:
            return None
        if beacon.product != self.product:
            raise MalformedPacket(f"The product 0x{beacon.product:04X} is not this scale.")
        if not beacon.encrypted:
            return WeighInObject.from_bytes(beacon.rest)
        if self.visit.bind_key is None:
            raise NotOpened("It is encrypted, and there is no bind key.")
        plain = beacon.opened(self.visit.bind_key, self._address())
        self.opened += 1
        return WeighInObject.from_bytes(plain)

    def _address(self) -> bytes:
        address = self.visit.device.address
        if address is None:
            raise Misconfigured("The address of the scale is not known: pair it again.")
        return bytes.fromhex(address.replace(":", ""))[::-1]

    def _add(self, found: WeighInObject, packet: RawPacket) -> None:
        if found.time == self.committed:
            return
        halves = (self.weight, self.second)
        if any(half is not None and half[0].time != found.time for half in halves):
            self.finish()
        if found.stepped_off:
            self.finish()
        elif found.weight:
            self.weight = (found, packet)
        else:
            self.second = (found, packet)
        if self.weight and self.second:
            self.finish()

    def finish(self) -> None:
        """Commit what is there of a weigh-in: a reading if its weight came, else bytes."""
        weight, second = self.weight, self.second
        self.weight = self.second = None
        if weight is None:
            if second is not None:
                self._keep(second[1], "The packet with the weight did not come.")
            return
        parts = [weight] if second is None else [weight, second]
        self.ordinal += 1
        decoded = weight[0].decoded(second[0] if second else None, self.visit.profile.decode)
        raw = [packet for _, packet in parts]
        reading = measurement(self.visit, decoded, raw, self.visit.now(), self.ordinal)
        self.visit.sink.commit([reading])
        self.committed = weight[0].time or None

    def _keep(self, packet: RawPacket, reason: str) -> None:
        if self.lost < MAX_LOST:
            self.lost += 1
            self.ordinal += 1
            at = self.visit.now()
            self.visit.sink.commit([undecodable(self.visit, packet, reason, at, self.ordinal)])


class XiaomiS400:
    """The Xiaomi Body Composition Scale S400."""

    protocol = S400Protocol

    async def collect(self, link: AdvertLink, visit: Visit) -> None:
        """Commit each weigh-in until the scale is silent. See `AdvertDriver.collect`.

        Raises `Misconfigured` if there is no bind key, or if nothing opened with it.
        """
        (name,) = visit.profile.records.characteristics
        product = visit.profile.protocol_as(S400Protocol).product
        weighing = _Weighing(visit, product, f"advert:{name}")
        try:
            await take_adverts(link, long_uuid(name), weighing.take, visit.profile.records)
        finally:
            weighing.finish()
        if weighing.unopened and not weighing.opened:
            raise Misconfigured(NO_KEY if visit.bind_key is None else WRONG_KEY)
