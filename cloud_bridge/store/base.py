"""What the parts of the bridge ask of a store. Each part sees only its own protocol."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from cloud_bridge.alerts import Act, Alert, AlertState, Outcome
from cloud_bridge.connectors.base import CareContext, Identifier, Order
from cloud_bridge.rules.base import Queue, Reading, Setting, Settings
from cloud_bridge.rules.care import CareRole
from wire_format.keys import GatewayPublic
from wire_format.nomenclature import Quantity
from wire_format.receipt import Verdict
from wire_format.status import Status


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """Bytes as they came from the broker, committed before they were acknowledged."""

    id: int
    topic: str
    data: bytes
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ReceiptDue:
    """One envelope whose home waits for a receipt."""

    site: str
    gateway: str
    outbox_id: UUID
    sequence: int
    verdict: Verdict
    digest: bytes


@dataclass(frozen=True, slots=True)
class DownlinkDue:
    """One sealed message that is not published yet."""

    id: int
    site: str
    gateway: str
    data: bytes


@dataclass(frozen=True, slots=True)
class DeliveryKey:
    """One row of the delivery outbox: `kind` is "reading", "alert", "visit" or "reminder"."""

    kind: str
    subject: UUID
    destination: str


@dataclass(frozen=True, slots=True)
class Among:
    """Some destinations; or, with `others`, all but them."""

    destinations: frozenset[str]
    others: bool = False


@dataclass(frozen=True, slots=True)
class Consented:
    """What a claim stood on whose destination needs a consent: `recipient` may be told of `patient`.

    `takes_back`: the receiver was told of this reading as another patient's, and may not be told whose it is.
    """

    recipient: str
    patient: str | None
    takes_back: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A row that nobody else will take before `claimed_until`; `wanted` is the revision to be delivered.

    `consent` None: its destination needs none.
    """

    key: DeliveryKey
    wanted: int
    attempts: int
    created_at: dt.datetime
    consent: Consented | None = None


@dataclass(frozen=True, slots=True)
class HeldDeliveries:
    """Deliveries that wait for one consent: of a patient, for `recipient`, to a kind of data."""

    destination: str
    recipient: str
    patient: str
    data: str
    count: int
    since: dt.datetime


class ConsentGoneError(Exception):
    """What a claimed delivery stood on is gone: let go of the claim, the next one holds the row back."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that the destination will never accept as it is."""

    key: DeliveryKey
    last_error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of a gateway's connection; `kept`: the broker had it, it did not just happen."""

    gateway: str
    status: Status
    kept: bool


@dataclass(frozen=True, slots=True)
class EnrolledGateway:
    """A gateway as the registry knows it."""

    name: str
    site: str
    keys: GatewayPublic
    system_id: str


@dataclass(frozen=True, slots=True)
class Stated:
    """Who said something about a patient's care, why, and when; `origin` is the discharge plan it is of."""

    author: str
    reason: str
    at: dt.datetime
    origin: UUID | None = None


class Registry(Protocol):
    """Gateways, and the only place where a pseudonym meets a patient."""

    def enrol_gateway(self, enrolled: EnrolledGateway, now: dt.datetime) -> None:
        """Add or renew a gateway."""
        ...

    def enrol_person(
        self, gateway: str, pseudonym: str, patient: str, care: CareContext, zone: str | None = None
    ) -> None:
        """Say whose pseudonym it is, and in which zone they live (None: the hospital's).

        `Rejected` if it is another patient's, or the gateway unknown.
        """
        ...

    def join(self, patient: str, programmes: Sequence[str], stated: Stated) -> None:
        """Say in which programmes a patient is, the first one deciding. `Rejected` for an unknown patient."""
        ...

    def agree(self, patient: str, rule: str, parameter: str, value: str, stated: Stated) -> bool:
        """Say a patient's own value (JSON; "null" ends it) of a parameter; False if that was so already."""
        ...

    def own_parameters(self) -> Sequence[Setting]:
        """Return every patient's own values that hold."""
        ...

    def gateway(self, name: str) -> EnrolledGateway | None:
        """Return a gateway, None if it is not enrolled."""
        ...


class Deliveries(Protocol):
    """What the delivery loop asks."""

    def claim_deliveries(
        self, now: dt.datetime, limit: int, among: Among | None = None
    ) -> Sequence[ClaimedDelivery]:
        """Claim rows that are due, of any destination or of some, each for one worker.

        What has no consent that it needs is held back.
        """
        ...

    def mark_delivered(self, claimed: ClaimedDelivery, now: dt.datetime) -> None:
        """Record the receiver's 2xx for this revision; a newer revision stays due."""
        ...

    def mark_failed(self, claimed: ClaimedDelivery, error: str, next_attempt_at: dt.datetime | None) -> None:
        """Record a failure: to be tried again then, or, with None, a dead letter."""
        ...

    def let_go(self, claimed: ClaimedDelivery) -> None:
        """End a claim, as if nobody had claimed the row."""
        ...

    def load(self, claimed: ClaimedDelivery, now: dt.datetime) -> Order | None:
        """Return what a connector needs; None if an alert has no patient. Raises `ConsentGoneError`."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a move: whether it held, and the alert after it (and before). Else who was first."""

    held: bool
    alert: Alert
    before: Alert


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """One thing that happened to an alert. `by` is None for the rules and the clock.

    `asked` is the role that is asked from then on, of what was handed on; `reason` is what somebody wrote.
    """

    at: dt.datetime
    what: str
    by: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    asked: CareRole | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """One item that a rule has an episode in, and what became of it. `ended`: somebody resolved it once."""

    programme: str
    rule: str
    state: AlertState
    ended: bool
    outcome: Outcome | None


class HomeHears(StrEnum):
    """What is known of whether a home has heard that somebody saw an item."""

    NOBODY = "nobody"  # no gateway is there: nobody at home is told
    WAITS = "waits"  # it is told as soon as its gateway is connected
    TOLD = "told"  # the broker has the message, and the gateway was connected lately


class Place(NamedTuple):
    """Somebody's place in the queue: people of whom something is open first, then the gravest, then by time.

    `rank` 0 is severe; `due_at` and `since` are the earliest, all of them of what is open if anything is.
    """

    seen: bool
    rank: int
    due_at: dt.datetime
    since: dt.datetime
    subject: str


@dataclass(frozen=True, slots=True)
class File:
    """What a card shows of somebody: who they are to the hospital, what was measured, what is agreed."""

    known_as: Identifier | None
    readings: Sequence[Reading]
    settings: Settings


class Alerts(Protocol):
    """What the inbox page and the work-order poll ask."""

    def open_alerts(self, queue: Queue = Queue.CLINICAL) -> Sequence[Alert]:
        """Return open and acknowledged items of a queue, the most urgent first."""
        ...

    def alert(self, alert_id: UUID) -> Alert | None:
        """Return one alert."""
        ...

    def history(self, patient: str, quantity: Quantity | None, since: dt.datetime) -> Sequence[Reading]:
        """Return a patient's readings (None: of every quantity) by time of measuring."""
        ...

    def move(self, alert_id: UUID, act: Act) -> Taken:
        """Make a move if it holds; `Rejected` if there is no such item, or what is said of it is wrong."""
        ...

    def dead_letters(self) -> Sequence[DeadLetter]:
        """Return what no destination accepted."""
        ...
