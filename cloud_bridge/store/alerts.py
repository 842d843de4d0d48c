"""Alerts in SQL: what is open, what a person did with it, and the message that this sends home."""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, and_, case, func, select, true, update

from cloud_bridge.alerts import LIVE, Act, Actor, Alert, AlertState, Move
from cloud_bridge.connectors.base import Identifier, WorkReport
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.rules.base import Finding, Queue, Reading, Settings
from cloud_bridge.rules.programme import care_of
from cloud_bridge.silence_cause import Cause, is_silence, is_silent_gateway
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import DeadLetter, DeliveryKey, File, HomeHears, LifeEvent, Place, Raised, Taken
from cloud_bridge.store.deliveries import retry_dead
from cloud_bridge.store.engine import reading
from cloud_bridge.store.judging import NO_HOME
from cloud_bridge.store.life import Life, events_of, raised_since
from cloud_bridge.store.outgoing import Sealer, queue_message
from cloud_bridge.store.presence import home_hears
from cloud_bridge.store.silences import Silences
from wire_format.downlink import SeenByCareTeam
from wire_format.nomenclature import Quantity

RESOLVED_SHOWN: Final = 200
_LIVE: Final = tuple(state.value for state in LIVE)
_IN_QUEUE: Final = and_(schema.alert.c.state.in_(_LIVE), schema.alert.c.queue == Queue.CLINICAL.value)


def _place(subject: str, *urgency: Any) -> Place:  # noqa: ANN401 - the columns of a row
    """Return a place by what is open; by all that there is, if nothing is."""
    of_open, of_all = urgency[:3], urgency[3:]
    seen = of_open[0] is None
    rank, due_at, since = of_all if seen else of_open
    return Place(seen, rank, due_at, since, subject)


class SqlAlerts:
    """See `Alerts`."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a hospital says of its alerts
        self,
        engine: Engine,
        destinations: Sequence[str],
        sealer: Sealer,
        zone: str = "UTC",
        duty: Duty = ALWAYS,
        silences: Silences | None = None,
    ) -> None:
        self._engine = engine
        self._destinations = tuple(destinations)
        self._sealer = sealer
        self._zone = zone
        self._duty = duty
        self._silences = silences or Silences(zone)

    @property
    def duty(self) -> Duty:
        """When somebody is on duty here."""
        return self._duty

    def open_alerts(self, queue: Queue = Queue.CLINICAL) -> list[Alert]:
        """Return a queue: open items first, then those somebody has, each group by when it is due."""
        table = schema.alert
        live = and_(table.c.state.in_(_LIVE), table.c.queue == queue.value)
        query = select(table).where(live).order_by(table.c.due_at, table.c.id)
        with reading(self._engine) as connection:
            found = rows.alerts(connection, connection.execute(query).all())
        return sorted(found, key=lambda a: a.state is not AlertState.OPEN)

    def queue(self) -> list[Place]:
        """Return who is in the clinicians' queue, in no order: one row a person, whatever they have."""
        table = schema.alert
        is_open = table.c.state == AlertState.OPEN.value
        by = (table.c.rank, table.c.due_at, table.c.since)
        of_open = (func.min(case((is_open, one))) for one in by)
        query = select(table.c.subject, *of_open, *map(func.min, by)).where(_IN_QUEUE)
        with reading(self._engine) as connection:
            found = connection.execute(query.group_by(table.c.subject)).all()
        return [_place(*row) for row in found]

    def live_of(self, subjects: Collection[str]) -> list[Alert]:
        """Return the items in the queue of some people."""
        table = schema.alert
        query = (
            select(table).where(_IN_QUEUE, table.c.subject.in_(subjects)).order_by(table.c.due_at, table.c.id)
        )
        with reading(self._engine) as connection:
            return rows.alerts(connection, connection.execute(query).all())

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
            query = select(schema.alert).where(schema.alert.c.id == alert_id)
            found = rows.alerts(connection, connection.execute(query).all())
        return found[0] if found else None

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

    def files(self, patients: Sequence[str], since: dt.datetime) -> dict[str, File]:
        """Return of some patients who they are, their readings (see `history`), and what is agreed."""
        table, patient = schema.measurement, schema.patient
        recent = (table.c.measured_at >= since) | table.c.measured_at.is_(None)
        query = (
            select(table)
            .where(table.c.patient.in_(patients), recent)
            .order_by(table.c.measured_at.is_(None), table.c.measured_at, table.c.id)
        )
        with reading(self._engine) as connection:
            found = connection.execute(query).all()
            measured: dict[str, list[Reading]] = {one: [] for one in patients}
            for row, one in zip(found, rows.readings(connection, found), strict=True):
                measured[row.patient].append(one)
            people = connection.execute(select(patient).where(patient.c.id.in_(patients)))
            known = {row.id: rows.care_context(row).patient for row in people}
            agreed = rows.settings_of(connection, patients, self._zone)
        return {one: File(known.get(one), measured[one], agreed[one]) for one in patients}

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

    def move(self, alert_id: UUID, act: Act, revision: int | None = None) -> Taken:
        """Make a move if it holds, and of that revision if one is given.

        Whoever saw an item first has the home told, once.
        """
        with self._engine.begin() as connection:
            taken = Life(connection, self._destinations, self._duty).make(alert_id, act, revision)
            first = taken.held and taken.before.acknowledged_at is None
            if first and taken.alert.acknowledged_at is not None:
                self._tell_home(connection, taken.alert, act.at)
        return taken

    def owned(self, report: WorkReport, destination: str, now: dt.datetime, *, moved: bool) -> bool:
        """Note who has the work order of an item elsewhere; True if it was given to somebody else."""
        with self._engine.begin() as connection:
            life = Life(connection, self._destinations, self._duty)
            return life.owned(report, destination, now, moved=moved)

    def _tell_home(self, connection: Connection, alert: Alert, at: dt.datetime) -> None:
        if alert.finding.queue is not Queue.CLINICAL:
            return  # of what an installer saw, nobody at home has to hear
        role = care_of(alert.finding).role(alert.escalation)
        seen = SeenByCareTeam(alert_id=alert.alert_id, role=role.value, at=at)
        gateway = _gateway(connection, alert.alert_id) or _came_since(connection, alert)
        if gateway:
            queue_message(connection, gateway, seen, self._sealer, at)

    def home_hears(self, alert_id: UUID) -> HomeHears:
        """Return whether the home has heard that somebody saw an item."""
        with reading(self._engine) as connection:
            return home_hears(connection, _gateway(connection, alert_id), self._silences.clock())

    def acknowledge(self, alert_id: UUID, by: str, at: dt.datetime) -> bool:
        """Record that somebody saw it; False if it was known, or is over."""
        return self.move(alert_id, Act(Move.ACKNOWLEDGE, Actor.PERSON, at, by)).held

    def owners(self, readings: Collection[UUID]) -> set[str | None]:
        """Return whose some readings are now; None stands for nobody, or for what is not there."""
        table = schema.measurement
        query = select(table.c.id, table.c.patient).where(table.c.id.in_(readings))
        with reading(self._engine) as connection:
            found = {row.id: row.patient for row in connection.execute(query)}
        return {found.get(one) for one in readings}

    def cause_of(self, finding: Finding) -> Cause | None:
        """Return why nothing comes from a patient; None of what is no silence that goes on."""
        if not (is_silence(finding) or is_silent_gateway(finding)):
            return None
        with reading(self._engine) as connection:
            return self._silences.cause_of(connection, finding)

    def events(self, alert_id: UUID) -> list[LifeEvent]:
        """Return all that happened to an alert, in order."""
        with reading(self._engine) as connection:
            return events_of(connection, alert_id)

    def resolved(self, since: dt.datetime, limit: int = RESOLVED_SHOWN) -> list[Alert]:
        """Return clinicians' items that were resolved since a moment, the newest first."""
        table = schema.alert
        mine = and_(
            table.c.state == AlertState.RESOLVED.value,
            table.c.queue == Queue.CLINICAL.value,
            table.c.moved_at >= since,
        )
        query = select(table).where(mine).order_by(table.c.moved_at.desc(), table.c.id).limit(limit)
        with reading(self._engine) as connection:
            return rows.alerts(connection, connection.execute(query).all())

    def yields(self, since: dt.datetime) -> list[Raised]:
        """Return what became of each item that was raised since a moment."""
        with reading(self._engine) as connection:
            return raised_since(connection, since)

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


def _gateway(connection: Connection, alert_id: UUID) -> str:
    table = schema.alert
    name: str = connection.execute(select(table.c.gateway).where(table.c.id == alert_id)).scalar_one()
    return name


def _came_since(connection: Connection, alert: Alert) -> str:
    """Return the gateway of a patient who had none when their item was raised, and let it be the item's."""
    table, person = schema.alert, schema.person
    query = select(person.c.gateway).where(person.c.patient == alert.finding.subject)
    name: str = connection.execute(query.order_by(person.c.gateway).limit(1)).scalar_one_or_none() or NO_HOME
    connection.execute(update(table).where(table.c.id == alert.alert_id).values(gateway=name))
    return name
