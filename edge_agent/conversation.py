"""One visit to one device: connect, bond, ask who it is, read. What it brought is durable when it returns."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

from device_drivers.catalogue import advert_driver_of, driver_of
from device_drivers.information import NOTHING_SAID, Information, ask_information
from device_drivers.link import GattLink, Sighting
from device_drivers.profile import Bond, DeviceProfile
from edge_agent.advert_link import Adverts
from edge_agent.bonds import Bonds, BondStore
from edge_agent.home import Home
from edge_agent.pairing import KnownDevice, identity_of
from edge_agent.passkeys import PairingTerms, terms_of
from edge_agent.steps import Step
from wire_format.errors import Unreachable

GRACE_S: Final = 60.0
"""What a driver may take beyond its profile's own limit before it is ended."""

KEEPS_BOND: Final = frozenset({Bond.BEFORE_CONNECT, Bond.BEFORE_SUBSCRIBING, Bond.ON_DEMAND})


class OpenLink(GattLink, Protocol):
    """A link as the radio gives it: it can bond, and tell what a handler raised."""

    @property
    def address(self) -> str:
        """The device's identity address, as far as it is known; bonding may tell it."""
        ...

    @property
    def encrypted(self) -> bool:
        """Whether both sides proved their keys on this link."""
        ...

    async def bond(self) -> None:
        """Bond, or encrypt with the bond there is."""
        ...

    def raise_failure(self) -> None:
        """Raise what a handler raised, if one did."""
        ...


@dataclass(frozen=True, slots=True)
class Approach:
    """How to connect. `held`: this side holds a bond. `first`: bond before services are asked for."""

    bonding: bool
    held: bool = False
    first: bool = False
    terms: PairingTerms = field(default_factory=PairingTerms)
    patience_s: float | None = None


class Radio(BondStore, Protocol):
    """How a device that was heard is connected to. `handle` is what the scanner heard it as."""

    def open(self, handle: object, approach: Approach) -> AbstractAsyncContextManager[OpenLink]:
        """Connect; raises `LinkLost`."""
        ...

    def silence(self) -> AbstractAsyncContextManager[None]:
        """Keep the scanner silent meanwhile."""
        ...


@dataclass(slots=True)
class Call:
    """One visit as it goes. `connected` is to be called as soon as the connection stands, or failed."""

    sighting: Sighting
    handle: object
    profile: DeviceProfile
    connected: Callable[[], None]
    patience_s: float | None = None
    number: int = 0
    held: bool = False
    encrypted: bool = False
    device: KnownDevice | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Carries visits out, over the radio or over advertisements."""

    home: Home
    radio: Radio
    bonds: Bonds

    async def read(self, call: Call) -> int:
        """Carry out one visit; return how many readings were new."""
        home, link_of = self.home, call.profile.link
        call.held = await self.bonds.admit(call.sighting.address, call.profile)
        async with AsyncExitStack() as stack:
            link = await self._connect(call, stack)
            home.observer(Step.CONNECTED, {"profile": call.profile.name, "visit": call.number})
            await asyncio.sleep(link_of.settle_ms / 1000)
            # A device that was bonded must prove it, also if it would tell its readings to anybody.
            if link_of.bond not in {Bond.NEVER, Bond.ON_DEMAND} or call.held:
                await link.bond()
            before = home.devices.known.get(call.sighting.address)
            said = await ask_information(link, link_of, None if before is None else before.identity)
            profile = home.catalogue.confirmed(call.sighting, said, call.profile)
            device = self.known(call.sighting.address, said, profile)
            if link.encrypted and link_of.bond in KEEPS_BOND:
                device = self.bonds.proved(device)
            call.device = device
            sink = home.sink_of(device)
            visit = home.visit_to(device, profile, call.number, sink, said.firmware)
            async with asyncio.timeout(float(profile.records.overall_s) + GRACE_S):
                await driver_of(profile).collect(link, visit)
            call.encrypted = link.encrypted and link_of.bond in KEEPS_BOND
            link.raise_failure()
        if link_of.bond is Bond.PER_SESSION:
            await self.radio.remove_bond(call.sighting.address)
        return sink.sealed

    async def _connect(self, call: Call, stack: AsyncExitStack) -> OpenLink:
        """Connect while the scanner is silent; it listens again as soon as the connection stands."""
        link_of = call.profile.link
        approach = Approach(
            bonding=link_of.bond is not Bond.NEVER,
            held=call.held,
            first=link_of.bond in {Bond.BEFORE_CONNECT, Bond.PER_SESSION},
            terms=terms_of(link_of),
            patience_s=call.patience_s,
        )
        try:
            async with self.radio.silence():
                return await stack.enter_async_context(self.radio.open(call.handle, approach))
        finally:
            call.connected()

    async def listen(self, call: Call, adverts: Adverts) -> int:
        """Take what a device advertises until it is silent; return how many readings were new."""
        call.device = device = self.known(call.sighting.address, NOTHING_SAID, call.profile)
        sink = self.home.sink_of(device)
        visit = self.home.visit_to(device, call.profile, call.number, sink)
        async with asyncio.timeout(float(call.profile.records.overall_s) + GRACE_S):
            await advert_driver_of(call.profile).collect(adverts, visit)
        return sink.sealed

    def known(self, address: str, said: Information, profile: DeviceProfile) -> KnownDevice:
        """Return who the device is; the first visit mints its identity, later ones never do."""
        devices = self.home.devices
        known = devices.known.get(address)
        if known is not None:
            return known
        now = self.home.clock.utc_if_known()
        adopted = not devices.is_named(address)
        if adopted and now is None:
            raise Unreachable("A device is adopted only when the time is known: see [clock].")
        identity = identity_of(said, address, profile)
        device = KnownDevice(
            address=address, identity=identity, profile=profile.name, adopted_at=now if adopted else None
        )
        devices.remember(device)
        self.home.log.info("device_known", device_id=identity.device_id, profile=profile.name)
        return device
