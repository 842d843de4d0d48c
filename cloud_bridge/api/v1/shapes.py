"""What the interface answers with. Values are exact decimals as strings, times are UTC; unknown is null."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from cloud_bridge.access.audit import Entry
from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.alerts import AlertState, Move, Outcome
from cloud_bridge.rules.base import Queue, Reading, Severity, Standing
from cloud_bridge.rules.care import Care, CareRole
from cloud_bridge.rules.programme import Programme
from cloud_bridge.rules.refusals import Refusal, refusal
from cloud_bridge.store.base import DeadLetter, LifeEvent
from wire_format.base import LocalDigits
from wire_format.measurement import (
    Absent,
    ClockTrust,
    Component,
    Context,
    Failure,
    Instant,
    Remark,
)
from wire_format.nomenclature import Quantity, Term, Unit

EXAMPLE_ID: Final = "6f0a7c52-6f1e-5d0e-9f5b-0d8f4f3f2b10"
EXAMPLE_TIME: Final = "2026-11-24T08:00:00Z"


class Shape(BaseModel):
    """Frozen, closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


def _exact(value: Decimal) -> str:
    return format(value, "f")


Exact = Annotated[
    Decimal,
    PlainSerializer(_exact, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["128", "5.60"]}),
]
Digits = Annotated[
    LocalDigits,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$",
            "examples": ["2026-11-24T16:00:00"],
        }
    ),
]
"""A device clock's digits: no moment, for want of a zone."""
Moment = Annotated[dt.datetime, Field(examples=[EXAMPLE_TIME])]
AlertId = Annotated[UUID, Field(examples=[EXAMPLE_ID])]
Tag = Annotated[str, Field(pattern='^"[0-9]+"$', examples=['"2"'])]


class When(Shape):
    """A moment within `uncertainty_ms` on either side; null where nobody knows how far off it is."""

    utc: Moment
    uncertainty_ms: int | None

    @classmethod
    def of(cls, instant: Instant | None) -> Self | None:
        """Return an instant as it is shown."""
        return None if instant is None else cls(utc=instant.utc, uncertainty_ms=instant.uncertainty_ms)


class Value(Shape):
    """One value in the device's own digits and unit (UCUM); without one, `absent` says why there is none."""

    term: Term
    value: Exact | None
    unit: Unit
    absent: Absent | None

    @classmethod
    def of(cls, one: Component) -> Self:
        """Return a component as it is shown."""
        return cls(term=one.term, value=one.value, unit=one.unit, absent=one.absent)


class Device(Shape):
    """What measured."""

    maker: str
    model: str


class ReadingShown(Shape):
    """One reading, as all statements about it say today.

    `measured` is null where nobody knows when it was; `clock` says how far the device's own time can be
    believed, `stated` is what it said (its own digits, without a zone). `not_used` says why no rule stands
    on it.
    """

    reading_id: AlertId
    quantity: Quantity
    data: DataType | None = Field(description="The kind of data that consents speak of.")
    measured: When | None
    received: When
    clock: ClockTrust
    stated: Digits | None
    values: list[Value]
    context: Context | None = Field(description="What the device said beside the values.")
    failure: Failure | None
    remarks: list[Remark]
    forked: bool
    repetition_of: UUID | None
    not_used: Refusal | None
    device: Device

    @classmethod
    def of(cls, one: Reading) -> Self:
        """Return a reading as it is shown."""
        m = one.measurement
        return cls(
            reading_id=one.id,
            quantity=m.quantity,
            data=DATA_OF.get(m.quantity),
            measured=When.of(one.measured),
            received=When(utc=m.time.received_at, uncertainty_ms=m.time.received_uncertainty_ms),
            clock=m.time.trust,
            stated=m.time.stated,
            values=[Value.of(c) for c in m.components],
            context=m.context,
            failure=m.failure,
            remarks=list(m.remarks),
            forked=one.forked,
            repetition_of=one.repetition_of,
            not_used=refusal(one),
            device=Device(maker=m.device.maker, model=m.device.model),
        )


class Withheld(Shape):
    """Something that is not shown, and why."""

    reason: str = Field(pattern="^no_consent$", examples=["no_consent"])


class AlertShown(Shape):
    """One alert. `tag` is what an act is sent with (If-Match); of what came late nobody is paged.

    `why` is one line in the language that was accepted; null where it would quote what you may not see
    (`why_withheld`).
    """

    alert_id: AlertId
    tag: Tag
    state: AlertState
    severity: Severity
    urgency: Severity
    standing: Standing
    queue: Queue
    late: bool
    rule: str
    programme: str
    version: str
    patient: str | None = Field(description="Null while nobody knows whose the reading is.")
    home: str | None = Field(description="The gateway, where the patient is not known.")
    why: str | None
    why_withheld: Withheld | None
    since: Moment
    episodes: int = Field(description="How many of one problem it tells of.")
    folded_into: AlertId | None = Field(description="The alert that tells of it, if another one does.")
    raised_at: Moment
    due_at: Moment
    asked: CareRole
    escalation: int
    acknowledged_at: Moment | None
    acknowledged_by: str | None
    moved_at: Moment | None
    moved_by: str | None
    outcome: Outcome | None
    may: list[Move] = Field(description="What you may do with it now.")


class Happened(Shape):
    """One thing that happened to an alert; `by` is null for the rules and the clock."""

    at: Moment
    what: str
    by: str | None
    outcome: Outcome | None
    note: str | None
    asked: CareRole | None

    @classmethod
    def of(cls, one: LifeEvent) -> Self:
        """Return an event as it is shown."""
        return cls(at=one.at, what=one.what, by=one.by, outcome=one.outcome, note=one.reason, asked=one.asked)


class AlertWhole(AlertShown):
    """One alert with its history, and of the readings it stands on those that you may see.

    `evidence_withheld` counts the others.
    """

    history: list[Happened]
    evidence: list[ReadingShown]
    evidence_withheld: int


class Page(Shape):
    """One page of a list. `next` is the `cursor` of the next one; null on the last."""

    next: str | None


class AlertPage(Page):
    """Alerts, the latest raised first."""

    items: list[AlertShown]


class ReadingPage(Page):
    """Readings, the latest measured first, those without a time last; `withheld` are kinds not shown."""

    items: list[ReadingShown]
    withheld: list[DataType]


class PatientShown(Shape):
    """A patient, by our name and by the hospital's, and which kinds of data you may read of them."""

    patient: str
    system: str
    number: str
    may_read: list[DataType]


class PatientPage(Page):
    """Patients by name."""

    items: list[PatientShown]


class EntryShown(Shape):
    """One entry of the chained record: who asked what, and the answer. Roles also: destination, nobody."""

    number: int
    at: Moment
    account: str
    role: str
    action: Action
    patient: str | None
    data: DataType | None
    allowed: bool
    policies: list[str]
    reason: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, one: Entry) -> Self:
        """Return an entry as it is shown."""
        return cls(
            number=one.number,
            at=one.at,
            account=one.account,
            role=one.role,
            action=one.action,
            patient=one.patient,
            data=one.data,
            allowed=one.allowed,
            policies=list(one.policies),
            reason=one.reason,
            digest=one.digest.hex(),
        )


class EntryPage(Page):
    """Entries, the newest first."""

    items: list[EntryShown]


class DeadLetterKey(Shape):
    """Which delivery: of an alert or a reading, to one destination."""

    kind: str = Field(pattern="^[a-z]{1,16}$", examples=["alert"])
    subject: UUID = Field(examples=[EXAMPLE_ID])
    destination: str = Field(min_length=1, max_length=64, examples=["fhir"])


class DeadLetterShown(DeadLetterKey):
    """What a destination will never accept as it is, with what it said."""

    since: Moment
    error: str
    attempts: int

    @classmethod
    def of(cls, since: dt.datetime, one: DeadLetter) -> Self:
        """Return a dead letter as it is shown."""
        key = one.key
        return cls(
            kind=key.kind,
            subject=key.subject,
            destination=key.destination,
            since=since,
            error=one.last_error,
            attempts=one.attempts,
        )


class DeadLetterPage(Page):
    """Dead letters, the oldest first."""

    items: list[DeadLetterShown]


class Changed(Shape):
    """That an alert changed: what is told in an event, and no more."""

    alert_id: UUID
    state: AlertState
    tag: Tag


class Done(Shape):
    """It was done."""

    done: bool = Field(examples=[True])


class Me(Shape):
    """Who asks. `csrf` is what a browser sends with changes; null with a token, which ends at `until`."""

    account: str
    role: Role
    organization: str
    patients: list[str]
    by: str = Field(pattern="^(session|token)$", examples=["token"])
    token: str | None
    until: Moment
    csrf: str | None


class ProgrammeShown(Shape):
    """An installed programme: its rules, and until when its items must be seen by whom."""

    programme: str
    version: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    rules: list[str]
    care: Care

    @classmethod
    def of(cls, one: Programme) -> Self:
        """Return a programme as it is shown."""
        rules = [str(rule.id) for rule in (*one.rules, *one.technical)]
        return cls(
            programme=one.name, version=one.version, digest=one.digest.hex(), rules=rules, care=one.care
        )


class ProgrammeList(Shape):
    """The installed programmes."""

    items: list[ProgrammeShown]
