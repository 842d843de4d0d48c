"""Deliveries that wait for a consent: what needs one, what holds a row back, and what lets it go.

A row is held while `held_at` is set; then it is due again only when it is given up (`HOLD_LASTS`). Who gives
a consent lets go of what it covers; who withdraws one has all that waits of this patient looked at again. All
functions work within the caller's transaction.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Connection, Engine, and_, func, not_, or_, select, update

from cloud_bridge.access.audit import DESTINATION, Entry
from cloud_bridge.access.consent import DATA_OF, covers
from cloud_bridge.access.model import Action, DataType
from cloud_bridge.connectors.base import ReadingOrder
from cloud_bridge.store import discharge_schema, rows, schema
from cloud_bridge.store.audit_chain import append
from cloud_bridge.store.base import Consented, HeldDeliveries
from cloud_bridge.store.consents import consents_of
from cloud_bridge.store.engine import reading

HOLD_LASTS: Final = dt.timedelta(days=30)
_OF_PLANS: Final[Mapping[str, Column[Any]]] = {
    "visit": discharge_schema.first_visit.c.discharge,
    "reminder": discharge_schema.reminder.c.id,
}
"""Kinds of deliveries that a discharge plan asks for: both tell of medicines."""
_LET_GO: Final = {"held_at": None, "held_to": None, "held_of": None, "held_data": None}


@dataclass(frozen=True, slots=True)
class Missing:
    """A consent that a delivery needs and has not. `data` is a kind of data, or a quantity of no kind."""

    destination: str
    to: str
    patient: str
    data: str


def whose(connection: Connection, key: Any) -> tuple[str | None, DataType | str]:  # noqa: ANN401 - a row or a key
    """Return whom a delivery tells of, by the fold of this moment, and what kind of data that is."""
    if key.kind == "alert":
        query = select(schema.alert.c.subject).where(schema.alert.c.id == key.subject)
        return connection.execute(query).scalar_one(), DataType.ALERTS
    if key.kind in _OF_PLANS:
        whom = _OF_PLANS[key.kind]
        query = select(whom.table.c.patient).where(whom == key.subject)
        return connection.execute(query).scalar_one(), DataType.MEDICATION
    table = schema.measurement
    (one,) = rows.readings(
        connection, connection.execute(select(table).where(table.c.id == key.subject)).all()
    )
    quantity = one.measurement.quantity
    return one.patient, DATA_OF.get(quantity, quantity.value)


def missing(connection: Connection, key: Any, to: str, now: dt.datetime) -> tuple[str | None, Missing | None]:  # noqa: ANN401 - as above
    """Return whom a delivery tells of, and the consent that it needs and has not.

    What tells of nobody (a reading that is nobody's any more) needs none.
    """
    patient, data = whose(connection, key)
    if patient is None:
        return None, None
    kind = data if isinstance(data, DataType) else None
    if kind is not None and covers(consents_of(connection, patient), to, kind, now):
        return patient, None
    return patient, Missing(key.destination, to, patient, str(data))


def covered(
    connection: Connection, orders: Sequence[ReadingOrder], consent: Consented, now: dt.datetime
) -> list[ReadingOrder]:
    """Return those of a patient's readings that a recipient may be told of beside an alert."""
    given = consents_of(connection, consent.patient or "")
    kinds = {data for data in DataType if covers(given, consent.recipient, data, now)}
    return [one for one in orders if DATA_OF.get(one.reading.measurement.quantity) in kinds]


def hold(consent: Missing, now: dt.datetime) -> dict[str, Any]:
    """Return the columns of a row that is held from now on."""
    return {
        "held_at": now,
        "held_to": consent.to,
        "held_of": consent.patient,
        "held_data": consent.data,
        "next_attempt_at": now + HOLD_LASTS,
    }


def reason(consent: Missing) -> str:
    """Return why something was not delivered, in words."""
    days = HOLD_LASTS.days
    return (
        f"For {days} days {consent.to} had no consent to {consent.data}: not delivered. Record the consent, "
        "then retry."
    )


def note_held(connection: Connection, held: Iterable[Missing], now: dt.datetime) -> None:
    """Put on record what was held back: one entry for each destination, patient and kind of data."""
    for consent, count in Counter(held).items():
        said = f"{count} held back: {consent.to} has no consent"
        note(connection, consent, said, now, allowed=False)


def release(  # noqa: PLR0913, PLR0917 - a consent, and when
    connection: Connection, patient: str, to: str, data: DataType, at: dt.datetime, now: dt.datetime
) -> None:
    """Let go of what waited for a consent: it is due when the consent begins, and is on record."""
    table = schema.delivery
    mine = and_(
        table.c.held_at.is_not(None),
        table.c.held_of == patient,
        table.c.held_to == to,
        table.c.held_data == data.value,
        not_(table.c.dead),
    )
    query = select(table.c.destination, func.count()).where(mine).group_by(table.c.destination)
    for destination, count in connection.execute(query.order_by(table.c.destination)).all():
        consent = Missing(destination, to, patient, data.value)
        note(connection, consent, f"{count} let go: {to} has consent", now, allowed=True)
    connection.execute(update(table).where(mine).values(**_LET_GO, next_attempt_at=at))


def look_again(connection: Connection, patient: str, now: dt.datetime) -> None:
    """Make all that waits of a patient due: what has no consent any more is then held back."""
    table = schema.delivery
    readings = select(schema.measurement.c.id).where(schema.measurement.c.patient == patient)
    alerts = select(schema.alert.c.id).where(schema.alert.c.subject == patient)
    of_plans = [select(one).where(one.table.c.patient == patient) for one in _OF_PLANS.values()]
    waiting = and_(
        not_(table.c.dead),
        table.c.delivered < table.c.wanted,
        table.c.held_at.is_(None),
        table.c.next_attempt_at > now,
        or_(*(table.c.subject.in_(mine) for mine in (readings, alerts, *of_plans))),
    )
    connection.execute(update(table).where(waiting).values(next_attempt_at=now))


def needs_changed(engine: Engine, needed: Mapping[str, str], now: dt.datetime) -> None:
    """Let go of what is held for a consent that its destination no longer needs, as it is configured now."""
    table = schema.delivery
    as_before = [
        and_(table.c.destination == destination, table.c.held_to == to) for destination, to in needed.items()
    ]
    stale = and_(table.c.held_at.is_not(None), *(not_(one) for one in as_before))
    with engine.begin() as connection:
        connection.execute(update(table).where(stale).values(**_LET_GO, next_attempt_at=now))


def held(engine: Engine) -> list[HeldDeliveries]:
    """Return what is held back, by destination, patient and kind of data."""
    table = schema.delivery
    by = (table.c.destination, table.c.held_to, table.c.held_of, table.c.held_data)
    query = (
        select(*by, func.count().label("number"), func.min(table.c.held_at).label("since"))
        .where(table.c.held_at.is_not(None), not_(table.c.dead))
        .group_by(*by)
        .order_by(*by)
    )
    with reading(engine) as connection:
        return [
            HeldDeliveries(r.destination, r.held_to, r.held_of, r.held_data, r.number, r.since)
            for r in connection.execute(query)
        ]


def note(connection: Connection, consent: Missing, said: str, now: dt.datetime, *, allowed: bool) -> None:
    """Put on record what another system was told, or was not told."""
    data = DataType(consent.data) if consent.data in set(DataType) else None

    def made(number: int, before: bytes) -> Entry:
        return Entry(
            number=number,
            at=now,
            account=consent.destination,
            role=DESTINATION,
            action=Action.READ,
            patient=consent.patient,
            data=data,
            allowed=allowed,
            policies=(),
            reason=said,
            before=before,
        )

    append(connection, made)
