"""A discharge plan: who went home, what is agreed to be watched, and who sees them first. Pure values.

What a source cannot say is None, and never means "none": an ADT^A03 carries no medication, so what an earlier
FHIR plan of the same stay said of it stays.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from cloud_bridge.connectors.base import Identifier
from wire_format.errors import Rejected
from wire_format.identity import derived_id


@dataclass(frozen=True, slots=True)
class Fault:
    """What of a plan is not understood: where it stands, and what to write there.

    `where` is a resource and its element ("Goal/g1.target[0].measure"), or an HL7 location ("PID-3").
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class PlanRefusedError(Rejected):
    """A plan that is not taken, as a whole: each of its faults, and nothing of it is kept."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        said = "; ".join(map(str, self.faults))
        super().__init__(f"This discharge plan is not taken, nor any part of it. {said}")


@dataclass(frozen=True, slots=True)
class OwnValue:
    """A patient's own value of a rule's parameter, as JSON of what a programme's file would say."""

    rule: str
    parameter: str
    value: str
    author: str
    reason: str


@dataclass(frozen=True, slots=True)
class Medication:
    """One line of the medication list, in the hospital's own words.

    `at` are local times of day of the patient, on `weekdays` (Monday 0; empty: each day), from `starts` to
    `ends`, both included. Without `at` nobody is reminded, and `no_reminder` says why.
    """

    key: str
    text: str
    dosage: str
    at: tuple[dt.time, ...] = ()
    weekdays: tuple[int, ...] = ()
    starts: dt.date | None = None
    ends: dt.date | None = None
    no_reminder: str | None = None

    @property
    def line(self) -> str:
        """The medicine and how it is taken."""
        return f"{self.text}: {self.dosage}" if self.dosage else self.text


@dataclass(frozen=True, slots=True)
class CarePart:
    """What is agreed for the time at home: thresholds, medicines, and what is to be done."""

    own: tuple[OwnValue, ...] = ()
    medications: tuple[Medication, ...] = ()
    follow_up: tuple[str, ...] = ()
    ends: dt.date | None = None
    care_plan: Identifier | None = None


@dataclass(frozen=True, slots=True)
class DischargePlan:
    """One plan. `stay` is the hospital's number of the encounter: it tells plans apart.

    `stated_at` is when this version was put together. `over` says that the plan is revoked or completed.
    `care` None: the source cannot say it; `care_stated_at` is when it was said, if not at `stated_at`.
    `family_doctor` is who is contracted, `family_organization` where.
    """

    stay: Identifier
    patient: Identifier
    stated_at: dt.datetime
    discharged_at: dt.datetime
    author: str
    programmes: tuple[str, ...] = ()
    care: CarePart | None = None
    language: str | None = None
    nurse: Identifier | None = None
    physician: Identifier | None = None
    organization: Identifier | None = None
    family_doctor: Identifier | None = None
    family_organization: Identifier | None = None
    over: bool = False
    remarks: tuple[str, ...] = ()
    care_stated_at: dt.datetime | None = None

    @property
    def agreed_at(self) -> dt.datetime | None:
        """When `care` was said; None if nobody said it yet."""
        return None if self.care is None else self.care_stated_at or self.stated_at

    @property
    def plan_id(self) -> UUID:
        """The plan's id here: the same for each version of it."""
        return derived_id("discharge", self.stay.system, self.stay.value)

    @property
    def digest(self) -> bytes:
        """SHA-256 of what is agreed: when it was said, and what was remarked of it, are left out."""
        agreed = replace(self, stated_at=_NEVER, remarks=())
        text = _PLAN.dump_json(agreed, exclude={"care_stated_at"})
        return hashlib.sha256(text).digest()

    def after(self, before: "DischargePlan") -> "DischargePlan":
        """Return this version, with what only the one before it could say.

        A source without `care` (an ADT^A03) says who went home and who looks after them, and nothing of the
        plan itself: what is agreed, in which programmes, and whether it is over stays as it was. What is
        agreed may also come after an A03 that is later than it: then the A03 says who, and this says what.
        """
        late = self.stated_at < before.stated_at
        who, then = (before, self) if late else (self, before)
        merged = replace(
            self,
            stated_at=who.stated_at,
            discharged_at=who.discharged_at,
            care_stated_at=self.agreed_at,
            programmes=self.programmes or before.programmes,
            language=who.language or then.language,
            nurse=who.nurse or then.nurse,
            physician=who.physician or then.physician,
            organization=who.organization or then.organization,
            family_doctor=who.family_doctor or then.family_doctor,
            family_organization=who.family_organization or then.family_organization,
        )
        if self.care is not None or before.care is None:
            return merged
        return replace(
            merged,
            care=before.care,
            care_stated_at=before.agreed_at,
            programmes=before.programmes,
            author=before.author,
            over=before.over,
        )


_NEVER: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PLAN: Final = TypeAdapter(DischargePlan)


def dump(plan: DischargePlan) -> str:
    """Return a plan as it is kept."""
    return _PLAN.dump_json(plan).decode()


def load(text: str) -> DischargePlan:
    """Return a plan as it was kept."""
    return _PLAN.validate_json(text)
