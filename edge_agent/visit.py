"""Visits: whom to connect to, and when. Whatever a device does, the agent goes on.

Connections are made one at a time; several devices may be read meanwhile (`turns` says whose turn it is). A
device rests after a visit that brought nothing new, longer each time; one that was silent and is heard again
has measured, and is visited at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from device_drivers.catalogue import ADVERT_DRIVERS, SwitchedOff
from device_drivers.information import remembered
from device_drivers.link import Sighting
from device_drivers.profile import DeviceProfile
from edge_agent.advert_link import Adverts
from edge_agent.bond_doctor import Verdict
from edge_agent.bonds import Bonds
from edge_agent.conversation import Call, Conversation, Radio
from edge_agent.home import Home
from edge_agent.outbox_schema import OutboxFull
from edge_agent.steps import Step
from edge_agent.turns import MAX_PLACES, SILENCE_S, Place, Turns, Wanted
from wire_format.errors import KitelineError, Misconfigured, Unreachable
from wire_format.statements import DeviceEventKind, GatewayEventKind

UNHURRIED_CONNECT_S: Final = 8.0
"""Patience with a device that advertises all day: while it is connected to, the radio is deaf for others."""

LAST_VISIT_EVERY_S: Final = 600.0
"""How often the time of a device's last visit is written to the card."""

__all__ = ["SILENCE_S", "Home", "Radio", "Visitor"]


@dataclass(slots=True)
class Visitor:
    """Decides about each advertisement, and carries out the visits as tasks that `spawn` starts.

    `unread` says, by address, why a device of ours is heard and not read.
    """

    home: Home
    radio: Radio
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    monotonic: Callable[[], float] = time.monotonic
    remove_stale_bonds: bool = False
    turns: Turns = field(init=False)
    bonds: Bonds = field(init=False)
    conversation: Conversation = field(init=False)
    _adverts: dict[str, Adverts] = field(default_factory=dict)
    _reserved: int = 0
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _full: bool = False
    _closed: bool = False
    unread: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.turns = Turns(self.home.patience.links)
        self.bonds = Bonds(self.home, self.radio, self.remove_stale_bonds)
        self.conversation = Conversation(self.home, self.radio, self.bonds)

    def heard(self, sighting: Sighting, handle: object) -> None:
        """Take an advertisement. Called for each one, many times a second: quick, and it never raises."""
        adverts = self._adverts.get(sighting.address)
        if adverts is not None:
            # Also one that by itself would fit no profile: a name is not in every advertisement.
            adverts.heard(sighting)
        if not self.home.devices.is_ours(sighting.address):
            return
        profile = self._profile(sighting)
        if profile is None:
            return
        place = self.turns.heard(sighting.address, Wanted(sighting, handle, profile), self.monotonic())
        if place.wanted is None:
            return
        if profile.driver in ADVERT_DRIVERS:
            self._begin(place, place.wanted, link=False)
        else:
            self._admit()

    def _admit(self) -> None:
        """Begin the next visit, if the radio is free for one."""
        now = self.monotonic()
        place = None if self._reserved or self._closed else self.turns.next(now)
        if place is not None and place.wanted is not None:
            self.turns.begin_connecting(now)
            self._begin(place, place.wanted, link=True)

    def _begin(self, place: Place, wanted: Wanted, *, link: bool) -> None:
        place.visited()
        self.home.observer(Step.SIGHTED, {"profile": wanted.profile.name})
        self.spawn(self._visit(place, wanted, link=link))

    @property
    def links(self) -> int:
        """How many links are open, or being opened."""
        return self.turns.open

    @property
    def busy(self) -> int:
        """How many connections in a row the adapter answered with "busy"."""
        return self.bonds.busy

    def forgive(self) -> None:
        """Count busy answers from none again."""
        self.bonds.busy = 0

    def close(self) -> None:
        """Begin no visit any more."""
        self._closed = True

    @asynccontextmanager
    async def reserved(self, address: str) -> AsyncIterator[Callable[[], None]]:
        """Keep a link for somebody else than visits, who connects at once.

        Gives what is to be called as soon as the connection stands.
        """
        self._reserved += 1
        place = self.turns.place(address)
        try:
            while self.turns.connecting or self.turns.open >= self.turns.links or place.visiting:
                self._freed.clear()
                await self._freed.wait()
            place.visited()
            self.turns.begin_connecting(self.monotonic())
        finally:
            self._reserved -= 1
        connected = self._once_connected()
        try:
            yield connected
        finally:
            connected()
            self.turns.end_link()
            self.turns.end(place, self.monotonic())
            self._changed()

    def _once_connected(self) -> Callable[[], None]:
        """Return what ends the radio's deafness, however often it is called."""
        done: list[bool] = []

        def connected() -> None:
            if done:
                return
            done.append(True)
            self.turns.end_connecting(self.monotonic())
            pause = self.turns.listen_s(self.monotonic())
            if pause:
                asyncio.get_running_loop().call_later(pause, self._changed)
            self._changed()

        return connected

    def _changed(self) -> None:
        self._freed.set()
        self._admit()

    def _profile(self, sighting: Sighting) -> DeviceProfile | None:
        met = self.home.devices.known.get(sighting.address)
        catalogue = self.home.catalogue
        try:
            # One that was met is approached as the model that it is, not as a guess at its family.
            found = None if met is None else catalogue.match(sighting, remembered(met.identity))
            return found or catalogue.match(sighting)
        except Misconfigured as error:
            self._leave(sighting.address, error)
            return None

    def _leave(self, address: str, error: Misconfigured) -> None:
        """Say once that a device is not read: what two profiles fit alike, or only one that is off."""
        if address in self.unread or len(self.unread) >= MAX_PLACES:
            return
        self.unread[address] = str(error)
        if isinstance(error, SwitchedOff):
            self.home.log.warning("profile_off", profile=error.profile.name, reason=str(error))
        else:
            self.home.log.warning("profiles_ambiguous", count=len(self.unread))

    async def _visit(self, place: Place, wanted: Wanted, *, link: bool) -> None:
        started = self.monotonic()
        connected = self._once_connected() if link else _nothing
        patience = None if place.fresh else UNHURRIED_CONNECT_S
        call = Call(wanted.sighting, wanted.handle, wanted.profile, connected, patience)
        try:
            call.number = self._visit_number()
            fresh = await (self.conversation.read(call) if link else self._listen(call))
        except OutboxFull as error:
            self._refuse(place, error)
        except (KitelineError, TimeoutError) as error:
            await self._failed(call, place, error)
        except Exception as error:  # noqa: BLE001 - one strange device never takes the agent down
            await self._failed(call, place, error)
        except asyncio.CancelledError:
            self.close()
            raise
        else:
            self._succeeded(call, place, fresh)
        finally:
            self._ended(place, wanted, started, connected, link=link)

    def _ended(
        self, place: Place, wanted: Wanted, started: float, connected: Callable[[], None], *, link: bool
    ) -> None:
        now = self.monotonic()
        self.home.observer(Step.VISIT_ENDED, {"profile": wanted.profile.name, "seconds": now - started})
        self.turns.end(place, now)
        connected()
        if link:
            self.turns.end_link()
        self._changed()

    async def _listen(self, call: Call) -> int:
        address = call.sighting.address
        adverts = self._adverts[address] = Adverts(call.sighting)
        try:
            return await self.conversation.listen(call, adverts)
        finally:
            del self._adverts[address]

    def _visit_number(self) -> int:
        """Return the number of a new visit; raises `OutboxFull` where nothing could be kept of it."""
        self.home.outbox.check_room()
        self._full = False
        return self.home.outbox.take_visit_number()

    # --- what follows from a visit ---

    def _succeeded(self, call: Call, place: Place, fresh: int) -> None:
        if place.failures:
            self.home.log.info("device_answers_again", profile=call.profile.name)
        place.failures, place.fresh = 0, False
        place.fruitless = 0 if fresh else place.fruitless + 1
        place.rests_until = self.monotonic() + self._rest(place.fruitless)
        if call.device is not None:
            self.bonds.worked(call.device, self.monotonic(), encrypted=call.encrypted)
            self._note_visit(place, call.device.address)

    def _note_visit(self, place: Place, address: str) -> None:
        now = self.home.clock.utc_if_known()
        if now is None:
            return
        place.last_visit = now
        written = self.home.devices.known[address].last_visit
        if written is None or abs((now - written).total_seconds()) >= LAST_VISIT_EVERY_S:
            self.home.devices.update(address, last_visit=now)

    async def _failed(self, call: Call, place: Place, error: Exception) -> None:
        place.failures += 1
        verdict = await self.bonds.failed(place.address, error, self.monotonic(), held=call.held)
        device = self.home.devices.known.get(place.address)
        # With consent new keys are exchanged while it still advertises; without it nothing helps soon.
        hopeless = verdict.is_lost and not (device is not None and device.may_bond)
        rest = self.home.patience.longest_rest_s if hopeless else self._rest(place.failures)
        place.rests_until = self.monotonic() + rest
        if place.failures > 1:
            return
        reason = str(error) if isinstance(error, KitelineError) else ""
        kind = type(error).__name__
        self.home.log.warning("visit_failed", profile=call.profile.name, error=kind, reason=reason)
        if device is not None and verdict is not Verdict.GATEWAY_FORGOT:
            self.home.tell(device, DeviceEventKind.VISIT_FAILED, f"{kind}: {reason}")

    def _refuse(self, place: Place, error: OutboxFull) -> None:
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


def _nothing() -> None:
    """Do nothing: a visit without a connection leaves the radio as it is."""
