"""Rehearsal: a profile's driver on a recorded session, in virtual time. What it read, and how it ended.

Nothing is assigned, sealed or sent. The moment of receiving is the same for every rehearsal, so that a
session gives the same readings today and in ten years.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from device_drivers.capture import Session
from device_drivers.catalogue import (
    ADVERT_DRIVERS,
    SERIAL_DRIVERS,
    advert_driver_of,
    driver_of,
    serial_driver_of,
)
from device_drivers.driver import GatewayTime, Reading, ReadingSink, RecordCursor, Visit
from device_drivers.profile import DeviceProfile
from device_drivers.replay import AdvertReplay, GattReplay, SerialReplay
from device_drivers.virtual_time import virtually
from wire_format.errors import KitelineError
from wire_format.identity import device_id
from wire_format.measurement import DeviceIdentity

RECEIVED_AT: Final = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
ZONE_OFFSET_MINUTES: Final = 480

Replay = GattReplay | SerialReplay | AdvertReplay


@dataclass
class Kept:
    """A sink that remembers."""

    readings: list[Reading] = field(default_factory=list)

    def commit(self, readings: Sequence[Reading], *, cursor: RecordCursor | None = None) -> None:
        """Keep `readings`; where the device's memory was left does not matter here."""
        del cursor
        self.readings += readings


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one session gave: `ended` is what ended it early, `unrecorded` what the host said beside it."""

    readings: tuple[Reading, ...]
    ended: Exception | None
    unrecorded: tuple[str, ...]


async def carry_out(
    profile: DeviceProfile, session: Session, visit: Visit, cut_after: int | None = None
) -> tuple[Replay, Exception | None]:
    """Run the driver of a profile on a session; return the link and the named error that ended the visit."""
    link: Replay
    try:
        if profile.driver in SERIAL_DRIVERS:
            link = serial = SerialReplay(session, cut_after)
            await serial_driver_of(profile).identify(serial, profile)
            await serial_driver_of(profile).collect(serial, visit)
        elif profile.driver in ADVERT_DRIVERS:
            link = adverts = AdvertReplay(session, cut_after)
            await advert_driver_of(profile).collect(adverts, visit)
        else:
            link = gatt = GattReplay(session, cut_after)
            await driver_of(profile).collect(gatt, visit)
    except (KitelineError, TimeoutError) as error:
        return link, error
    return link, None


def rehearse(profile: DeviceProfile, session: Session) -> Rehearsal:
    """Run a session. What no driver may raise (all but our errors and `TimeoutError`) is in `ended` too.

    It has an event loop of its own: within another one call it in a thread, else it raises `TypeError`.
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise TypeError("A rehearsal has an event loop of its own: call it in a thread.")
    sink = Kept()
    visit = visit_to(profile, session, sink)
    try:
        link, ended = virtually(carry_out(profile, session, visit))
    except Exception as error:  # noqa: BLE001 - a defect of a driver is what a rehearsal is there to show
        return Rehearsal(tuple(sink.readings), error, ())
    return Rehearsal(tuple(sink.readings), ended, _unrecorded(link))


def _unrecorded(link: Replay) -> tuple[str, ...]:
    match link:
        case GattReplay():
            return tuple(f"{on}: {data.hex()}" for on, data in link.unrecorded)
        case SerialReplay():
            return tuple(data.hex() for data in link.unrecorded)
        case AdvertReplay():
            return ()


def visit_to(profile: DeviceProfile, session: Session, sink: ReadingSink) -> Visit:
    """Return a visit to nobody's device, at the moment and in the zone of every rehearsal."""
    identity = device_id("rehearsal", profile.name, session.id, None)
    return Visit(
        device=DeviceIdentity(
            device_id=identity, maker="rehearsal", model=profile.name, address=session.address
        ),
        profile=profile,
        firmware=None,
        gateway="rehearsal",
        software="rehearsal",
        boot_id=UUID(int=1),
        number=1,
        zone_offset_minutes=ZONE_OFFSET_MINUTES,
        cursor=None,
        now=lambda: GatewayTime(RECEIVED_AT, 50, 1_000_000_000),
        sink=sink,
        consents=session.consents,
        bind_key=None if session.bind_key is None else bytes.fromhex(session.bind_key),
    )
