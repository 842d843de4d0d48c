"""The plans of a patient that are not over: several, where somebody was in hospital again since."""

import datetime as dt
from uuid import UUID

from sqlalchemy import Connection, select

from cloud_bridge.discharge.plan import DischargePlan, load
from cloud_bridge.store import discharge_schema


def live_plans(connection: Connection, patient: str) -> list[DischargePlan]:
    """Return a patient's plans that are not over, the one of the latest discharge first."""
    table = discharge_schema.discharge
    query = select(table.c.plan).where(table.c.patient == patient, table.c.over.is_(False))
    plans = [load(text) for text in connection.execute(query).scalars()]
    return sorted(plans, key=_when, reverse=True)


def later_plans(connection: Connection, patient: str, plan: DischargePlan) -> list[DischargePlan]:
    """Return a patient's plans that are not over and of a later discharge than `plan`: they hold."""
    others = [one for one in live_plans(connection, patient) if one.plan_id != plan.plan_id]
    return [one for one in others if _when(one) > _when(plan)]


def _when(plan: DischargePlan) -> tuple[dt.datetime, dt.datetime, UUID]:
    return plan.discharged_at, plan.stated_at, plan.plan_id


def plan_ids(connection: Connection, patient: str) -> frozenset[UUID]:
    """Return each plan that a patient ever had, over or not."""
    table = discharge_schema.discharge
    return frozenset(connection.execute(select(table.c.id).where(table.c.patient == patient)).scalars())


def speaks(connection: Connection, patient: str, plan_id: UUID) -> bool:
    """Tell whether a plan is the patient's latest that is live: that one reminds and has the visit."""
    return [one.plan_id for one in live_plans(connection, patient)[:1]] == [plan_id]
