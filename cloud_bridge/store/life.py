"""Moves of alerts in SQL: each one under the alert's lock, with its history, its timer and its deliveries.

Whoever comes second finds the state that the first one left: their move does not hold, and they are told who
it was. The clock is a row of the timer table; that it ran out is decided under the same lock, so that of two
workers one asks the next role, and a restart changes nothing.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, and_, func, select, update

from cloud_bridge.alerts import LIVE, Act, Actor, Alert, AlertState, Move, Outcome, Terms, moved
from cloud_bridge.connectors.base import WorkReport
from cloud_bridge.duty import Duty
from cloud_bridge.rules.base import Queue
from cloud_bridge.rules.care import CareRole
from cloud_bridge.rules.programme import care_of
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import LifeEvent, Raised, Taken
from cloud_bridge.store.judging import delivered, want_delivery, watch
from wire_format.errors import Rejected

UNANSWERED: Final = "unanswered"
ESCALATED: Final = "escalated"
GIVEN_TO: Final = "given_to"
LONGEST_OWNER: Final = 200


class Life:
    """Moves alerts within the caller's transaction."""

    def __init__(self, connection: Connection, destinations: Sequence[str], duty: Duty) -> None:
        self._db = connection
        self._destinations = destinations
        self._duty = duty

    def make(self, alert_id: UUID, act: Act, revision: int | None = None) -> Taken:
        """Make a move if it holds; `Rejected` if there is no such alert, or what is said of it is wrong.

        With `revision` it holds for that one alone: whoever sends it has seen no later one.
        """
        alert = self._locked(alert_id)
        if revision is not None and revision != alert.revision:
            return Taken(held=False, alert=alert, before=alert)
        terms = self._terms(alert)
        changed = moved(alert, act, terms)
        if changed is None:
            return Taken(held=False, alert=alert, before=alert)
        self._write(changed, act, terms)
        return Taken(held=True, alert=changed, before=alert)

    def look_at(self, alert_id: UUID, now: dt.datetime) -> None:
        """Ask the next role if an alert is due and nobody saw it; look again when it will be due."""
        alert = self._locked(alert_id)
        terms = self._terms(alert)
        if not alert.waits_for_somebody or alert.due_at > now:
            watch(self._db, alert)
            return
        if terms.care.next_role(alert.escalation) is None:
            self._unanswered(alert, now)
            return
        act = Act(Move.ESCALATE, Actor.CLOCK, now)
        changed = moved(alert, act, terms)
        if changed is not None:
            self._write(changed, act, terms)

    def owned(self, report: WorkReport, destination: str, now: dt.datetime, *, moved: bool) -> bool:
        """Note who has a live item's work order elsewhere; True if that is another one than was last read.

        Of another asking, or with a move (`moved`), the owner is said there already.
        """
        table = schema.delivery
        mine = and_(
            table.c.kind == "alert", table.c.subject == report.alert_id, table.c.destination == destination
        )
        before = self._db.execute(select(table.c.reported).where(mine).with_for_update()).one_or_none()
        owner, request = (report.by or "")[:LONGEST_OWNER], str(report.request)
        if before is None or not owner or before.reported == f"{request} {owner}":
            return False
        self._db.execute(update(table).where(mine).values(reported=f"{request} {owner}"))
        same = (before.reported or "").startswith(f"{request} ")
        if moved or not same or self._locked(report.alert_id).state not in LIVE:
            return False
        self._say(report.alert_id, min(report.at, now), GIVEN_TO, by=owner)
        return True

    def _unanswered(self, alert: Alert, now: dt.datetime) -> None:
        """Record that nobody came, of the last role either; once for each time that it was due."""
        table = schema.alert_history
        said = (table.c.alert == alert.alert_id) & (table.c.what == UNANSWERED) & (table.c.at >= alert.due_at)
        if self._db.execute(select(table.c.id).where(said).limit(1)).first() is None:
            self._say(alert.alert_id, now, UNANSWERED)
        watch(self._db, alert, ran_out=True)

    def _write(self, alert: Alert, act: Act, terms: Terms) -> None:
        values = rows.alert_columns(alert)
        self._db.execute(update(schema.alert).where(schema.alert.c.id == alert.alert_id).values(**values))
        what, asked = alert.state.value, None
        if act.move is Move.ESCALATE:
            what, asked = ESCALATED, terms.care.role(alert.escalation).value
        elif alert.state is AlertState.WITHDRAWN:
            what = AlertState.ACKNOWLEDGED.value  # it stays withdrawn; what is new is that somebody saw it
        outcome = act.outcome.value if act.move is Move.RESOLVE and act.outcome else None
        more = {"by": act.by, "outcome": outcome, "reason": act.note or None, "asked": asked}
        self._say(alert.alert_id, act.at, what, **more)
        watch(self._db, alert)
        if delivered(alert):
            rank = rows.rank(alert)
            want_delivery(self._db, "alert", alert.alert_id, self._destinations, act.at, rank)

    def _say(self, alert: UUID, at: dt.datetime, what: str, **more: str | None) -> None:
        self._db.execute(schema.alert_history.insert().values(alert=alert, at=at, what=what, **more))

    def _terms(self, alert: Alert) -> Terms:
        return Terms(care_of(alert.finding), self._duty)

    def _locked(self, alert_id: UUID) -> Alert:
        """Return an alert; no other transaction changes it before this one ends."""
        query = select(schema.alert).where(schema.alert.c.id == alert_id).with_for_update()
        row = self._db.execute(query).one_or_none()
        if row is None:
            raise Rejected(f"There is no alert {alert_id}: open the inbox again.")
        (alert,) = rows.alerts(self._db, [row])
        return alert


def events_of(connection: Connection, alert: UUID) -> list[LifeEvent]:
    """Return all that happened to an alert, in order."""
    table = schema.alert_history
    query = select(table).where(table.c.alert == alert).order_by(table.c.id)
    return [_event(r) for r in connection.execute(query)]


def _event(row: Row[Any]) -> LifeEvent:
    asked = None if row.asked is None else CareRole(row.asked)
    return LifeEvent(row.at, row.what, row.by, _outcome(row.outcome), row.reason, asked)


def raised_since(connection: Connection, since: dt.datetime) -> list[Raised]:
    """Return what became of each of clinicians' items that was raised since a moment, by rule.

    An item counts once, with the last outcome it was given, for each rule that has an episode in it.
    """
    table, history = schema.alert, schema.alert_history
    item = table.alias()
    mine = and_(table.c.queue == Queue.CLINICAL.value, table.c.raised_at >= since)
    told = item.c.id == func.coalesce(table.c.folded_into, table.c.id)
    fired = select(item.c.id, table.c.programme, table.c.rule, item.c.state).join(item, told).where(mine)
    ended = select(history.c.alert, history.c.outcome).where(history.c.what == AlertState.RESOLVED.value)
    last = {r.alert: r.outcome for r in connection.execute(ended.order_by(history.c.id))}
    return [
        Raised(r.programme, r.rule, AlertState(r.state), r.id in last, _outcome(last.get(r.id)))
        for r in connection.execute(fired.distinct().order_by(table.c.programme, table.c.rule, item.c.id))
    ]


def _outcome(value: str | None) -> Outcome | None:
    return None if value is None else Outcome(value)
