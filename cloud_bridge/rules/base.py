"""What a rule sees and says. `findings(readings, settings, now) -> frozenset[Finding]`, and nothing else.

Rules look at what is stored, ordered by when it was measured, never at the order of arrival: a replay gives
the same answer.
"""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from wire_format.identity import derived_id
from wire_format.measurement import Instant, Measurement

HOME: Final = "home:"
"""Subject of what was measured in a home while nobody knows by whom."""
GATEWAY: Final = "gateway:"
"""Subject of what is wrong with a home's equipment."""


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


def subject_of(reading: Reading) -> str:
    """Return whom a finding is about: the patient, or the home while nobody knows who it was."""
    return reading.patient or f"{HOME}{reading.measurement.provenance.gateway}"


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
    RESOLVED = "resolved"  # it was so, and is over: a silence that ended, a third reading that came


class Queue(StrEnum):
    """Whose work a finding is."""

    CLINICAL = "clinical"  # the nurse's inbox and the hospital's work orders
    PATIENT = "patient"  # the patient is asked for something; nobody of the care team has to act
    INSTALLER = "installer"  # equipment; never before clinicians


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of one rule about one patient (or, unassigned, about one home).

    `subject` is the patient id, `home:<gateway>` while the person is unknown, or `gateway:<gateway>` for
    equipment. `evidence` are the readings it stands on in the order of measuring, the first being the trigger
    that gives the finding its identity; a silence from the first day on has none. `statements` are what was
    stated about them, and the patient's own settings that the rule used. `reason` fills the one-line sentence
    of the rule, as pairs of name and exact text. `came_true` is the last moment at which what is found may
    have become so; None if nobody knows: it may be now. `programme` and `version` name the rule set.
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
    programme: str = ""
    queue: Queue = Queue.CLINICAL
    came_true: dt.datetime | None = None


def finding_id(subject: str, rule: str, first_trigger: UUID) -> UUID:
    """Return the identity of a finding: subject, rule and first trigger."""
    return derived_id("finding", subject, rule, first_trigger)


@dataclass(frozen=True, slots=True)
class Setting:
    """A patient's own value of one parameter of one rule: a statement with author, time and reason.

    `value` is JSON of what a programme's file would say; "null" goes back to the programme's own.
    """

    statement_id: UUID
    rule: str
    parameter: str
    value: str
    author: str
    reason: str
    stated_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Membership:
    """A patient is in a programme since a moment: from then on its measurements are expected."""

    statement_id: UUID
    programme: str
    since: dt.datetime


@dataclass(frozen=True, slots=True)
class FirstVisit:
    """The first visit that a discharge plan asks of the family doctor, and what became of it."""

    statement_id: UUID
    asked_at: dt.datetime
    due_at: dt.datetime
    done_at: dt.datetime | None = None
    given_back_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What is agreed for one subject: programmes, own parameters, first visits, and the zone of its days.

    `own` may hold earlier statements too: of one parameter the latest holds. `zone` is an IANA name.
    """

    own: tuple[Setting, ...] = ()
    programmes: tuple[Membership, ...] = ()
    zone: str = "UTC"
    subject: str = ""
    visits: tuple[FirstVisit, ...] = ()

    def of_rule(self, rule: str) -> dict[str, Setting]:
        """Return the statements that hold for a rule, by parameter."""
        said = sorted(
            (s for s in self.own if s.rule == rule),
            key=lambda s: (s.stated_at, s.statement_id),
        )
        return {s.parameter: s for s in said}
