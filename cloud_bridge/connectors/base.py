"""What a connector is given, and the one method it implements."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID

from cloud_bridge.alerts import Alert, Outcome, Request
from cloud_bridge.rules.base import Reading
from cloud_bridge.rules.care import CareRole


@dataclass(frozen=True, slots=True)
class Identifier:
    """A business identifier as FHIR has it: `system` URI and `value`."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class CareContext:
    """Who a patient is to the hospital, and who works for them. From the registry, never from a home.

    `language` is BCP 47 ("zh-Hans", "en"); names are not carried: the hospital's system has them. Not
    everybody has a contracted family doctor (at `family_organization`), or a pharmacist.
    """

    patient: Identifier
    nurse: Identifier
    physician: Identifier
    organization: Identifier
    language: str
    family_doctor: Identifier | None = None
    family_organization: Identifier | None = None
    pharmacist: Identifier | None = None

    def of(self, role: CareRole) -> Identifier | None:
        """Return who has a role for this patient; None if nobody has."""
        return {
            CareRole.NURSE: self.nurse,
            CareRole.PHYSICIAN: self.physician,
            CareRole.ORGANIZATION: self.organization,
            CareRole.FAMILY_DOCTOR: self.family_doctor,
            CareRole.PHARMACIST: self.pharmacist,
        }[role]


@dataclass(frozen=True, slots=True)
class Copy:
    """What somebody beside the physician is told, for their information."""

    role: CareRole
    to: Identifier
    text: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """The personal health gateway as the hospital's device: `system_id` is an EUI-64 in hex."""

    gateway: str
    system_id: str
    software: str


@dataclass(frozen=True, slots=True)
class ReadingOrder:
    """One reading to be filed. `envelope_digest` is the SHA-256 of the sealed envelope that brought it.

    A `revision` above 1 says that the same reading was filed otherwise before: with another content, time or
    patient (status amended).
    """

    reading: Reading
    care: CareContext
    gateway: Gateway
    envelope_digest: bytes
    revision: int = 1


@dataclass(frozen=True, slots=True)
class AlertOrder:
    """One alert with the readings it stands on, trigger first, and the sentences for each reader.

    Readings that are another patient's by now, or nobody's, are left out: a withdrawn alert may have none.
    `gateway` is the home's that measured; None of somebody whose home has none yet. Of the sentences, None
    says that this reader is told nothing.
    `asked` is whose work it is now. The patient is told at once, or not before `patient_not_before`.
    """

    alert: Alert
    readings: Sequence[ReadingOrder]
    care: CareContext
    gateway: Gateway | None
    reason: str
    work: str | None
    physician_text: str | None
    patient_text: str | None
    asked: CareRole = CareRole.NURSE
    patient_not_before: dt.datetime | None = None
    copies: Sequence[Copy] = ()

    @property
    def owner(self) -> Identifier:
        """Who is asked."""
        return self.care.of(self.asked) or self.care.organization


@dataclass(frozen=True, slots=True)
class WithdrawnReading:
    """A reading that was somebody's and is nobody's now: what was filed of it is in error."""

    measurement_id: UUID


class VisitState(StrEnum):
    """What is true of a first visit."""

    ASKED = "asked"  # the family doctor's work
    DONE = "done"  # their system said so
    GIVEN_BACK = "given_back"  # they refused it: the hospital's nurse is asked
    WITHDRAWN = "withdrawn"  # the plan is over


@dataclass(frozen=True, slots=True)
class VisitOrder:
    """The first visit after a discharge, asked of the contracted family doctor, with what they need for it.

    `text` says what is asked; `medications` and `follow_up` are lines in the hospital's own words.
    """

    visit_id: UUID
    care: CareContext
    asked_at: dt.datetime
    due_at: dt.datetime
    text: str
    medications: Sequence[str]
    follow_up: Sequence[str]
    care_plan: Identifier | None = None
    state: VisitState = VisitState.ASKED


@dataclass(frozen=True, slots=True)
class ReminderOrder:
    """A message to the patient, in their language, from `due_at` on and not after `until`."""

    reminder_id: UUID
    care: CareContext
    due_at: dt.datetime
    until: dt.datetime
    text: str


Order = ReadingOrder | WithdrawnReading | AlertOrder | VisitOrder | ReminderOrder


class WorkState(StrEnum):
    """What the hospital's system says of a work order."""

    WAITING = "waiting"
    ACCEPTED = "accepted"  # somebody took it
    BEGUN = "begun"  # somebody works on it
    COMPLETED = "completed"
    REFUSED = "refused"  # rejected, failed or cancelled there


@dataclass(frozen=True, slots=True)
class WorkReport:
    """The state of one alert's (or first visit's) work order as read back, with who said so and when.

    `outcome` is None where the system did not say what came of it; `request` is the asking that it answers,
    None where the system cannot tell: then it is taken to be the newest one.
    """

    alert_id: UUID
    state: WorkState
    by: str | None
    at: dt.datetime
    outcome: Outcome | None = None
    request: Request | None = None


class Connector(ABC):
    """One way into a follow-up system. `deliver` is the one method to write. Use as `async with`.

    `deliver` returns when the receiver has confirmed (2xx). It raises `Unreachable` to be tried again,
    `Rejected` when this order can never be accepted (it becomes a visible dead letter), `Misconfigured`
    when a human must mend the connection, and nothing else. Delivering an order again must create nothing.
    """

    name: str

    @abstractmethod
    async def deliver(self, order: Order) -> None:
        """Hand one order over."""

    async def work_reports(self, alerts: Sequence[UUID]) -> Sequence[WorkReport]:
        """Read back what became of the work orders of `alerts`; unknown ones are left out.

        As it stands here nothing is read back: the system is only told.
        """
        del alerts
        return ()

    async def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what is kept between orders; as it stands here nothing is."""

    async def __aenter__(self) -> Self:
        """Connect at the first order, not now: the receiver may be down."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()
