"""A scale as Beurer's BF788: it lists its users, and composes nothing before a user's profile was confirmed.

Facts are those of `device_drivers.drivers.beurer_scale`; what is not known of such scales is not simulated.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import ClassVar, Final

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.date_time import DateTime
from device_drivers.quantities.body import BodyCompositionMeasurement
from virtual_home.devices.composition_scale import CompositionScale
from virtual_home.devices.peripheral import READABLE, WRITEABLE, Entry, Properties
from wire_format.nomenclature import Term

_PROFILE: Final = {0x2A85: b"\xbc\x07\x01\x01", 0x2A8C: b"\x00", 0x2A8E: b"\xaa\x00", 0xFFF3: b"\x03"}
CONFIRMED_S: Final = 1.0
_PLACEHOLDER: Final = BodyCompositionMeasurement(
    0x208, 0, fields=((Term.BASAL_METABOLISM, 9110), (Term.IMPEDANCE, 0))
)


class BeurerScale(CompositionScale):
    """Its compositions have neither time nor user: those are in the weight before them.

    `changed` says what was written into the user's profile that was not there before. `forget_bonds` is a
    change of batteries: it loses its users too.
    """

    services: ClassVar[tuple[int, ...]] = (0x181D,)

    def build(self) -> Iterable[Service]:
        """Return the standard services, and the maker's own."""
        self.values = dict(_PROFILE)
        self.changed: list[int] = []
        self.confirmed: set[int] = set()
        self.raised = asyncio.Event()
        self.users = 1
        *others, users = super().build()
        self.list = self.secured(0xFFF2, Properties.WRITE | Properties.NOTIFY)
        self.list.permissions = WRITEABLE
        self.list.value = CharacteristicValue(write=self._listed)
        increment = CharacteristicValue[bytes](write=self._raised)
        kept = [self._kept(uuid) for uuid in (0x2A85, 0x2A8C, 0x2A8E)]
        increased: Characteristic[bytes] = Characteristic(
            UUID.from_16_bits(0x2A99), Properties.WRITE, WRITEABLE, increment
        )
        return [
            *others,
            Service(users.uuid, [self.control, *kept, increased]),
            Service(UUID.from_16_bits(0xFFF0), [self.list, self._kept(0xFFF3)]),
        ]

    async def forget_bonds(self) -> None:
        """Lose keys and users, as after a change of batteries."""
        await super().forget_bonds()
        self.users = 0

    def composed(self, stamp: DateTime | None, user: int, fat: int) -> BodyCompositionMeasurement:
        """Return a composition without time and user."""
        del stamp, user
        return BodyCompositionMeasurement(
            0x208, fat, fields=((Term.BASAL_METABOLISM, 9110), (Term.IMPEDANCE, 3925))
        )

    async def admitted(self) -> None:
        """Wait for the profile to be confirmed, for a while."""
        self.confirmed.clear()
        self.raised.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(CONFIRMED_S):
                await self.raised.wait()

    def said(self, entry: Entry) -> bytes:
        """Return what is sent of a reading: of a composition a placeholder, if nothing was confirmed."""
        weight = bool(entry.number % 2)
        return bytes.fromhex(entry.packet) if weight or self.raised.is_set() else bytes(_PLACEHOLDER)

    def _kept(self, uuid: int) -> Characteristic[bytes]:
        def read(_connection: Connection) -> bytes:
            return self.values[uuid]

        def write(_connection: Connection, value: bytes) -> None:
            self.confirmed.add(uuid)
            if bytes(value) != self.values[uuid]:
                self.changed.append(uuid)

        access = CharacteristicValue(read=read, write=write)
        return Characteristic(
            UUID.from_16_bits(uuid), Properties.READ | Properties.WRITE, READABLE | WRITEABLE, access
        )

    def _raised(self, _connection: Connection, _value: bytes) -> None:
        if self.confirmed == set(self.values):
            self.raised.set()

    def _listed(self, connection: Connection, _value: bytes) -> None:
        self.spawn(self._tell_users(connection))

    async def _tell_users(self, connection: Connection) -> None:
        packets = [b"\x00\x01", b"\x01"] if self.users else [b"\x02"]
        for packet in packets:
            await self.device.notify_subscriber(connection, self.list, packet)
