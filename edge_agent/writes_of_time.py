"""Which of the host's recorded writes hold the time of that day, and will be other bytes at every replay."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from device_drivers.capture import Exchange, Kind
from device_drivers.profile import DeviceProfile, long_uuid

CURRENT_TIME: Final = long_uuid("2A2B")
_EPOCHS: Final = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
_NEAR_S: Final = 86_400
_HOST: Final = (Kind.WRITE, Kind.SENT)


def with_time_marked(
    exchange: tuple[Exchange, ...], profile: DeviceProfile | None, at: dt.datetime
) -> tuple[Exchange, ...]:
    """Mark writes of the clock as optional and varying, and any other that holds today's date as varying."""
    clock = None if profile is None or profile.clock.characteristic is None else profile.clock.characteristic
    clocks = {CURRENT_TIME, *([] if clock is None else [long_uuid(clock)])}
    return tuple(_marked(one, clocks, at) if one.kind in _HOST else one for one in exchange)


def _marked(one: Exchange, clocks: set[str], at: dt.datetime) -> Exchange:
    if one.on is not None and long_uuid(one.on) in clocks:
        return one.model_copy(update={"varies": True, "optional": True})
    return one.model_copy(update={"varies": True}) if holds_date(one.data, at) else one


def holds_date(data: bytes, at: dt.datetime) -> bool:
    """Tell whether bytes hold the date of `at` (or of its neighbours: zones) in a form that devices use."""
    days = [at + dt.timedelta(days=n) for n in (-1, 0, 1)]
    if any(form in data for day in days for form in _forms(day)):
        return True
    return any(_near(data[i : i + 4], at) for i in range(len(data) - 3))


def _forms(day: dt.datetime) -> Iterator[bytes]:
    rest = bytes([day.month, day.day])
    yield day.year.to_bytes(2, "little") + rest
    yield day.year.to_bytes(2, "big") + rest
    yield bytes([day.year - 2000]) + rest
    for text in (f"{day:%Y%m%d}", f"{day:%y%m%d}", f"{day:%m/%d/%y}", f"{day:%Y-%m-%d}"):
        yield text.encode()


def _near(four: bytes, at: dt.datetime) -> bool:
    """Tell whether four bytes are seconds of about now since an epoch that devices count from."""
    values = (int.from_bytes(four, "little"), int.from_bytes(four, "big"))
    seconds = [(at - epoch).total_seconds() for epoch in _EPOCHS]
    return any(abs(value - second) < _NEAR_S for value in values for second in seconds)
