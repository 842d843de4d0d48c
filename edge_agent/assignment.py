"""Whose a reading is: by device, user slot and the time for which the home said so. Nothing is guessed."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from device_drivers.driver import GatewayTime
from wire_format.identity import content_hash, derived_id
from wire_format.measurement import DeviceTime, Measurement
from wire_format.statements import Assignment


@dataclass(frozen=True, slots=True)
class Pairing:
    """A person uses a device (one of its user slots, or all of them) from `valid_from` on.

    `person` is the home's pseudonym.
    """

    device_id: UUID
    person: str
    slot: int | None
    valid_from: dt.datetime
    valid_until: dt.datetime | None = None


def assign(
    measurement: Measurement, pairings: Sequence[Pairing], author: str, now: GatewayTime
) -> Assignment:
    """Say whose `measurement` is, or that it is not known to be anybody's, and on what that rests."""
    pairing, reason = _owner(measurement, pairings)
    person = None if pairing is None else pairing.person
    parts = (measurement.measurement_id, content_hash(measurement), author, person, reason)
    return Assignment(
        statement_id=derived_id("assignment", *parts),
        measurement_id=measurement.measurement_id,
        person=person,
        author=author,
        stated_at=now.utc,
        reason=reason,
        valid_from=None if pairing is None else pairing.valid_from,
        valid_until=None if pairing is None else pairing.valid_until,
    )


def _owner(measurement: Measurement, pairings: Sequence[Pairing]) -> tuple[Pairing | None, str]:
    of_device = [p for p in pairings if p.device_id == measurement.device.device_id]
    if not of_device:
        return None, "no person is paired with this device"
    of_slot = [p for p in of_device if p.slot is None or p.slot == measurement.user]
    if not of_slot:
        return None, "no person is paired with this user slot of the device"
    interval = _interval(measurement.time)
    if interval is None:
        return None, "it is not known when this was measured"
    fitting = [p for p in of_slot if _within(p, *interval)]
    people = {p.person for p in fitting}
    if not people:
        return None, "no pairing covers the time of measurement"
    if len(people) > 1:
        return None, "several people are paired with this device"
    return fitting[0], "paired with this device at the time of measurement"


def _interval(time: DeviceTime) -> tuple[dt.datetime, dt.datetime] | None:
    if time.measured is None:
        return None
    margin = dt.timedelta(milliseconds=time.measured.uncertainty_ms)
    return time.measured.utc - margin, time.measured.utc + margin


def _within(pairing: Pairing, earliest: dt.datetime, latest: dt.datetime) -> bool:
    """Tell whether the measurement may lie within the pairing.

    An overlap is enough: a reading taken a minute after pairing with a clock that is minutes off is the
    person's; one that certainly lies before is not.
    """
    return latest >= pairing.valid_from and (pairing.valid_until is None or earliest < pairing.valid_until)
