"""The delivery outbox in SQL: rows claimed by conditional update, done when the receiver said 2xx."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Engine, and_, or_, select, update

from cloud_bridge.connectors.base import AlertOrder, CareContext, Gateway, ReadingOrder, WithdrawnReading
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.orders import alert_order
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import ClaimedDelivery, DeliveryKey
from cloud_bridge.store.engine import reading
from cloud_bridge.store.silences import cause_of
from wire_format.errors import Rejected

CLAIM_LASTS: Final = dt.timedelta(minutes=2)
ERROR_LENGTH: Final = 500
MAX_FILED: Final = 60
"""A fortnight of a sensor is thousands of readings: they are filed, but not all named by one work order."""
UNKNOWN_SOFTWARE: Final = "unknown"


class SqlDeliveries:
    """See `Deliveries`. A claim that its worker does not live to fulfil runs out by itself."""

    def __init__(
        self,
        engine: Engine,
        staff_language: str,
        claim_lasts: dt.timedelta = CLAIM_LASTS,
        zone: str = "UTC",
        duty: Duty = ALWAYS,
    ) -> None:
        self._engine = engine
        self._staff_language = staff_language
        self._claim_lasts = claim_lasts
        self._zone = zone
        self._duty = duty

    def claim_deliveries(self, now: dt.datetime, limit: int) -> list[ClaimedDelivery]:
        """Claim rows that are due; alerts before readings, then the oldest first."""
        table = schema.delivery
        due = and_(
            ~table.c.dead,
            table.c.delivered < table.c.wanted,
            table.c.next_attempt_at <= now,
            or_(table.c.claimed_until.is_(None), table.c.claimed_until <= now),
        )
        query = select(table).where(due).order_by(table.c.kind, table.c.created_at).limit(limit)
        claimed = []
        with self._engine.begin() as connection:
            for row in connection.execute(query).all():
                mine = and_(_is(row), due)
                until = {"claimed_until": now + self._claim_lasts}
                if connection.execute(update(table).where(mine).values(**until)).rowcount == 1:
                    key = DeliveryKey(row.kind, row.subject, row.destination)
                    claimed.append(ClaimedDelivery(key, row.wanted, row.attempts, row.created_at))
        return claimed

    def mark_delivered(self, claimed: ClaimedDelivery, now: dt.datetime) -> None:
        """Record the receiver's 2xx for this revision."""
        del now
        self._change(claimed, {"delivered": claimed.wanted, "last_error": None, "attempts": 0})

    def mark_failed(self, claimed: ClaimedDelivery, error: str, next_attempt_at: dt.datetime | None) -> None:
        """Record a failure: to be tried again then, or, with None, a dead letter."""
        values: dict[str, Any] = {"attempts": claimed.attempts + 1, "dead": next_attempt_at is None}
        if next_attempt_at is not None:
            values["next_attempt_at"] = next_attempt_at
        values["last_error"] = error[:ERROR_LENGTH]
        self._change(claimed, values, schema.delivery.c.wanted == claimed.wanted)

    def _change(
        self, claimed: ClaimedDelivery, values: dict[str, Any], *conditions: ColumnElement[bool]
    ) -> None:
        """End a claim. A newer revision that was wanted meanwhile stays due, whatever became of this.

        A worker whose claim ran out may come after another one that delivered more: then it has no say.
        """
        table = schema.delivery
        last_word = and_(_is(claimed.key), table.c.delivered < claimed.wanted, *conditions)
        with self._engine.begin() as connection:
            connection.execute(update(table).where(_is(claimed.key)).values(claimed_until=None))
            connection.execute(update(table).where(last_word).values(**values))

    def retry_dead(self, key: DeliveryKey, now: dt.datetime) -> None:
        """Let a dead letter be delivered again; raises `Rejected` if there is none."""
        retry_dead(self._engine, key, now)

    def waiting(self) -> int:
        """Return how many rows are neither delivered nor dead."""
        table = schema.delivery
        query = select(table.c.subject).where(~table.c.dead, table.c.delivered < table.c.wanted)
        with reading(self._engine) as connection:
            return len(connection.execute(query).all())

    def load_reading_order(self, measurement: UUID) -> ReadingOrder | WithdrawnReading:
        """Return what a connector needs to file a reading, or to take one back that is nobody's any more."""
        with reading(self._engine) as connection:
            found = _reading_orders(connection, [measurement])
        return found[0] if found else WithdrawnReading(measurement)

    def load_alert_order(self, alert: UUID) -> AlertOrder | None:
        """Return what a connector needs to hand over an alert; None if it has no patient."""
        with reading(self._engine) as connection:
            row = connection.execute(select(schema.alert).where(schema.alert.c.id == alert)).one()
            one = rows.alert(row)
            care = _care(connection, one.finding.subject)
            if care is None:
                return None
            evidence = _filed(one.finding.evidence)
            readings = _reading_orders(connection, evidence)
            gateway = _gateway(connection, row.gateway, _software(connection, evidence))
            why = cause_of(connection, one.finding)
            lives = ZoneInfo(rows.settings(connection, one.finding.subject, self._zone).zone)
        # What turned out to be somebody else's is no business of this patient's work order.
        own = [order for order in readings if order.reading.patient == one.finding.subject]
        return alert_order(one, own, care, gateway, self._staff_language, self._duty, lives, why)


def retry_dead(engine: Engine, key: DeliveryKey, now: dt.datetime) -> None:
    """Let a dead letter be delivered again; raises `Rejected` if there is none."""
    table = schema.delivery
    again = {"dead": False, "attempts": 0, "next_attempt_at": now}
    with engine.begin() as connection:
        changed = connection.execute(update(table).where(_is(key), table.c.dead).values(**again))
    if changed.rowcount == 0:
        raise Rejected("There is no such dead letter: `cloud-bridge status` lists them.")


def _is(key: Any) -> Any:  # noqa: ANN401 - a row or a key; SQLAlchemy's expression
    table = schema.delivery
    return and_(
        table.c.kind == key.kind, table.c.subject == key.subject, table.c.destination == key.destination
    )


def _care(connection: Connection, patient: str) -> CareContext | None:
    row = connection.execute(select(schema.patient).where(schema.patient.c.id == patient)).one_or_none()
    return None if row is None else rows.care_context(row)


def _reading_orders(connection: Connection, ids: Sequence[UUID]) -> list[ReadingOrder]:
    """Return orders in the order of `ids`, without those that have no patient."""
    table = schema.measurement
    found = connection.execute(select(table).where(table.c.id.in_(ids))).all()
    orders: dict[UUID, ReadingOrder] = {}
    for row, one in zip(found, rows.readings(connection, found), strict=True):
        care = _care(connection, one.patient) if one.patient else None
        if care is not None:
            gateway = _gateway(connection, row.gateway, one.measurement.provenance.software)
            orders[row.id] = ReadingOrder(one, care, gateway, row.envelope, row.revision)
    return [orders[i] for i in ids if i in orders]


def _filed(evidence: Sequence[UUID]) -> Sequence[UUID]:
    """Return the readings that a work order names: the first and the latest ones, if there are too many."""
    return evidence if len(evidence) <= MAX_FILED else (evidence[0], *evidence[1 - MAX_FILED :])


def _software(connection: Connection, evidence: Sequence[UUID]) -> str:
    if not evidence:
        return UNKNOWN_SOFTWARE
    table = schema.measurement
    body = connection.execute(select(table.c.body).where(table.c.id == evidence[0])).scalar_one()
    return rows.load_measurement(body).provenance.software


def _gateway(connection: Connection, name: str, software: str) -> Gateway:
    table = schema.gateway
    system_id = connection.execute(select(table.c.system_id).where(table.c.name == name)).scalar_one()
    return Gateway(name, system_id, software)
