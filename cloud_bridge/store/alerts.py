"""Alerts in SQL: what is open, what a person did with it, and the message that this sends home."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, and_, select, true, update

from cloud_bridge.alerts import Alert, AlertState, step
from cloud_bridge.connectors.base import Identifier
from cloud_bridge.rules.base import Queue, Reading, Settings
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import DeadLetter, DeliveryKey
from cloud_bridge.store.deliveries import retry_dead
from cloud_bridge.store.engine import reading
from cloud_bridge.store.judging import delivered, want_delivery
from cloud_bridge.store.outgoing import Sealer, queue_message
from wire_format.downlink import SeenByCareTeam
from wire_format.errors import Rejected
from wire_format.nomenclature import Quantity

ROLE = "nurse"
_LIVE = (AlertState.OPEN.value, AlertState.ACKNOWLEDGED.value)


class SqlAlerts:
    """See `Alerts`."""

    def __init__(
        self, engine: Engine, destinations: Sequence[str], sealer: Sealer, zone: str = "UTC"
    ) -> None:
        self._engine = engine
        self._destinations = tuple(destinations)
        self._sealer = sealer
        self._zone = zone

    def open_alerts(self, queue: Queue = Queue.CLINICAL) -> list[Alert]:
        """Return a queue: open items first, then acknowledged ones, each group by when it is due."""
        table = schema.alert
        live = and_(table.c.state.in_(_LIVE), table.c.queue == queue.value)
        query = select(table).where(live).order_by(table.c.due_at, table.c.id)
        with reading(self._engine) as connection:
            found = [rows.alert(row) for row in connection.execute(query)]
        return sorted(found, key=lambda a: a.state is not AlertState.OPEN)

    def delivered_alerts(self) -> list[UUID]:
        """Return live alerts that a destination has: their work orders can be read back."""
        table, delivery = schema.alert, schema.delivery
        query = (
            select(table.c.id)
            .join(delivery, delivery.c.subject == table.c.id)
            .where(
                table.c.state.in_(_LIVE),
                table.c.queue == Queue.CLINICAL.value,
                delivery.c.kind == "alert",
                delivery.c.delivered > 0,
            )
        )
        with reading(self._engine) as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def alert(self, alert_id: UUID) -> Alert | None:
        """Return one alert."""
        with reading(self._engine) as connection:
            row = connection.execute(select(schema.alert).where(schema.alert.c.id == alert_id)).one_or_none()
        return None if row is None else rows.alert(row)

    def history(self, patient: str, quantity: Quantity | None, since: dt.datetime) -> list[Reading]:
        """Return a patient's readings (None: of every quantity) by time of measuring, undated ones last."""
        table = schema.measurement
        query = (
            select(table)
            .where(
                table.c.patient == patient,
                true() if quantity is None else table.c.quantity == quantity.value,
                (table.c.measured_at >= since) | table.c.measured_at.is_(None),
            )
            .order_by(table.c.measured_at.is_(None), table.c.measured_at, table.c.id)
        )
        with reading(self._engine) as connection:
            return rows.readings(connection, connection.execute(query).all())

    def known_as(self, patient: str) -> Identifier | None:
        """Return who a patient is to the hospital."""
        query = select(schema.patient).where(schema.patient.c.id == patient)
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else rows.care_context(row).patient

    def settings(self, patient: str) -> Settings:
        """Return what is agreed for a patient."""
        with reading(self._engine) as connection:
            return rows.settings(connection, patient, self._zone)

    def acknowledge(self, alert_id: UUID, by: str, at: dt.datetime) -> bool:
        """Record that somebody saw it, and queue the message to the home; once."""
        with self._engine.begin() as connection:
            row = _locked(connection, alert_id)
            if row.acknowledged_at is not None:
                return False
            self._saw(connection, row, AlertState.ACKNOWLEDGED, by, at)
            return True

    def complete(self, alert_id: UUID, by: str, at: dt.datetime) -> bool:
        """Record that the work order is finished; whoever finished it has also seen it."""
        with self._engine.begin() as connection:
            row = _locked(connection, alert_id)
            withdrawn = row.state == AlertState.WITHDRAWN.value and row.acknowledged_at is not None
            if row.state == AlertState.COMPLETED.value or withdrawn:
                return False
            if row.acknowledged_at is None:
                self._saw(connection, row, AlertState.COMPLETED, by, at)
            else:
                self._move(connection, row, AlertState.COMPLETED, by, at, {})
            return True

    def _saw(
        self,
        connection: Connection,
        row: Any,  # noqa: ANN401 - a row
        to: AlertState,
        by: str,
        at: dt.datetime,
    ) -> None:
        state = AlertState(row.state)
        # What late data withdrew stays withdrawn; that somebody saw it is recorded all the same.
        to = state if state is AlertState.WITHDRAWN else to
        self._move(connection, row, to, by, at, {"acknowledged_at": at, "acknowledged_by": by})
        if row.queue == Queue.CLINICAL.value:  # of what an installer saw, nobody at home has to hear
            seen = SeenByCareTeam(alert_id=row.id, role=ROLE, at=at)
            queue_message(connection, row.gateway, seen, self._sealer, at)

    def _move(  # noqa: PLR0913, PLR0917 - one transition
        self,
        connection: Connection,
        row: Any,  # noqa: ANN401 - a row
        to: AlertState,
        by: str,
        at: dt.datetime,
        more: dict[str, Any],
    ) -> None:
        state = step(AlertState(row.state), to)
        connection.execute(
            update(schema.alert)
            .where(schema.alert.c.id == row.id)
            .values(state=state.value, revision=row.revision + 1, **more)
        )
        connection.execute(schema.alert_history.insert().values(alert=row.id, at=at, what=state.value, by=by))
        if delivered(row.subject, Queue(row.queue)):
            want_delivery(connection, "alert", row.id, self._destinations, at)

    def retry_dead(self, key: DeliveryKey, now: dt.datetime) -> None:
        """Let a dead letter be delivered again; raises `Rejected` if there is none."""
        retry_dead(self._engine, key, now)

    def dead_letters(self) -> list[DeadLetter]:
        """Return what no destination accepted, oldest first."""
        table = schema.delivery
        query = select(table).where(table.c.dead).order_by(table.c.created_at)
        with reading(self._engine) as connection:
            return [
                DeadLetter(DeliveryKey(r.kind, r.subject, r.destination), r.last_error or "", r.attempts)
                for r in connection.execute(query)
            ]


def _locked(connection: Connection, alert_id: UUID) -> Any:  # noqa: ANN401 - a row
    """Return an alert's row; no other transaction changes it before this one ends."""
    query = select(schema.alert).where(schema.alert.c.id == alert_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise Rejected(f"There is no alert {alert_id}: open the inbox again.")
    return row
