"""Reminders in SQL: each due time of a plan is a row of the timer table, so a restart forgets none.

Of two workers one takes a timer's row away, and only that one reminds. What came due while nobody ran is on
record as missed, and nobody is told: a late reminder could be taken for the next dose.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from cloud_bridge.connectors.base import ReminderOrder
from cloud_bridge.discharge.plan import DischargePlan, load
from cloud_bridge.discharge.reminders import Moment, due_within, in_quiet_hours, next_due
from cloud_bridge.duty import Duty
from cloud_bridge.rules.programme import discharge_words
from cloud_bridge.store import discharge_schema, rows, schema
from cloud_bridge.store.judging import set_timer, want_delivery
from cloud_bridge.store.live_plans import speaks
from cloud_bridge.store.plan_taking import Taking
from wire_format.identity import derived_id

REMINDER: Final = "reminder"
REMIND: Final = "remind:"
LATEST: Final = dt.timedelta(hours=1)
"""How long after its time a reminder is still told."""
_INSTANT: Final = dt.timedelta(microseconds=1)

Where = tuple[str, Duty]
"""The zone of the site, and its quiet hours."""


def plan_reminders(taking: Taking, plan: DischargePlan) -> None:
    """Have the next due time of a plan looked at; none if it is over, or the site wants no reminders."""
    key = f"{REMIND}{plan.plan_id.hex}"
    if not taking.defaults.reminders:
        set_timer(taking.connection, key, None)
        return
    where = _where(taking.connection, str(taking.patient), (taking.zone, taking.duty))
    after = max(taking.now, plan.discharged_at)
    set_timer(taking.connection, key, next_due(plan, after, where))
    day = plan.discharged_at.astimezone(where[0]).date()
    for medicine in in_quiet_hours(plan, day, where):
        taking.remarks.append(f"MedicationRequest {medicine}: no reminder at times in the quiet hours")


def remind(
    connection: Connection, due: str, destinations: Sequence[str], where: Where, now: dt.datetime
) -> None:
    """Remind of what is due, if nobody else did; then wait for what is due next."""
    timer = schema.timer
    mine = (timer.c.subject == due) & (timer.c.due_at <= now)
    since = connection.execute(select(timer.c.due_at).where(mine).with_for_update()).scalar_one_or_none()
    if since is None or connection.execute(timer.delete().where(mine)).rowcount == 0:
        return
    table = discharge_schema.discharge
    plan_id = UUID(due.removeprefix(REMIND))
    row = connection.execute(select(table).where(table.c.id == plan_id)).one()
    plan, there = load(row.plan), _where(connection, row.patient, where)
    # What was missed in a longer stop is not written out dose by dose.
    after = max(since - _INSTANT, now - dt.timedelta(days=2))
    # Of a patient who was in hospital again the later plan alone reminds; if that is over, this one goes on.
    for moment in due_within(plan, after, now, there) if speaks(connection, row.patient, plan_id) else ():
        _remind(connection, (plan_id, row.patient), moment, destinations, now)
    set_timer(connection, due, next_due(plan, now, there))


def _remind(
    connection: Connection,
    whose: tuple[UUID, str],
    moment: Moment,
    destinations: Sequence[str],
    now: dt.datetime,
) -> None:
    plan_id, patient = whose
    table = discharge_schema.reminder
    identity = derived_id("reminder", plan_id, moment.at)
    if connection.execute(select(table.c.id).where(table.c.id == identity)).first() is not None:
        return
    until = moment.at + LATEST
    values = {"patient": patient, "due_at": moment.at, "until": until}
    state = "told" if now < until else "missed"
    connection.execute(table.insert().values(id=identity, discharge=plan_id, state=state, **values))
    if state == "told":
        want_delivery(connection, REMINDER, identity, destinations, now)


def reminder_order(
    connection: Connection, reminder: UUID, where: Where, now: dt.datetime
) -> ReminderOrder | None:
    """Return what a connector needs to tell a patient.

    None if it is too late, or if by the plan that holds now nothing is due at that moment any more. A plan of
    an earlier discharge does not hold where there is a later one.
    """
    table, plans = discharge_schema.reminder, discharge_schema.discharge
    row = connection.execute(select(table).where(table.c.id == reminder)).one()
    if now >= row.until or not speaks(connection, row.patient, row.discharge):
        return None
    text = connection.execute(select(plans.c.plan).where(plans.c.id == row.discharge)).scalar_one()
    there = _where(connection, row.patient, where)
    due = due_within(load(text), row.due_at - _INSTANT, row.due_at, there)
    if not due:
        return None
    patient = connection.execute(select(schema.patient).where(schema.patient.c.id == row.patient)).one()
    care = rows.care_context(patient)
    said = discharge_words(care.language, "reminder", {"medicines": ", ".join(due[0].medicines)})
    return ReminderOrder(reminder, care, row.due_at, row.until, said)


def _where(connection: Connection, patient: str, where: Where) -> tuple[Any, Duty]:
    """Return the zone where a patient lives, and the quiet hours."""
    query = select(schema.patient.c.zone).where(schema.patient.c.id == patient)
    return ZoneInfo(connection.execute(query).scalar_one() or where[0]), where[1]
