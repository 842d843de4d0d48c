"""Visits of any driver to any double of a device, in virtual time."""

import datetime as dt
from collections.abc import Callable

from device_drivers.catalogue import driver_of
from device_drivers.driver import GatewayTime, RecordCursor
from device_drivers.profile import DeviceProfile
from wire_format.errors import KitelineError
from wire_format.measurement import Measurement

from gatt_link import Kept, visit_of
from virtual_time import virtually

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
MEASURED = dt.datetime(2026, 11, 22, 7, 30)  # noqa: DTZ001 - a device clock has no zone


def visited(
    profile: DeviceProfile,
    make: Callable[[], object],
    sink: Kept | None = None,
    *,
    cursor: RecordCursor | None = None,
) -> tuple[Kept, Exception | None, object]:
    kept = sink or Kept()

    async def visit() -> tuple[Exception | None, object]:
        device = make()
        try:
            await driver_of(profile).collect(
                device,  # type: ignore[arg-type]  # a second implementation of the link
                visit_of(profile, kept, lambda: GatewayTime(NOW, 50, 1), cursor=cursor),
            )
        except KitelineError as error:
            return error, device
        return None, device

    ended, device = virtually(visit())
    return kept, ended, device


def measured(sink: Kept) -> list[Measurement]:
    return [one for one in sink.readings if isinstance(one, Measurement)]
