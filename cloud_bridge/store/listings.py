"""Pages of rows for programs, each in an order that does not change, and what changed since a moment.

A page begins after a row that its reader saw: what is added meanwhile shifts nothing. Whose rows somebody
may see is decided outside; what they may not see has no part in a page, and none in where the next begins.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, Select, and_, false, func, or_, select, true

from cloud_bridge.alerts import Alert, AlertState
from cloud_bridge.rules.base import Queue, Reading, Severity
from cloud_bridge.rules.care import CareRole
from cloud_bridge.rules.programme import DEFAULT_PROGRAMME, PROGRAMMES, TECHNICAL, programme
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import DeadLetter, DeliveryKey
from cloud_bridge.store.engine import reading
from wire_format.nomenclature import Quantity

_NOBODY: Final = ("",)


@dataclass(frozen=True, slots=True)
class AlertsAsked:
    """Which alerts are asked for; an empty set stands for all. `role` is who is asked now.

    `severities` finds those of which any episode has one of them.
    """

    queue: Queue
    states: frozenset[AlertState]
    severities: frozenset[Severity] = frozenset()
    role: CareRole | None = None
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class ReadingsAsked:
    """Which readings of a patient are asked for; with a period, only those that have a time."""

    patient: str
    quantities: frozenset[Quantity]
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to an alert: `position` rises with each, over all workers."""

    position: int
    at: dt.datetime
    alert: Alert


class SqlListings:
    """See above. Every method is one snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- alerts ---

    def alerts(self, asked: AlertsAsked, after: tuple[dt.datetime, UUID] | None, limit: int) -> list[Alert]:
        """Return alerts, the latest raised first, after one that was seen."""
        table = schema.alert
        query = (
            select(table)
            .where(_asked(asked), true() if after is None else _raised_before(*after))
            .order_by(table.c.raised_at.desc(), table.c.id.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return rows.alerts(connection, connection.execute(query).all())

    def quantities(self, measurements: Collection[UUID]) -> dict[UUID, tuple[str | None, Quantity]]:
        """Return of some readings whose they are and what they are of."""
        table = schema.measurement
        query = select(table.c.id, table.c.patient, table.c.quantity).where(table.c.id.in_(measurements))
        with reading(self._engine) as connection:
            return {r.id: (r.patient, Quantity(r.quantity)) for r in connection.execute(query)}

    def evidence(self, measurements: Sequence[UUID]) -> list[Reading]:
        """Return some readings, in the order in which they were named."""
        table = schema.measurement
        with reading(self._engine) as connection:
            found = connection.execute(select(table).where(table.c.id.in_(measurements))).all()
            known = {one.id: one for one in rows.readings(connection, found)}
        return [known[i] for i in measurements if i in known]

    # --- patients and their readings ---

    def patients(self, after: str | None) -> list[str]:
        """Return every patient by name, after one that was seen."""
        table = schema.patient
        query = select(table.c.id).where(true() if after is None else table.c.id > after)
        with reading(self._engine) as connection:
            return list(connection.execute(query.order_by(table.c.id)).scalars())

    def readings(
        self, asked: ReadingsAsked, after: tuple[dt.datetime | None, UUID] | None, limit: int
    ) -> list[Reading]:
        """Return readings, the latest measured first, those without a time last, after one that was seen."""
        table = schema.measurement
        query = (
            select(table)
            .where(
                table.c.patient == asked.patient,
                table.c.quantity.in_([q.value for q in asked.quantities] or _NOBODY),
                true() if asked.since is None else table.c.measured_at >= asked.since,
                true() if asked.until is None else table.c.measured_at < asked.until,
                true() if after is None else _older(*after),
            )
            .order_by(table.c.measured_at.is_(None), table.c.measured_at.desc(), table.c.id.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return rows.readings(connection, connection.execute(query).all())

    # --- the site ---

    def dead_letters(
        self, after: tuple[dt.datetime, DeliveryKey] | None, limit: int
    ) -> list[tuple[dt.datetime, DeadLetter]]:
        """Return what no destination accepted with since when it is wanted, oldest first."""
        table = schema.delivery
        order = (table.c.created_at, table.c.kind, table.c.subject, table.c.destination)
        query: Select[tuple[object, ...]] = select(table).where(table.c.dead)
        if after is not None:
            query = query.where(_beyond(*after))
        with reading(self._engine) as connection:
            found = connection.execute(query.order_by(*order).limit(limit)).all()
        return [
            (
                r.created_at,
                DeadLetter(DeliveryKey(r.kind, r.subject, r.destination), r.last_error or "", r.attempts),
            )
            for r in found
        ]

    # --- what changed ---

    def position(self) -> int:
        """Return where the changes end now."""
        query = select(func.max(schema.alert_history.c.id))
        with reading(self._engine) as connection:
            return connection.execute(query).scalar_one() or 0

    def changes(self, after: int, limit: int) -> list[Change]:
        """Return what happened to alerts after a position, each with the alert as it is now."""
        history, table = schema.alert_history, schema.alert
        query = (
            select(history.c.id.label("position"), history.c.at.label("happened_at"), table)
            .join(table, table.c.id == history.c.alert)
            .where(history.c.id > after)
            .order_by(history.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [
                Change(row.position, row.happened_at, rows.alert(row)) for row in connection.execute(query)
            ]


def _asked(asked: AlertsAsked) -> ColumnElement[bool]:
    table = schema.alert
    states = sorted(asked.states)
    return and_(
        table.c.queue == asked.queue.value,
        table.c.state.in_(states) if states else true(),
        _as_grave(asked.severities) if asked.severities else true(),
        true() if asked.role is None else _asks(asked.role),
        true() if asked.patient is None else table.c.subject == asked.patient,
    )


def _as_grave(severities: Collection[Severity]) -> ColumnElement[bool]:
    """Return alerts of which an episode is so grave: the first one, or one that is folded into it."""
    table, episode = schema.alert, schema.alert.alias()
    wanted = sorted(severities)
    folded = select(episode.c.id).where(episode.c.folded_into == table.c.id, episode.c.severity.in_(wanted))
    return or_(table.c.severity.in_(wanted), folded.exists())


def _asks(role: CareRole) -> ColumnElement[bool]:
    """Return which alerts ask a role now: it depends on the programme, and on how often one was missed."""
    table, known = schema.alert, (*PROGRAMMES, TECHNICAL)
    found: list[ColumnElement[bool]] = [false()]
    for name in known:
        mine = table.c.programme == name
        if name == DEFAULT_PROGRAMME:
            mine = or_(mine, table.c.programme.not_in(known))
        roles = programme(name).care.roles
        for turn, one in enumerate(roles):
            last = turn == len(roles) - 1
            now = table.c.escalation >= turn if last else table.c.escalation == turn
            if one is role:
                found.append(and_(mine, now))
    return or_(*found)


def _raised_before(at: dt.datetime, seen: UUID) -> ColumnElement[bool]:
    table = schema.alert
    return or_(table.c.raised_at < at, and_(table.c.raised_at == at, table.c.id < seen))


def _beyond(at: dt.datetime, seen: DeliveryKey) -> ColumnElement[bool]:
    table = schema.delivery
    same = table.c.created_at == at
    kind = and_(same, table.c.kind == seen.kind)
    subject = and_(kind, table.c.subject == seen.subject)
    return or_(
        table.c.created_at > at,
        and_(same, table.c.kind > seen.kind),
        and_(kind, table.c.subject > seen.subject),
        and_(subject, table.c.destination > seen.destination),
    )


def _older(measured: dt.datetime | None, seen: UUID) -> ColumnElement[bool]:
    """Return what comes after a reading; those without a time are the last."""
    table = schema.measurement
    untimed = table.c.measured_at.is_(None)
    if measured is None:
        return and_(untimed, table.c.id < seen)
    same = and_(table.c.measured_at == measured, table.c.id < seen)
    return or_(untimed, table.c.measured_at < measured, same)
