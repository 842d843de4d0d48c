"""What may be asked: the query of each list, and the body of each act. An unknown name is an error.

Each cursor says a place in a fixed order; every text of its form is a place, so none is refused.
"""

import datetime as dt
import re
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from cloud_bridge.access.model import Action
from cloud_bridge.alerts import MAX_NOTE, AlertState, Outcome
from cloud_bridge.rules.base import Queue, Severity
from cloud_bridge.rules.care import CareRole
from cloud_bridge.store.base import DeliveryKey
from wire_format.nomenclature import Quantity

MOST: Final = 200
USUAL: Final = 50
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_LAST: Final = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_TICK: Final = dt.timedelta(microseconds=1)
_ID: Final = "[0-9a-f]{32}"
_AT: Final = "-?[0-9]{1,18}"
"""Microseconds since 1970."""
_HIDDEN: Final = r"\u0000-\u001f\u007f-\u009f\u2028\u2029/\\"
_NAME: Final = rf"^[^.{_HIDDEN}][^{_HIDDEN}]{{0,63}}$"
"""A patient's name in the registry, as it stands in a path: no part that a path would be shortened by."""
_LINE: Final = r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]*$"
"""One line without what does not show: controls, and marks that turn or hide text."""


def _to_utc(value: dt.datetime) -> dt.datetime:
    """Return a moment in UTC; before the first and after the last year there is nothing anyway."""
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:
        return _FIRST if value.year == 1 else _LAST


def _rfc3339(value: object) -> object:
    """Refuse what pydantic would also take for a moment, as seconds since 1970."""
    if isinstance(value, str) and not _MOMENT.match(value):
        raise PydanticCustomError("datetime_parsing", "no moment of RFC 3339")
    return value


When = Annotated[AwareDatetime, AfterValidator(_to_utc), BeforeValidator(_rfc3339)]
PatientName = Annotated[str, Field(pattern=_NAME, examples=["patient-1"])]


class Asked(BaseModel):
    """A query or a body: frozen, closed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listed(Asked):
    """A page of a list."""

    limit: int = Field(default=USUAL, ge=1, le=MOST, description="How many items at most.")


class AlertQuery(Listed):
    """Which alerts. Without `state`, those in the queue (open, acknowledged, in progress)."""

    queue: Queue = Queue.CLINICAL
    state: list[AlertState] = Field(default=[], max_length=len(AlertState))
    severity: list[Severity] = Field(default=[], max_length=3)
    role: CareRole | None = Field(default=None, description="Who is asked now.")
    patient: PatientName | None = None
    cursor: str | None = Field(default=None, pattern=f"^{_AT}-{_ID}$", description="`next` of a page.")


class ReadingQuery(Listed):
    """Which readings: of some quantities, from a moment until before another one."""

    quantity: list[Quantity] = Field(default=[], max_length=len(Quantity))
    since: When | None = Field(default=None, examples=["2026-11-01T00:00:00Z"])
    until: When | None = Field(default=None, examples=["2026-12-01T00:00:00Z"])
    cursor: str | None = Field(
        default=None, pattern=f"^({_AT}|untimed)-{_ID}$", description="`next` of a page."
    )


class PatientQuery(Listed):
    """Which patients."""

    cursor: str | None = Field(default=None, pattern=_NAME, description="`next` of a page.")


class DeadLetterQuery(Listed):
    """Which dead letters."""

    cursor: str | None = Field(
        default=None,
        pattern=rf"^{_AT}-[a-z]{{1,16}}-{_ID}-[!-~]{{1,64}}$",
        description="`next` of a page.",
    )


class EntryQuery(Listed):
    """Which entries of the record: of one patient, of some actions."""

    action: list[Action] = Field(default=[], max_length=len(Action))
    patient: PatientName | None = None
    cursor: str | None = Field(default=None, pattern="^[0-9]{1,9}$", description="`next` of a page.")


class ReaderQuery(Listed):
    """Which entries of one's own record."""

    cursor: str | None = Field(default=None, pattern="^[0-9]{1,9}$", description="`next` of a page.")


class EventQuery(Asked):
    """From where on."""

    after: int | None = Field(default=None, ge=0, le=2**31 - 1, description="A position, as an event's id.")


class Noted(Asked):
    """What is said beside an act."""

    note: str = Field(default="", max_length=MAX_NOTE, pattern=_LINE, examples=["called, no answer"])


class Resolved(Noted):
    """What came of it. Each queue has outcomes of its own."""

    outcome: Outcome = Field(examples=["called"])


def place(at: dt.datetime, one: UUID) -> str:
    """Return the cursor of something that has a moment and an id."""
    return f"{(at - _EPOCH) // _TICK}-{one.hex}"


def after(cursor: str | None) -> tuple[dt.datetime, UUID] | None:
    """Return the moment and the id of a cursor."""
    if cursor is None:
        return None
    at, _, one = cursor.rpartition("-")
    return _moment(at), UUID(hex=one)


def _moment(digits: str) -> dt.datetime:
    try:
        return _EPOCH + int(digits) * _TICK
    except OverflowError:
        return _FIRST if digits.startswith("-") else _LAST


def reading_place(at: dt.datetime | None, one: UUID) -> str:
    """Return the cursor of a reading."""
    return f"untimed-{one.hex}" if at is None else place(at, one)


def after_reading(cursor: str | None) -> tuple[dt.datetime | None, UUID] | None:
    """Return the moment (None: it has none) and the id of a reading's cursor."""
    if cursor is not None and cursor.startswith("untimed-"):
        return None, UUID(hex=cursor.removeprefix("untimed-"))
    return after(cursor)


def letter_place(at: dt.datetime, key: DeliveryKey) -> str:
    """Return the cursor of a dead letter."""
    return f"{(at - _EPOCH) // _TICK}-{key.kind}-{key.subject.hex}-{key.destination}"


def after_letter(cursor: str | None) -> tuple[dt.datetime, DeliveryKey] | None:
    """Return the moment and the key of a dead letter's cursor."""
    if cursor is None:
        return None
    sign = cursor[:1].replace("-", "~")  # the first hyphen is a sign
    at, kind, subject, destination = (sign + cursor[1:]).split("-", 3)
    return _moment(at.replace("~", "-")), DeliveryKey(kind, UUID(hex=subject), destination)
