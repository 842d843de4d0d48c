"""Reading a device's Current Time, comparing it with the gateway's, and setting it where that is allowed."""

import datetime as dt
from typing import Final

from device_drivers.device_time import RESOLUTION_MS, ClockComparison, from_local, local_digits
from device_drivers.driver import Visit
from device_drivers.link import AttError, GattLink, uuid16
from device_drivers.quantities.current_time import CurrentTime
from wire_format.errors import MalformedPacket
from wire_format.identity import derived_id
from wire_format.statements import DeviceEvent, DeviceEventKind

CURRENT_TIME: Final = uuid16(0x2A2B)
_MS: Final = dt.timedelta(milliseconds=1)


async def compare_clock(link: GattLink, visit: Visit) -> ClockComparison | None:
    """Return how far the device's clock is off, after setting it if the profile says so.

    None where the device has no readable clock, or the gateway does not know the time itself. The offset is
    the one from before setting: what the device stored, it stored under its old clock.
    """
    rules = visit.profile.clock
    if rules.read is None or CURRENT_TIME not in link.characteristics():
        return None
    before = visit.now()
    try:
        shown = CurrentTime.from_bytes(await link.read(CURRENT_TIME)).date_time
    except (AttError, MalformedPacket):
        return None
    after = visit.now()
    if before.uncertainty_ms is None:
        return None
    stated = None if shown.unknown else shown.stated
    device_utc = None if stated is None else from_local(stated, visit.zone_offset_minutes)
    comparison = None
    if device_utc is not None:
        asked = (after.utc - before.utc) // _MS
        offset = (device_utc - before.utc) // _MS
        comparison = ClockComparison(offset, asked + before.uncertainty_ms + RESOLUTION_MS)
    off = comparison is None or abs(comparison.offset_ms) > rules.maximum_drift_s * 1000
    if rules.write and off:
        await _set_clock(link, visit)
    return comparison


async def _set_clock(link: GattLink, visit: Visit) -> None:
    now = visit.now()
    detail: str | None = None
    value = CurrentTime.of(local_digits(now.utc, visit.zone_offset_minutes))
    try:
        await link.write(CURRENT_TIME, bytes(value))
    except AttError as error:
        kind, detail = DeviceEventKind.CLOCK_REFUSED, str(error)
    else:
        kind = DeviceEventKind.CLOCK_SET
    event = DeviceEvent(
        event_id=derived_id("device_event", kind, visit.device.device_id, visit.boot_id, visit.number),
        device=visit.device,
        kind=kind,
        at=now.utc,
        detail=detail,
    )
    visit.sink.commit([event])
