"""The fold: a measurement and the later statements about it, as one reading. Pure.

The latest statement holds (by the time it was stated, then by its id, so that any order of arrival gives
the same answer).
"""

import datetime as dt
from collections.abc import Callable, Iterable
from uuid import UUID

from cloud_bridge.rules.base import Reading
from wire_format.measurement import ClockTrust, Instant, Measurement
from wire_format.statements import Assignment, Redating

PersonLookup = Callable[[str], str | None]
"""A home's pseudonym to the registry's patient id, None for one that nobody enrolled."""


def fold(  # noqa: PLR0913 - what a reading is folded from
    measurement: Measurement,
    assignments: Iterable[Assignment],
    redatings: Iterable[Redating],
    patient_of: PersonLookup,
    *,
    forked: bool = False,
    repetition_of: UUID | None = None,
) -> Reading:
    """Return the reading that a measurement and the statements about it amount to."""
    own = [a for a in assignments if a.measurement_id == measurement.measurement_id]
    owner = max(own, key=lambda a: (a.stated_at, a.statement_id), default=None)
    dating = _latest_redating(measurement, redatings)
    person = owner.person if owner else None
    stood_on = [s.statement_id for s in (owner, dating) if s is not None]
    return Reading(
        measurement=measurement,
        patient=patient_of(person) if person else None,
        measured=measurement.time.measured if dating is None else _dated(measurement, dating),
        statements=tuple(stood_on),
        forked=forked,
        repetition_of=repetition_of,
    )


def _latest_redating(measurement: Measurement, redatings: Iterable[Redating]) -> Redating | None:
    about = [r for r in redatings if _speaks_of(r, measurement)]
    # What was said of this one measurement beats what was said of its whole boot.
    return max(
        about,
        key=lambda r: (r.measurement_id is not None, r.stated_at, r.statement_id),
        default=None,
    )


def _speaks_of(redating: Redating, measurement: Measurement) -> bool:
    if redating.measurement_id is not None:
        return redating.measurement_id == measurement.measurement_id
    time = measurement.time
    # A boot's anchor tells when a packet came. It dates what only its arrival dates.
    by_arrival = time.trust is ClockTrust.NONE and time.push_delay_ms is not None
    return redating.boot_id == time.boot_id and time.received_uncertainty_ms is None and by_arrival


def _dated(measurement: Measurement, redating: Redating) -> Instant | None:
    if redating.monotonic_ns is None:
        return redating.moment
    time = measurement.time
    uncertainty = redating.moment.uncertainty_ms + (time.push_delay_ms or 0)
    try:
        passed = dt.timedelta(microseconds=(time.monotonic_ns - redating.monotonic_ns) // 1000)
        return Instant(utc=redating.moment.utc + passed, uncertainty_ms=uncertainty)
    except (OverflowError, ValueError):
        return None  # a moment that no calendar has: when it was is not known
