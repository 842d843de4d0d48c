"""Reading a device's clock, comparing it with the gateway's, and setting it where that is allowed.

The profile says which characteristic in which layout, and when it may be written (`Clock`).
"""

import asyncio
import datetime as dt
from typing import Final

from device_drivers.clock_layouts import CLOCK_LAYOUTS
from device_drivers.date_time import DateTime
from device_drivers.device_time import RESOLUTION_MS, ClockComparison, from_local, local_digits
from device_drivers.driver import GatewayTime, Visit
from device_drivers.events import device_event
from device_drivers.link import AttError, GattLink
from device_drivers.profile import ClockWrite, ClockZone, long_uuid
from wire_format.errors import MalformedPacket
from wire_format.statements import DeviceEvent, DeviceEventKind

NOTIFICATION_S: Final = 5.0
"""How long a device that notifies its time may take to do so."""

_MS: Final = dt.timedelta(milliseconds=1)


def clock_zone(visit: Visit) -> int:
    """Return the offset from UTC, in minutes, of the digits of this device's clock."""
    return 0 if visit.profile.clock.zone is ClockZone.UTC else visit.zone_offset_minutes


def compared(
    shown: DateTime,
    before: GatewayTime,
    after: GatewayTime,
    zone_offset_minutes: int,
    resolution_ms: int = RESOLUTION_MS,
) -> ClockComparison | None:
    """Return how far a clock is ahead that showed `shown` between two moments of the gateway.

    None if the device states no date, or the gateway does not know the time. `resolution_ms` is the coarser
    of what the clock and what the device's records count in.
    """
    stated = None if shown.unknown else shown.stated
    device_utc = None if stated is None else from_local(stated, zone_offset_minutes)
    if device_utc is None or before.uncertainty_ms is None:
        return None
    asked = (after.utc - before.utc) // _MS
    offset = (device_utc - before.utc) // _MS
    return ClockComparison(offset, asked + before.uncertainty_ms + resolution_ms)


def must_be_set(visit: Visit, comparison: ClockComparison | None) -> bool:
    """Tell whether the profile wants the clock set, after it was compared (or could not be)."""
    rules = visit.profile.clock
    if rules.write is ClockWrite.NEVER or visit.now().uncertainty_ms is None:
        return False
    off = comparison is None or abs(comparison.offset_ms) > rules.maximum_drift_s * 1000
    return off or rules.write is ClockWrite.ALWAYS


async def compare_clock(link: GattLink, visit: Visit) -> ClockComparison | None:
    """Return how far the device's clock is off, after setting it if the profile says so.

    None where the device has no readable clock, or the gateway does not know the time itself. The offset is
    the one from before setting: what the device stored, it stored under its old clock.
    """
    comparison, due = await look_at_clock(link, visit)
    if due is not None:
        await set_clock(link, visit, due)
    return comparison


async def look_at_clock(link: GattLink, visit: Visit) -> tuple[ClockComparison | None, str | None]:
    """Return how far the device's clock is off, and where it is to be set; None if it is not to be."""
    rules = visit.profile.clock
    name = _offered(link, visit)
    if name is None:
        return None, None
    comparison = None
    if rules.readable:
        before = visit.now()
        try:
            shown = await _shown(link, visit, name)
        except (AttError, MalformedPacket):
            return None, None
        if before.uncertainty_ms is None or shown is None:
            return None, None
        comparison = compared(shown, before, visit.now(), clock_zone(visit))
    return comparison, name if must_be_set(visit, comparison) else None


def _offered(link: GattLink, visit: Visit) -> str | None:
    """Return the characteristic of the clock that this device has; None if it has none."""
    rules = visit.profile.clock
    places = () if rules.characteristic is None else (rules.characteristic, *rules.elsewhere)
    return next((long_uuid(name) for name in places if long_uuid(name) in link.characteristics()), None)


async def _shown(link: GattLink, visit: Visit, name: str) -> DateTime | None:
    """Return what the clock shows; None if it is to be notified, and was not."""
    layout = CLOCK_LAYOUTS[visit.profile.clock.layout]
    if visit.profile.clock.write is not ClockWrite.AFTER_NOTIFICATION:
        return layout.decode(await link.read(name))
    told: asyncio.Queue[bytes] = asyncio.Queue()
    await link.subscribe(name, told.put_nowait)
    try:
        async with asyncio.timeout(NOTIFICATION_S):
            return layout.decode(await told.get())
    except TimeoutError:
        return None


async def set_clock(link: GattLink, visit: Visit, name: str) -> None:
    """Set the clock at a characteristic, and tell whether the device took it."""
    rules, zone = visit.profile.clock, clock_zone(visit)
    layout = CLOCK_LAYOUTS[rules.layout]
    now = visit.now()
    value = layout.encode(local_digits(now.utc, zone), visit.zone_offset_minutes)
    detail: str | None = None
    try:
        await link.write(name, value)
        kept = not rules.verify or await _kept(link, visit, name)
    except AttError as error:
        kept, detail = False, str(error)
    else:
        detail = None if kept else "The device took the time and did not keep it."
    visit.sink.commit([clock_event(visit, now, kept=kept, detail=detail)])


async def _kept(link: GattLink, visit: Visit, name: str) -> bool:
    """Read the clock back: whether it shows what was written, within the drift that is allowed."""
    before = visit.now()
    try:
        shown = CLOCK_LAYOUTS[visit.profile.clock.layout].decode(await link.read(name))
    except MalformedPacket:
        return False
    found = compared(shown, before, visit.now(), clock_zone(visit))
    return found is not None and abs(found.offset_ms) <= visit.profile.clock.maximum_drift_s * 1000


def clock_event(visit: Visit, now: GatewayTime, *, kept: bool, detail: str | None = None) -> DeviceEvent:
    """Return what is told of a clock that was set, or refused to be."""
    kind = DeviceEventKind.CLOCK_SET if kept else DeviceEventKind.CLOCK_REFUSED
    return device_event(visit, kind, detail=detail, at=now.utc)
