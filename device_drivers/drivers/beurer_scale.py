"""Beurer's scales with a User Data Service: the standard services, and two wishes of their own.

After consent the scale sends compositions only once the user's profile was written and the database change
increment raised. What is written is what was read just before, byte by byte: nobody's profile is changed.

The scale lists its users on a characteristic of its own: written 00 it answers one packet a user, beginning
with 00, then 01; or 02 alone. A scale without users has lost its batteries for a while.
"""

import asyncio
from typing import Final

from pydantic import BaseModel, ConfigDict

from device_drivers.consent import ConsentDesk
from device_drivers.driver import Visit
from device_drivers.drivers.gatt_push import GattPush
from device_drivers.link import AttError, GattLink, uuid16
from device_drivers.profile import Uuid, long_uuid
from device_drivers.quantities.user_data import ChangeIncrement

INCREMENT: Final = uuid16(0x2A99)
LIST_S: Final = 2.0
_COMMITTED: Final = ChangeIncrement(1)
_ASK: Final = b"\x00"
_USER: Final = 0x00


class BeurerProtocol(BaseModel):
    """What differs between models: the characteristics of a user's profile, and where users are listed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: tuple[Uuid, ...]
    user_list: Uuid | None = None


class BeurerDesk(ConsentDesk):
    """The control point of such a scale."""

    def __init__(self, link: GattLink, visit: Visit) -> None:
        super().__init__(link, visit)
        self.protocol = visit.profile.protocol_as(BeurerProtocol)
        self._users = 0
        self._listed = asyncio.Event()

    async def open(self) -> None:
        """Listen to the control point; ask which users there are."""
        await super().open()
        name = self.protocol.user_list
        if name is None or long_uuid(name) not in self.link.characteristics():
            return
        try:
            await self.link.subscribe(long_uuid(name), self._user)
            await self.link.write(long_uuid(name), _ASK)
            async with asyncio.timeout(LIST_S):
                await self._listed.wait()
        except (AttError, TimeoutError):
            return  # it is asked for advice only: consent is asked for all the same

    async def admitted(self) -> None:
        """Write the user's profile as it is, then raise the increment."""
        offered = self.link.characteristics()
        for name in self.protocol.commit:
            if long_uuid(name) in offered:
                await self._confirm(long_uuid(name))
        if INCREMENT in offered:
            await self.link.write(INCREMENT, bytes(_COMMITTED))

    async def _confirm(self, name: str) -> None:
        """Write one characteristic as it is; one that may not be read or written is left alone."""
        try:
            stored = await self.link.read(name)
            if stored:
                await self.link.write(name, stored)
        except AttError:
            return

    def users_lost(self) -> bool:
        """Tell whether the list came, and was empty."""
        return self._listed.is_set() and not self._users

    def _user(self, data: bytes) -> None:
        if data[:1] == bytes([_USER]):
            self._users += 1
        else:
            self._listed.set()


class BeurerScale(GattPush):
    """Scales as the BF720."""

    protocol = BeurerProtocol

    def desk(self, link: GattLink, visit: Visit) -> ConsentDesk:
        """Return the one that knows Beurer's wishes."""
        return BeurerDesk(link, visit)
