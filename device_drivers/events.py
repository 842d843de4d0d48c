"""What a driver tells of a device beside its readings."""

import datetime as dt

from device_drivers.driver import Visit
from wire_format.identity import derived_id
from wire_format.statements import DeviceEvent, DeviceEventKind


def device_event(
    visit: Visit,
    kind: DeviceEventKind,
    *parts: object,
    detail: str | None = None,
    at: dt.datetime | None = None,
) -> DeviceEvent:
    """Return an event of now, or of `at` (UTC).

    `parts` tell it from others of its kind; without any there is one a visit, however often it is told.
    """
    told_by = parts or (visit.boot_id, visit.number)
    return DeviceEvent(
        event_id=derived_id("device_event", kind, visit.device.device_id, *told_by),
        device=visit.device,
        kind=kind,
        at=at or visit.now().utc,
        detail=detail,
    )
