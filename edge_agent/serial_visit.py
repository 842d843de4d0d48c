"""Visits to meters on serial cables: as soon as a cable is plugged in, and from time to time while it is.

The cable may stay in the gateway while its meter comes and goes, unseen by USB: so each cable is asked now
and then whether somebody is there. Whatever a meter does, the agent goes on.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from device_drivers.catalogue import serial_driver_of
from device_drivers.information import Information
from device_drivers.link import LinkLost, SerialLink
from device_drivers.profile import DeviceProfile
from device_drivers.serial_dialogue import NoAnswer
from edge_agent.assignment import Pairing
from edge_agent.cables import Cable, Cables
from edge_agent.config import SerialSection
from edge_agent.home import Home
from edge_agent.outbox_schema import OutboxFull
from edge_agent.pairing import UNSTATED, KnownDevice
from edge_agent.serial_link import Port, open_cable
from edge_agent.sink import OutboxSink
from edge_agent.steps import Step
from wire_format.errors import KitelineError, Unreachable
from wire_format.identity import device_id
from wire_format.measurement import DeviceIdentity
from wire_format.statements import DeviceEventKind, GatewayEventKind

GRACE_S: Final = 60.0
"""What a driver may take beyond its profile's own limit before it is ended."""

IDENTIFY_S: Final = 75.0
"""What the question who is there may take, in all."""

Opener = Callable[[str], AbstractAsyncContextManager[SerialLink]]


@dataclass(slots=True)
class _Place:
    """What is remembered of one plugged-in cable. Times are monotonic seconds."""

    port: Port
    due: float
    visiting: bool = False
    failures: int = 0
    silent: bool = False
    device: KnownDevice | None = None
    profile: DeviceProfile | None = None
    speaks_first: bool = False


@dataclass(slots=True)
class SerialVisitor:
    """Looks for cables, and carries out the visits as tasks that `spawn` starts."""

    home: Home
    cables: Cables
    pace: SerialSection
    open: Opener = open_cable
    monotonic: Callable[[], float] = time.monotonic
    _places: dict[str, _Place] = field(default_factory=dict)
    _full: bool = False

    async def run(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Look until cancelled."""
        while True:
            try:
                found = await asyncio.to_thread(self.cables.plugged_in)
            except OSError as error:
                self.home.log.warning("cables_not_found", error=type(error).__name__)
            else:
                self._look(found, spawn)
            await asyncio.sleep(self.pace.poll_s)

    def _look(self, found: list[Cable], spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        now = self.monotonic()
        there = {os.path.realpath(cable.port.path): cable for cable in found}
        self._places = {p: place for p, place in self._places.items() if p in there or place.visiting}
        for path, cable in there.items():
            place = self._places.get(path)
            if place is None or (place.port.mark != cable.port.mark and not place.visiting):
                self.home.log.info("cable_plugged_in", count=len(there))
                first = all(p.protocol.get("speaks_first") for p in cable.profiles)
                place = self._places[path] = _Place(cable.port, now, speaks_first=first)
            if not place.visiting and now >= place.due:
                place.visiting = True
                spawn(self._visit(cable, place))

    async def _visit(self, cable: Cable, place: _Place) -> None:
        started = self.monotonic()
        try:
            await self._read(cable, place)
        except OutboxFull as error:
            self._refuse(place, error)
        except NoAnswer:
            self._nobody(place)
        except (KitelineError, TimeoutError) as error:
            self._failed(place, error)
        except Exception as error:  # noqa: BLE001 - one strange meter never takes the agent down
            self._failed(place, error)
        else:
            self._succeeded(place)
        finally:
            place.visiting = False
            facts = {"profile": _name(place.profile), "seconds": self.monotonic() - started}
            self.home.observer(Step.VISIT_ENDED, facts)

    async def _read(self, cable: Cable, place: _Place) -> None:
        """Carry out one visit."""
        home = self.home
        home.outbox.check_room()
        async with self.open(cable.port.path) as link:
            profile, said = await self._identified(link, cable, place)
            number = home.outbox.take_visit_number()
            home.observer(Step.CONNECTED, {"profile": profile.name, "visit": number})
            device = place.device = self._known(cable, said, profile)
            sink = self._sink(device, cable)
            visit = home.visit_to(device, profile, number, sink, said.firmware)
            try:
                async with asyncio.timeout(float(profile.records.overall_s) + GRACE_S):
                    await serial_driver_of(profile).collect(link, visit)
            except NoAnswer as error:
                # It was there a moment ago: this is no empty cable.
                raise LinkLost(str(error)) from error

    async def _identified(
        self, link: SerialLink, cable: Cable, place: _Place
    ) -> tuple[DeviceProfile, Information]:
        """Return who answers; each profile that fits the cable is tried, the last known one first."""
        trouble: Exception = NoAnswer("No profile fits this cable.")
        for profile in sorted(cable.profiles, key=lambda p: (p != place.profile, p.name)):
            try:
                async with asyncio.timeout(IDENTIFY_S):
                    said = await serial_driver_of(profile).identify(link, profile)
            except LinkLost:
                raise
            except (KitelineError, TimeoutError) as error:
                # What was said and not understood tells more than silence.
                if isinstance(trouble, NoAnswer):
                    trouble = error
                await link.discard()
            else:
                place.profile = profile
                return profile, said
        raise trouble

    def _known(self, cable: Cable, said: Information, profile: DeviceProfile) -> KnownDevice:
        """Return who the meter is: by its serial number, or by its cable if it says none."""
        devices = self.home.devices
        key = f"cable/{profile.name}/{said.serial or cable.key}"
        known = devices.known.get(key)
        if known is not None:
            return known
        now = self.home.clock.utc_if_known()
        if not cable.sections and now is None:
            raise Unreachable("A meter is adopted only when the time is known: see [clock].")
        maker, model = said.manufacturer or UNSTATED, said.model or profile.name
        identity = DeviceIdentity(
            device_id=device_id(maker, model, said.serial, key), maker=maker, model=model, serial=said.serial
        )
        adopted = None if cable.sections else now
        device = KnownDevice(address=key, identity=identity, profile=profile.name, adopted_at=adopted)
        devices.remember(device)
        self.home.log.info("device_known", device_id=identity.device_id, profile=profile.name)
        return device

    def _sink(self, device: KnownDevice, cable: Cable) -> OutboxSink:
        home = self.home
        pairings = self._pairings(device, cable)
        return OutboxSink(
            home.outbox, home.sealer, home.clock, device.identity.device_id, pairings, home.observer
        )

    def _pairings(self, device: KnownDevice, cable: Cable) -> tuple[Pairing, ...]:
        """Return who uses a meter: whoever names its serial number, on any cable; else who names the cable.

        A cable that is named for another meter gives nobody: its readings are nobody's until somebody says.
        """
        identity = device.identity
        pinned = [s for s in self.cables.named if s.meter is not None and s.meter == identity.serial]
        chosen = pinned or [s for s in cable.sections if s.meter is None]
        adoption = self.home.devices.adoption
        if cable.sections or adoption is None or device.adopted_at is None:
            return tuple(Pairing(identity.device_id, s.person, None, s.since, s.until) for s in chosen)
        since = adoption.since or device.adopted_at
        return (Pairing(identity.device_id, adoption.person, None, since),)

    # --- what follows from a visit ---

    def _again(self, place: _Place, after_s: float) -> None:
        """Come again; a meter that speaks first is listened to all the time."""
        place.due = self.monotonic() + (0.0 if place.speaks_first else after_s)

    def _succeeded(self, place: _Place) -> None:
        if place.failures or place.silent:
            self.home.log.info("device_answers_again", profile=_name(place.profile))
        place.failures, place.silent, self._full = 0, False, False
        self._again(place, self.pace.rest_s)

    def _nobody(self, place: _Place) -> None:
        """Nobody is on the cable, which is no failure: said once."""
        if not place.silent:
            self.home.log.info("cable_silent", profile=_name(place.profile))
        place.silent, place.failures = True, 0
        self._again(place, self.pace.ask_s)

    def _failed(self, place: _Place, error: Exception) -> None:
        place.failures += 1
        patience = self.home.patience
        rest = patience.rest_s * 2.0 ** min(place.failures - 1, 16)
        place.due = self.monotonic() + min(rest, patience.longest_rest_s)
        if place.failures > 1:
            return
        reason = str(error) if isinstance(error, KitelineError) else ""
        kind = type(error).__name__
        self.home.log.warning("visit_failed", profile=_name(place.profile), error=kind, reason=reason)
        if place.device is not None:
            self.home.tell(place.device, DeviceEventKind.VISIT_FAILED, f"{kind}: {reason}")

    def _refuse(self, place: _Place, error: OutboxFull) -> None:
        place.due = self.monotonic() + self.home.patience.longest_rest_s
        if self._full:
            return
        self._full = True
        self.home.log.error("visits_refused", reason=str(error))
        try:
            self.home.voice.tell(GatewayEventKind.OUTBOX_FULL)
        except Unreachable:
            return  # not even this fits; the line above says so


def _name(profile: DeviceProfile | None) -> str | None:
    return None if profile is None else profile.name
