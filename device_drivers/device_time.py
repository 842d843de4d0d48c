"""From a device's clock to UTC with a stated uncertainty. Never clamps, never guesses.

Local digits become UTC through the home's zone offset. Where the device's clock was read in the same visit
its offset is taken out; where it was not, the device's word is believed within the profile's bound.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from device_drivers.date_time import Stamp
from device_drivers.profile import ClockWrite, DeviceProfile
from wire_format.base import Utc
from wire_format.measurement import ClockTrust, DeviceTime, Instant, Remark

RESOLUTION_MS: Final = 1000  # Date Time counts whole seconds
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClockComparison:
    """The device's clock against the gateway's: `offset_ms` is how far the device is ahead."""

    offset_ms: int
    uncertainty_ms: int
    set_by_us: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """When and where the gateway took a packet."""

    utc: Utc
    uncertainty_ms: int | None
    monotonic_ns: int


def local_digits(utc: dt.datetime, zone_offset_minutes: int) -> dt.datetime:
    """Return what a right clock shows in the home's zone."""
    return (utc + dt.timedelta(minutes=zone_offset_minutes)).replace(tzinfo=None)


def from_local(stated: dt.datetime, zone_offset_minutes: int) -> dt.datetime | None:
    """Return the UTC of local digits, or None at the ends of the calendar."""
    try:
        return (stated - dt.timedelta(minutes=zone_offset_minutes)).replace(tzinfo=dt.UTC)
    except OverflowError:
        return None


def usable(stamp: Stamp | None, profile: DeviceProfile) -> bool:
    """Whether a time stamp can tell two readings apart: known, in a calendar, not a factory default."""
    stated = None if stamp is None or stamp.unknown else stamp.stated
    default, unset_before = profile.clock.factory_default, profile.clock.unset_before
    if stated is None or (unset_before is not None and stated < unset_before):
        return False
    return default is None or abs(stated - default) > _DAY


def clock_remarks(stamp: Stamp | None, profile: DeviceProfile) -> tuple[Remark, ...]:
    """Say why a time stamp cannot be used; empty if it can."""
    if usable(stamp, profile):
        return ()
    if stamp is not None and not stamp.unknown and stamp.stated is None:
        return (Remark.CLOCK_INVALID,)
    return (Remark.CLOCK_UNSET,)


def device_time(  # noqa: PLR0913 - all that time depends on
    profile: DeviceProfile,
    received: Received,
    boot_id: object,
    zone_offset_minutes: int,
    *,
    stamp: Stamp | None,
    offset_minutes: int | None = None,
    comparison: ClockComparison | None = None,
    live_within_s: int | None = None,
) -> tuple[DeviceTime, tuple[Remark, ...]]:
    """Return what is known of when, and the remarks that follow from it.

    `live_within_s` is what the packet itself implies of its delay; the profile's word goes before it.
    """
    delay_s = live_within_s if profile.records.push_delay_s is None else profile.records.push_delay_s
    base = stamp.stated if stamp is not None and usable(stamp, profile) else None
    stated = None if base is None else _later(base, offset_minutes or 0)
    remarks = clock_remarks(stamp, profile)
    measured, trust = _stated_instant(profile, stated, zone_offset_minutes, comparison, received)
    if measured is not None and _ahead(measured, received):
        measured, trust, remarks = None, ClockTrust.NONE, (*remarks, Remark.CLOCK_AHEAD)
    if measured is None:
        measured = _pushed(delay_s, received)
    time = DeviceTime.model_validate(
        {
            "received_at": received.utc,
            "received_uncertainty_ms": received.uncertainty_ms,
            "boot_id": boot_id,
            "monotonic_ns": received.monotonic_ns,
            "stated": stated,
            "stated_bytes": None if stamp is None else bytes(stamp),
            "base_time": base if offset_minutes is not None else None,
            "offset_minutes": offset_minutes,
            "clock_offset_ms": None if comparison is None else comparison.offset_ms,
            "zone_offset_minutes": zone_offset_minutes,
            "push_delay_ms": None if delay_s is None else delay_s * 1000,
            "trust": trust,
            "measured": measured,
        }
    )
    return time, remarks


def _later(base: dt.datetime, minutes: int) -> dt.datetime | None:
    try:
        return base + dt.timedelta(minutes=minutes)
    except OverflowError:
        return None


def _stated_instant(
    profile: DeviceProfile,
    stated: dt.datetime | None,
    zone: int,
    comparison: ClockComparison | None,
    received: Received,
) -> tuple[Instant | None, ClockTrust]:
    utc = None if stated is None else from_local(stated, zone)
    if utc is None:
        return None, ClockTrust.NONE
    if comparison is None or received.uncertainty_ms is None:
        if not profile.clock.believed:
            return None, ClockTrust.NONE
        bound = profile.clock.stated_uncertainty_s * 1000
        return Instant(utc=utc, uncertainty_ms=bound), ClockTrust.STATED
    try:
        corrected = utc - dt.timedelta(milliseconds=comparison.offset_ms)
    except OverflowError:
        # A clock that is thousands of years off dates nothing.
        return None, ClockTrust.NONE
    bound = comparison.uncertainty_ms + received.uncertainty_ms + RESOLUTION_MS
    within = abs(comparison.offset_ms) <= profile.clock.maximum_drift_s * 1000
    kept = within and profile.clock.write is not ClockWrite.NEVER
    trust = ClockTrust.SYNCHRONISED if kept else ClockTrust.COMPARED
    return Instant(utc=corrected, uncertainty_ms=bound), trust


def _ahead(measured: Instant, received: Received) -> bool:
    if received.uncertainty_ms is None:
        return False
    bound = measured.uncertainty_ms + received.uncertainty_ms
    return measured.utc - received.utc > dt.timedelta(milliseconds=bound)


def _pushed(delay_s: int | None, received: Received) -> Instant | None:
    """Date a reading by its arrival, if the device sends at once and the gateway knows the time."""
    if delay_s is None or received.uncertainty_ms is None:
        return None
    return Instant(utc=received.utc, uncertainty_ms=delay_s * 1000 + received.uncertainty_ms)
