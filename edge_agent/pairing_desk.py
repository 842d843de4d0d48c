"""The pairing desk: makes a device one of this home's, with an installer beside it, and lets it go again.

It runs inside the agent, which holds the radio and the file of devices; `edge-agent pair` speaks to it over
the control socket. A device that was bonded before is bonded anew only if the installer consents.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from device_drivers.catalogue import ADVERT_DRIVERS, SwitchedOff
from device_drivers.information import NOTHING_SAID, Information, read_information
from device_drivers.profile import Bond, DeviceProfile, Passkey
from edge_agent.conversation import KEEPS_BOND, Approach, Radio
from edge_agent.home import Home
from edge_agent.nearby import FRESH_S, Heard, Nearby
from edge_agent.pairing import ConsentNeeded, DeviceUser, KnownDevice, identity_of
from edge_agent.passkeys import PasskeySource, terms_of
from edge_agent.visit import Visitor
from wire_format.base import Utc
from wire_format.errors import Misconfigured, Rejected, Unreachable
from wire_format.statements import DeviceEventKind

REAPPEARS_S: Final = 30.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Offer:
    """A device on the air that a profile fits. `off` says why it cannot be paired: that profile is off."""

    heard: Heard
    profile: DeviceProfile
    ours: bool
    bonded: bool
    off: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What the installer asks for. `person` is the home's pseudonym; `since` None is now."""

    address: str
    person: str
    slot: int | None = None
    since: Utc | None = None
    replace_bond: bool = False


@dataclass(frozen=True, slots=True)
class PairingDesk:
    """Pairs and forgets, one device at a time."""

    home: Home
    radio: Radio
    visitor: Visitor
    nearby: Nearby
    reappears_s: float = REAPPEARS_S

    def offers(self) -> list[Offer]:
        """Return the devices on the air that could be paired, or are, the nearest first."""
        found = []
        for heard in self.nearby.now():
            try:
                profile = self._profile(heard)
            except SwitchedOff as error:
                found.append(self._offer(heard, error.profile, str(error)))
            else:
                found += [] if profile is None else [self._offer(heard, profile)]
        return found

    def _offer(self, heard: Heard, profile: DeviceProfile, off: str | None = None) -> Offer:
        devices, address = self.home.devices, heard.sighting.address
        known = devices.known.get(address)
        bonded = known is not None and known.bonded_at is not None
        return Offer(heard, profile, devices.is_ours(address), bonded, off)

    def _profile(self, heard: Heard) -> DeviceProfile | None:
        try:
            return self.home.catalogue.match(heard.sighting)
        except SwitchedOff:
            raise
        except Misconfigured:
            return None  # it fits two profiles alike; a visit says so in the log

    async def pair(self, order: Order, passkeys: PasskeySource) -> KnownDevice:
        """Make a device ours and say whose it is.

        Raises `ConsentNeeded`, `Misconfigured` (time unknown), `SwitchedOff`, `Unreachable` (not heard, or
        lost in mid-work) and `Rejected` (no profile fits).
        """
        user = self._user(order)
        heard = self.nearby.get(order.address, self.nearby.monotonic() - FRESH_S)
        if heard is None:
            raise Unreachable(
                f"{order.address} is not heard now: bring it near, take a measurement or put it into pairing "
                "mode, and try again."
            )
        profile = self._profile(heard)
        if profile is None:
            raise Rejected(f"No device profile fits {order.address}: this kind of device is not known.")
        if not await self._is_bonded(order, profile):
            heard = await self._cleared(order, heard)
            return await self._introduce(heard, profile, user, passkeys)
        return self._add_user(self.home.devices.known[order.address], user)

    def _user(self, order: Order) -> DeviceUser:
        since = order.since or self.home.clock.utc_if_known()
        if since is None:
            raise Misconfigured("The gateway does not know the time yet: wait for NTP, or give --since.")
        return DeviceUser(person=order.person, slot=order.slot, since=since)

    async def _is_bonded(self, order: Order, profile: DeviceProfile) -> bool:
        """Tell whether the bond there is will do. Raises `ConsentNeeded` if it will not."""
        known = self.home.devices.known.get(order.address)
        held = await self.radio.holds(order.address)
        needs = profile.link.bond in KEEPS_BOND
        sound = known is not None and known.bonded_at is not None and known.bond_lost_at is None
        if order.replace_bond or not needs:
            return False
        if held and sound:
            return True
        if held or (known is not None and known.bonded_at is not None):
            raise ConsentNeeded(
                f"There is an old bond with {order.address}: give --replace-bond if it is the right device."
            )
        return False

    async def _cleared(self, order: Order, heard: Heard) -> Heard:
        """Remove what bond there is; BlueZ forgets the device with it, so it must be heard again."""
        if not order.replace_bond or not await self.radio.holds(order.address):
            return heard
        await self.radio.remove_bond(order.address)
        self.nearby.forget(order.address)
        for _ in range(int(self.reappears_s / _POLL_S)):
            again = self.nearby.get(order.address, 0.0)
            if again is not None:
                return again
            await asyncio.sleep(_POLL_S)
        raise Unreachable(
            f"The old bond with {order.address} is removed, but it is not heard now: try again."
        )

    async def _introduce(
        self, heard: Heard, profile: DeviceProfile, user: DeviceUser, passkeys: PasskeySource
    ) -> KnownDevice:
        """Connect, bond, ask who it is, and write it down."""
        address, said, bonds = heard.sighting.address, NOTHING_SAID, False
        if profile.driver not in ADVERT_DRIVERS:
            bonds = profile.link.bond in KEEPS_BOND
            address, said = await self._meet(heard, profile, passkeys)
            profile = self.home.catalogue.confirmed(heard.sighting, said, profile)
        devices, now = self.home.devices, self.home.clock.now().utc
        identity = identity_of(said, address, profile)
        devices.remember(KnownDevice(address=address, identity=identity))
        device = devices.update(
            address,
            profile=profile.name,
            bonded_at=now if bonds else None,
            bond_lost_at=None,
            may_bond=False,
        )
        self.visitor.bonds.doctor.forget(address)
        device = self._add_user(device, user)
        self.home.tell(device, DeviceEventKind.PAIRED, f"profile {profile.name}, bonded: {bonds}")
        self.home.log.info("device_paired", device_id=device.identity.device_id, profile=profile.name)
        return device

    async def _meet(
        self, heard: Heard, profile: DeviceProfile, passkeys: PasskeySource
    ) -> tuple[str, Information]:
        link_of = profile.link
        approach = Approach(
            bonding=link_of.bond is not Bond.NEVER,
            first=link_of.bond in {Bond.BEFORE_CONNECT, Bond.PER_SESSION},
            terms=terms_of(link_of, None if link_of.passkey is Passkey.FIXED else passkeys),
        )
        async with self.visitor.reserved(heard.sighting.address) as connected, AsyncExitStack() as stack:
            async with self.radio.silence():
                link = await stack.enter_async_context(self.radio.open(heard.handle, approach))
            connected()
            await asyncio.sleep(link_of.settle_ms / 1000)
            if link_of.bond in KEEPS_BOND:
                await link.bond()
            return link.address, await read_information(link)

    def _add_user(self, device: KnownDevice, user: DeviceUser) -> KnownDevice:
        """Note who uses it from now on. Whoever used it until now keeps what was measured until now."""
        if any((u.person, u.slot, u.until) == (user.person, user.slot, None) for u in device.users):
            return device
        before = tuple(
            u.model_copy(update={"until": user.since}) if u.until is None and _same_slot(u, user) else u
            for u in device.users
        )
        return self.home.devices.update(device.address, users=(*before, user))

    async def forget(self, address: str) -> None:
        """Take a device off the list, and remove its bond. What it measured stays.

        Raises `Misconfigured` if it is not on the list or the configuration names it, `Unreachable` if its
        bond cannot be removed now: then it stays on the list.
        """
        device = self.home.devices.paired(address)
        await self.radio.remove_bond(address)
        self.home.devices.forget(device)
        self.visitor.bonds.doctor.forget(address)
        self.home.log.info("device_forgotten", device_id=device.identity.device_id)


def _same_slot(one: DeviceUser, other: DeviceUser) -> bool:
    """Tell whether both use the same slot; no slot means all of them."""
    return one.slot is None or other.slot is None or one.slot == other.slot
