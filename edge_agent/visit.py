"""Visits: whom to connect to, when, and one at a time. Whatever a device does, the agent goes on.

A device rests after a visit that brought nothing new, longer each time; one that was silent and is heard
again has measured, and is visited at once.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from device_drivers.catalogue import ADVERT_DRIVERS, Catalogue, advert_driver_of, driver_of
from device_drivers.driver import RecordCursor, Visit
from device_drivers.information import NOTHING_SAID, Information, read_information
from device_drivers.link import GattLink, Sighting
from device_drivers.profile import Bond, DeviceProfile
from edge_agent.advert_link import Adverts
from edge_agent.clock import GatewayClock, zone_offset_minutes
from edge_agent.config import Visits
from edge_agent.outbox import Outbox
from edge_agent.outbox_schema import OutboxFull
from edge_agent.pairing import Devices, KnownDevice, identity_of
from edge_agent.sink import GatewayVoice, OutboxSink, Sealer
from edge_agent.steps import Step, StepObserver
from service_kit.log import Log
from wire_format.errors import KitelineError, Misconfigured, Unreachable
from wire_format.identity import derived_id
from wire_format.statements import DeviceEvent, DeviceEventKind, GatewayEventKind

SILENCE_S: Final = 10.0
"""Heard again after so long a silence, a device has begun to advertise anew."""

GRACE_S: Final = 60.0
"""What a driver may take beyond its profile's own limit before it is ended."""

MAX_PLACES: Final = 1000


class OpenLink(GattLink, Protocol):
    """A link as the radio gives it: it can bond, and tell what a handler raised."""

    async def bond(self) -> None:
        """Bond, or encrypt with the bond there is."""
        ...

    def raise_failure(self) -> None:
        """Raise what a handler raised, if one did."""
        ...


class Radio(Protocol):
    """How a device that was heard is connected to. `handle` is what the scanner heard it as."""

    def open(self, handle: object, *, bonding: bool) -> AbstractAsyncContextManager[OpenLink]:
        """Connect; raises `LinkLost`."""
        ...

    def silence(self) -> AbstractAsyncContextManager[None]:
        """Keep the scanner silent meanwhile."""
        ...


@dataclass(slots=True)
class _Place:
    """What is remembered of one device between its visits. Times are monotonic seconds."""

    visiting: bool = False
    last_heard: float = float("-inf")
    rests_until: float = 0.0
    fruitless: int = 0
    failures: int = 0
    adverts: Adverts | None = None


@dataclass(frozen=True, slots=True)
class Home:
    """All that a visit needs to know of this gateway."""

    software: str
    clock: GatewayClock
    zone_offset_minutes: int | None
    outbox: Outbox
    sealer: Sealer
    voice: GatewayVoice
    devices: Devices
    catalogue: Catalogue
    patience: Visits
    log: Log
    observer: StepObserver


@dataclass(slots=True)
class Visitor:
    """Decides about each advertisement, and carries out the visits as tasks that `spawn` starts."""

    home: Home
    radio: Radio
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    monotonic: Callable[[], float] = time.monotonic
    _places: dict[str, _Place] = field(default_factory=dict)
    _connecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _full: bool = False
    _ambiguous: set[str] = field(default_factory=set)

    def heard(self, sighting: Sighting, handle: object) -> None:
        """Take an advertisement. Called for each one, many times a second: quick, and it never raises."""
        place = self._places.get(sighting.address)
        if place is not None and place.adverts is not None:
            # Also one that by itself would fit no profile: a name is not in every advertisement.
            place.adverts.heard(sighting)
        if place is None and not self.home.devices.is_ours(sighting.address):
            return
        profile = self._profile(sighting)
        if profile is None:
            return
        if place is None:
            place = self._new_place(sighting.address)
        now = self.monotonic()
        if now - place.last_heard > SILENCE_S:
            place.fruitless, place.rests_until = 0, now
        place.last_heard = now
        if place.visiting or now < place.rests_until:
            return
        place.visiting = True
        self.home.observer(Step.SIGHTED, {"profile": profile.name})
        self.spawn(self._visit(sighting, handle, profile, place))

    def _new_place(self, address: str) -> _Place:
        if len(self._places) >= MAX_PLACES:
            self._places = {a: p for a, p in self._places.items() if p.visiting}
        return self._places.setdefault(address, _Place())

    def _profile(self, sighting: Sighting) -> DeviceProfile | None:
        try:
            return self.home.catalogue.match(sighting)
        except Misconfigured:
            if sighting.address not in self._ambiguous and len(self._ambiguous) < MAX_PLACES:
                self._ambiguous.add(sighting.address)
                self.home.log.warning("profiles_ambiguous", count=len(self._ambiguous))
            return None

    async def _visit(self, sighting: Sighting, handle: object, profile: DeviceProfile, place: _Place) -> None:
        started, address = self.monotonic(), sighting.address
        try:
            if profile.driver in ADVERT_DRIVERS:
                fresh = await self._listen(sighting, profile, place)
            else:
                fresh = await self._read(sighting, handle, profile)
        except OutboxFull as error:
            self._refuse(place, error)
        except (KitelineError, TimeoutError) as error:
            self._failed(address, profile, place, error)
        except Exception as error:  # noqa: BLE001 - one strange device never takes the agent down
            self._failed(address, profile, place, error)
        else:
            self._succeeded(profile, place, fresh)
        finally:
            place.visiting = False
            place.last_heard = max(place.last_heard, self.monotonic())
            self.home.observer(
                Step.VISIT_ENDED, {"profile": profile.name, "seconds": self.monotonic() - started}
            )

    async def _read(self, sighting: Sighting, handle: object, profile: DeviceProfile) -> int:
        """Carry out one visit; return how many readings were new."""
        home = self.home
        number = self._visit_number()
        bonding = profile.link.bond is not Bond.NEVER
        async with AsyncExitStack() as stack:
            async with self._connecting, self.radio.silence():
                link = await stack.enter_async_context(self.radio.open(handle, bonding=bonding))
            home.observer(Step.CONNECTED, {"profile": profile.name, "visit": number})
            await asyncio.sleep(profile.link.settle_ms / 1000)
            if bonding and profile.link.bond is not Bond.ON_DEMAND:
                await link.bond()
            said = await read_information(link)
            profile = home.catalogue.match(sighting, said) or profile
            device = self._known(sighting.address, said, profile)
            sink = self._sink(device)
            visit = self._prepared(said.firmware, device, profile, number, sink)
            async with asyncio.timeout(float(profile.records.overall_s) + GRACE_S):
                await driver_of(profile).collect(link, visit)
            link.raise_failure()
            return sink.sealed

    async def _listen(self, sighting: Sighting, profile: DeviceProfile, place: _Place) -> int:
        """Take what a device advertises until it is silent; return how many readings were new."""
        number = self._visit_number()
        device = self._known(sighting.address, NOTHING_SAID, profile)
        sink = self._sink(device)
        visit = self._prepared(None, device, profile, number, sink)
        place.adverts = Adverts(sighting)
        try:
            async with asyncio.timeout(float(profile.records.overall_s) + GRACE_S):
                await advert_driver_of(profile).collect(place.adverts, visit)
        finally:
            place.adverts = None
        return sink.sealed

    def _visit_number(self) -> int:
        """Return the number of a new visit; raises `OutboxFull` where nothing could be kept of it."""
        self.home.outbox.check_room()
        self._full = False
        return self.home.outbox.take_visit_number()

    def _known(self, address: str, said: Information, profile: DeviceProfile) -> KnownDevice:
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
        device = KnownDevice(address=address, identity=identity, adopted_at=now if adopted else None)
        devices.remember(device)
        self.home.log.info("device_known", device_id=identity.device_id, profile=profile.name)
        return device

    def _prepared(
        self, firmware: str | None, device: KnownDevice, profile: DeviceProfile, number: int, sink: OutboxSink
    ) -> Visit:
        home = self.home
        reached = home.outbox.advance_of(device.identity.device_id)
        zone = home.zone_offset_minutes
        return Visit(
            device=device.identity,
            profile=profile,
            firmware=firmware,
            gateway=home.outbox.gateway,
            software=home.software,
            boot_id=home.clock.boot_id,
            number=number,
            zone_offset_minutes=zone_offset_minutes(home.clock.utc()) if zone is None else zone,
            cursor=None if reached is None else RecordCursor(sequence=reached.sequence, count=reached.count),
            now=home.clock.now,
            sink=sink,
            consents=home.devices.consents(device),
            bind_key=home.devices.bind_key(device),
        )

    def _sink(self, device: KnownDevice) -> OutboxSink:
        home = self.home
        pairings = home.devices.pairings(device)
        device_id = device.identity.device_id
        return OutboxSink(home.outbox, home.sealer, home.clock, device_id, pairings, home.observer)

    # --- what follows from a visit ---

    def _succeeded(self, profile: DeviceProfile, place: _Place, fresh: int) -> None:
        if place.failures:
            self.home.log.info("device_answers_again", profile=profile.name)
        place.failures = 0
        place.fruitless = 0 if fresh else place.fruitless + 1
        place.rests_until = self.monotonic() + self._rest(place.fruitless)

    def _failed(self, address: str, profile: DeviceProfile, place: _Place, error: Exception) -> None:
        place.failures += 1
        place.rests_until = self.monotonic() + self._rest(place.failures)
        if place.failures > 1:
            return
        reason = str(error) if isinstance(error, KitelineError) else ""
        kind = type(error).__name__
        self.home.log.warning("visit_failed", profile=profile.name, error=kind, reason=reason)
        device = self.home.devices.known.get(address)
        if device is not None:
            self._tell(device, f"{kind}: {reason}"[:500])

    def _tell(self, device: KnownDevice, detail: str) -> None:
        now = self.home.clock.now()
        kind, device_id = DeviceEventKind.VISIT_FAILED, device.identity.device_id
        event = DeviceEvent(
            event_id=derived_id("device_event", kind, device_id, self.home.clock.boot_id, now.monotonic_ns),
            device=device.identity,
            kind=kind,
            at=now.utc,
            detail=detail,
        )
        try:
            self._sink(device).commit([event])
        except Unreachable as error:
            self.home.log.warning("event_not_kept", reason=str(error))

    def _refuse(self, place: _Place, error: OutboxFull) -> None:
        place.rests_until = self.monotonic() + self.home.patience.longest_rest_s
        if self._full:
            return
        self._full = True
        self.home.log.error("visits_refused", reason=str(error))
        try:
            self.home.voice.tell(GatewayEventKind.OUTBOX_FULL)
        except Unreachable:
            return  # not even this fits; the line above says so

    def _rest(self, times: int) -> float:
        if not times:
            return 0.0
        patience = self.home.patience
        return min(patience.rest_s * 2.0 ** min(times - 1, 16), patience.longest_rest_s)
