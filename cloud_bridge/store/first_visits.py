"""First visits in SQL: asked of the contracted family doctor, read back, and overdue where nobody came.

A visit is a row of its discharge plan. Its Task is a delivery of kind "visit"; that it is overdue is found by
a rule over the patient's settings, so that the clock, the inbox and the hospital's nurse are those of alerts.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, select, update

from cloud_bridge.connectors.base import VisitOrder, VisitState, WorkReport, WorkState
from cloud_bridge.discharge.plan import CarePart, DischargePlan, load
from cloud_bridge.rules.programme import discharge_words
from cloud_bridge.store import discharge_schema, rows, schema
from cloud_bridge.store.engine import reading
from cloud_bridge.store.judging import AT_ONCE, set_timer, want_delivery
from cloud_bridge.store.live_plans import live_plans
from cloud_bridge.store.plan_taking import Taking, note

VISIT: Final = "visit"
READ_BACK: Final = "fhir"
"""The one destination that is asked what became of its Tasks."""
_HOUR: Final = dt.timedelta(hours=1)
_OPEN: Final = (VisitState.ASKED.value, VisitState.GIVEN_BACK.value)


def ask_for_visit(taking: Taking, plan: DischargePlan) -> None:
    """Ask for the first visit, again if the plan says something else; take it back if the plan is over.

    Of a patient who was in hospital again the visit after the later discharge is the one that is asked for.
    """
    latest, *earlier = live_plans(taking.connection, str(taking.patient)) or [plan]
    for one in earlier:
        _take_back(taking, one, latest)
    superseded = plan.plan_id in {one.plan_id for one in earlier}
    table = discharge_schema.first_visit
    mine = table.c.discharge == plan.plan_id
    row = taking.connection.execute(select(table).where(mine)).one_or_none()
    due = plan.discharged_at + taking.defaults.first_visit
    if row is None:
        if plan.over or superseded:
            return
        values = {"patient": taking.patient, "asked_at": plan.discharged_at, "due_at": due}
        made = table.insert().values(discharge=plan.plan_id, **values, state=VisitState.ASKED.value)
        taking.connection.execute(made)
        taking.step("first visit asked for")
    else:
        state = VisitState(row.state) if superseded else _next(VisitState(row.state), plan)
        values = {"asked_at": plan.discharged_at, "due_at": due, "state": state.value}
        taking.connection.execute(update(table).where(mine).values(**values))
        if state.value != row.state or due != row.due_at:
            taking.step(f"first visit {state.value}, due time stated")
    _want(taking, plan.plan_id)


def _take_back(taking: Taking, earlier: DischargePlan, latest: DischargePlan) -> None:
    """Take back the visit of an earlier discharge that nobody made."""
    then, since = f"{earlier.discharged_at:%Y-%m-%d}", f"{latest.discharged_at:%Y-%m-%d}"
    what = f"a later discharge, of {since}, is known"
    taking.remarks.append(f"no reminders and no first visit for the discharge of {then}: {what}")
    table = discharge_schema.first_visit
    mine = (table.c.discharge == earlier.plan_id) & table.c.state.in_(_OPEN)
    gone = update(table).where(mine).values(state=VisitState.WITHDRAWN.value)
    if taking.connection.execute(gone).rowcount:
        taking.step("first visit of an earlier discharge withdrawn")
        _want(taking, earlier.plan_id)


def _want(taking: Taking, visit: UUID) -> None:
    if _has_doctor(taking.connection, str(taking.patient)):
        want_delivery(taking.connection, VISIT, visit, taking.destinations, taking.now)


def _next(state: VisitState, plan: DischargePlan) -> VisitState:
    if plan.over:
        return VisitState.WITHDRAWN if state is VisitState.ASKED else state
    return VisitState.ASKED if state is VisitState.WITHDRAWN else state


def _has_doctor(connection: Connection, patient: str) -> bool:
    care = _care(connection, patient)
    return care.family_doctor is not None or care.family_organization is not None


def _care(connection: Connection, patient: str) -> Any:  # noqa: ANN401 - a row's care context
    row = connection.execute(select(schema.patient).where(schema.patient.c.id == patient)).one()
    return rows.care_context(row)


def visit_order(connection: Connection, visit: UUID, language: str) -> VisitOrder | None:
    """Return what a connector needs to ask for a visit; None if the patient has no family doctor any more."""
    table = discharge_schema.first_visit
    row = connection.execute(select(table).where(table.c.discharge == visit)).one()
    kept = discharge_schema.discharge
    text = connection.execute(select(kept.c.plan).where(kept.c.id == visit)).scalar_one()
    care, plan = _care(connection, row.patient), load(text)
    if care.family_doctor is None and care.family_organization is None:
        return None
    agreed = plan.care or CarePart()
    return VisitOrder(
        visit_id=visit,
        care=care,
        asked_at=row.asked_at,
        due_at=row.due_at,
        text=discharge_words(language, "visit", {"hours": str((row.due_at - row.asked_at) // _HOUR)}),
        medications=tuple(one.line for one in agreed.medications),
        follow_up=agreed.follow_up,
        care_plan=agreed.care_plan,
        state=VisitState(row.state),
    )


class SqlFirstVisits:
    """See `cloud_bridge.work_orders.Visits`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def delivered_visits(self) -> list[UUID]:
        """Return visits that nobody has finished, of which a destination has the Task."""
        table, delivery = discharge_schema.first_visit, schema.delivery
        query = (
            select(table.c.discharge)
            .join(delivery, delivery.c.subject == table.c.discharge)
            .where(
                table.c.state.in_(_OPEN),
                delivery.c.kind == VISIT,
                delivery.c.delivered > 0,
            )
        )
        with reading(self._engine) as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def take_report(self, report: WorkReport, now: dt.datetime) -> bool:
        """Note that a visit was made, or given back; False if that is no news. Judged again at once."""
        to = {WorkState.COMPLETED: VisitState.DONE, WorkState.REFUSED: VisitState.GIVEN_BACK}.get(
            report.state
        )
        if to is None:
            return False
        table = discharge_schema.first_visit
        before: Sequence[str] = [VisitState.ASKED.value]
        if to is VisitState.DONE:
            before = [*before, VisitState.GIVEN_BACK.value]
        mine = (table.c.discharge == report.alert_id) & table.c.state.in_(before)
        # Their clock may be ahead: what follows must not wait for it.
        values = {"state": to.value, "moved_at": min(report.at, now), "moved_by": report.by}
        with self._engine.begin() as connection:
            if to is VisitState.GIVEN_BACK and _under_way(connection, report.alert_id):
                return False
            if connection.execute(update(table).where(mine).values(**values)).rowcount == 0:
                return False
            patient = connection.execute(
                select(table.c.patient).where(table.c.discharge == report.alert_id)
            ).scalar_one()
            set_timer(connection, patient, AT_ONCE)
            note(connection, (READ_BACK, patient), f"first visit {to.value}", now)
        return True


def _under_way(connection: Connection, visit: UUID) -> bool:
    """Tell whether the FHIR server has yet to hear what is wanted: "cancelled" there may be our own word."""
    table = schema.delivery
    mine = (table.c.kind == VISIT) & (table.c.subject == visit) & (table.c.destination == READ_BACK)
    query = select(table.c.subject).where(mine, table.c.delivered < table.c.wanted)
    return connection.execute(query).first() is not None
