"""What a rule sees and says. `findings(readings, settings, now) -> frozenset[Finding]`, and nothing else.

Rules look at what is stored, ordered by when it was measured, never at the order of arrival: a replay gives
the same answer.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from wire_format.identity import derived_id
from wire_format.measurement import Instant, Measurement


@dataclass(frozen=True, slots=True)
class Reading:
    """One stored measurement with the fold of the statements about it.

    `patient` is the registry's patient id, None while nobody is known to own it; `measured` is the folded
    moment (re-dated where a statement says so), None when it is unknown; `statements` are the ids of the
    statements the fold stands on. `forked` marks a reading of a sequence that came twice with two contents,
    `repetition_of` the reading whose bytes it seems to repeat.
    """

    measurement: Measurement
    patient: str | None
    measured: Instant | None
    statements: tuple[UUID, ...] = ()
    forked: bool = False
    repetition_of: UUID | None = None

    @property
    def id(self) -> UUID:
        """The measurement's id."""
        return self.measurement.measurement_id


class Severity(StrEnum):
    """How soon somebody must look. Times are programme data, not code."""

    SEVERE = "severe"
    HIGH = "high"
    ROUTINE = "routine"


class Standing(StrEnum):
    """How far a finding holds."""

    UNCONFIRMED = "unconfirmed"  # one reading says so; a second one is asked for
    CONFIRMED = "confirmed"  # the rule's condition is met in full
    DOWNGRADED = "downgraded"  # a later normal reading of the same session speaks against it


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of one rule about one patient (or, unassigned, about one home).

    `subject` is the patient id, or `home:<gateway>` while the person is unknown. `evidence` are the readings
    it stands on in the order of measuring, the first being the trigger that gives the finding its identity.
    `reason` fills the one-line sentence of the rule, as pairs of name and exact text.
    """

    finding_id: UUID
    rule: str
    version: str
    subject: str
    severity: Severity
    standing: Standing
    evidence: tuple[UUID, ...]
    statements: tuple[UUID, ...]
    since: dt.datetime
    reason: tuple[tuple[str, str], ...] = ()


def finding_id(subject: str, rule: str, first_trigger: UUID) -> UUID:
    """Return the identity of a finding: subject, rule and first trigger."""
    return derived_id("finding", subject, rule, first_trigger)


@dataclass(frozen=True, slots=True)
class Settings:
    """A patient's own thresholds: names of the rule files' parameters to exact text; empty means default."""

    overrides: dict[str, str] = field(default_factory=dict)


class Rule(Protocol):
    """One rule of the catalogue."""

    id: str
    version: str

    def findings(
        self, readings: Sequence[Reading], settings: Settings, now: dt.datetime
    ) -> frozenset[Finding]:
        """Return what holds for one subject's readings, in any order, at `now` (UTC)."""
        ...
