"""What a site says of plans: whose numbers count, what its codes mean, and at what time BID is. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cloud_bridge.connectors.base import Identifier

PROGRAMME: Final = "urn:kiteline:programme"
"""Our own code system for programmes: its codes are their names."""


def _times(*texts: str) -> tuple[dt.time, ...]:
    return tuple(map(dt.time.fromisoformat, texts))


USUAL_TIMES: Final[Mapping[str, tuple[dt.time, ...]]] = {
    "QD": _times("08:00"),
    "BID": _times("08:00", "20:00"),
    "TID": _times("08:00", "14:00", "20:00"),
    "QID": _times("08:00", "12:00", "16:00", "20:00"),
    "AM": _times("08:00"),
    "PM": _times("20:00"),
    "MORN": _times("08:00"),
    "NOON": _times("12:00"),
    "AFT": _times("15:00"),
    "EVE": _times("18:00"),
    "NIGHT": _times("21:00"),
    "HS": _times("21:30"),
    "ACM": _times("07:30"),
    "ACD": _times("11:30"),
    "ACV": _times("17:30"),
    "PCM": _times("08:30"),
    "PCD": _times("12:30"),
    "PCV": _times("18:30"),
}
"""Codes of FHIR's EventTiming and GTSAbbreviation that name no clock: a site says its own times."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What must be known to understand a plan.

    `patient_system` is the one of a patient's identifiers that names them here; `staff_system` and
    `stay_system` decide where somebody, or a stay, has more than one. `programmes` are by (system, code).
    `authorities` gives the systems of HL7 v2 assigning authorities.
    """

    patient_system: str
    zone: dt.tzinfo
    staff_system: str | None = None
    stay_system: str | None = None
    programmes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    times: Mapping[str, tuple[dt.time, ...]] = field(default_factory=lambda: dict(USUAL_TIMES))
    authorities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Defaults:
    """Who works for a patient of whom neither the registry nor the plan says it, and when a visit is due."""

    nurse: Identifier | None = None
    physician: Identifier | None = None
    organization: Identifier | None = None
    language: str = "en"
    first_visit: dt.timedelta = dt.timedelta(hours=72)
    reminders: bool = True
