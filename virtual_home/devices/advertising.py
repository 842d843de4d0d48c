"""Scales that are never connected: they advertise what they measured, one state after the other."""

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from hashlib import sha256
from typing import ClassVar, Final

from bumble.core import UUID, AdvertisingData
from bumble.device import AdvertisingType, Connection
from bumble.gatt import Service

from device_drivers.date_time import DateTime
from device_drivers.vendors.xiaomi import ENCRYPTED, OBJECT, Layout, MiBeacon, WeighInFrame, WeighInObject
from virtual_home.devices.peripheral import Entry, Fate, Peripheral

FRAME_S: Final = 0.25
"""How long each state is advertised; the last one until the scale falls silent."""

_STEP: Final = Decimal("0.005")
_UNSET: Final = dt.datetime(1970, 3, 1, 12)  # noqa: DTZ001 - a device clock has no zone


def bind_key(address: str) -> bytes:
    """Return the invented key that the virtual S400 of this address seals with."""
    return sha256(f"virtual bind key of {address}".encode()).digest()[:16]


class Advertising(Peripheral):
    """Advertises its states, and lets nobody connect.

    Bumble's virtual link has no scan responses: the name stands in the advertisement itself.
    """

    services = ()
    uuid: ClassVar[int]
    final: ClassVar[int] = -1

    def build(self) -> Iterable[Service]:
        """Return no service."""
        self.frames: Sequence[bytes] = ()
        return []

    async def shown(self, frames: Sequence[bytes]) -> Entry:
        """Advertise frames one after the other; the one that is the result goes into the ledger."""
        self.frames = frames
        return await self.measured(frames[self.final])

    async def advertise(self) -> None:
        """Advertise all states of the last measurement, anew from now."""
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.create_task(self._show(self.ledger[-1], self.frames))

    async def _show(self, entry: Entry, frames: Sequence[bytes]) -> None:
        for frame in frames:
            await self.device.start_advertising(
                advertising_type=AdvertisingType.UNDIRECTED, advertising_data=self._said(frame)
            )
            await asyncio.sleep(FRAME_S)
        entry.fate, entry.sent_times = Fate.SENT, entry.sent_times + 1
        self.tell("sent", entry)
        await self._fall_silent()

    def _said(self, frame: bytes) -> bytes:
        service = UUID.from_16_bits(self.uuid).to_bytes()
        kinds = AdvertisingData
        return bytes(
            AdvertisingData(
                [
                    (kinds.FLAGS, b"\x04"),
                    (kinds.SERVICE_DATA_16_BIT_UUID, service + frame),
                    (kinds.COMPLETE_LOCAL_NAME, self.spec.name.encode()),
                ]
            )
        )

    def _connected(self, connection: Connection) -> None:
        super()._connected(connection)
        self._refusing = asyncio.create_task(self._refuse(connection))

    async def _refuse(self, connection: Connection) -> None:
        with suppress(Exception):  # it is gone already
            await connection.disconnect()


class MiScale(Advertising):
    """Xiaomi Mi Smart Scale: four frames in a weigh-in."""

    uuid = 0x181D
    final = 1
    layout: ClassVar[Layout] = Layout.WEIGHT

    async def measure(self, *, weight: Decimal) -> Entry:
        """Weigh: kg."""
        states = ((0x02, weight - 20), (0x22, weight), (0xA2, weight), (0x82, Decimal("0.1")))
        return await self.shown([self.frame(control, kg) for control, kg in states])

    def frame(self, control: int, weight: Decimal, impedance: int = 0) -> bytes:
        """Return one frame; a clock that was never set has run on from 1970."""
        unset = DateTime.of(_UNSET + dt.timedelta(minutes=len(self.ledger)))
        raw = int(weight / _STEP)
        return bytes(WeighInFrame(self.layout, control, raw, self.clock.stamp() or unset, impedance))


class MiCompositionScale(MiScale):
    """Xiaomi Mi Body Composition Scale: the impedance comes later than the weight."""

    uuid = 0x181B
    final = 2
    layout = Layout.COMPOSITION

    async def measure(self, *, weight: Decimal, impedance: Decimal = Decimal(500)) -> Entry:
        """Weigh: kg, and ohm."""
        ohm = int(impedance)
        states = ((0x0402, weight - 20, 0), (0x2402, weight, 0), (0x2602, weight, ohm), (0xA602, weight, ohm))
        return await self.shown([self.frame(*state) for state in states])


class S400(Advertising):
    """Xiaomi S400: presence, then two sealed packets, then stepping off."""

    uuid = 0xFE95
    final = 1
    product: ClassVar[int] = 0x3BD5

    async def measure(
        self,
        *,
        weight: Decimal,
        pulse: Decimal = Decimal(72),
        impedance: Decimal = Decimal("480.5"),
        second: Decimal = Decimal("440.1"),
    ) -> Entry:
        """Weigh: kg, beats per minute, and ohm at two frequencies."""
        time = int(self.clock.now().timestamp())
        objects = (
            WeighInObject(1, int(weight * 10), int(pulse) - 50, int(impedance * 10), time),
            WeighInObject(1, 0, 0, int(second * 10), time),
            WeighInObject(1, 0, 0, 0, time),
        )
        presence = bytes(MiBeacon(0x5A30, self.product, 0, self._lowest_first(), 8, b""))
        return await self.shown([presence, *(self._sealed(one, n) for n, one in enumerate(objects))])

    def _lowest_first(self) -> bytes:
        return bytes.fromhex(self.spec.address.replace(":", ""))[::-1]

    def _sealed(self, one: WeighInObject, number: int) -> bytes:
        counter = len(self.ledger) * 4 + number + 1
        head = MiBeacon(0x5900 | OBJECT | ENCRYPTED, self.product, counter & 0xFF, None, None, b"")
        key, extended = bind_key(self.spec.address), (counter >> 8).to_bytes(3, "little")
        return bytes(head.sealed(key, self._lowest_first(), bytes(one), extended))
