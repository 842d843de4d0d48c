"""Discharge plans in SQL: each is taken whole, in one transaction, and once.

A plan is told apart by its stay. The same plan with the same content changes nothing; with another content
and a later time it takes the place of the one before: only what is different in it is stated, so that what a
nurse changed meanwhile stays. An earlier version that comes late changes nothing.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, select, update

from cloud_bridge.connectors.base import CareContext, Identifier
from cloud_bridge.discharge.plan import DischargePlan, Fault, OwnValue, PlanRefusedError, dump, load
from cloud_bridge.discharge.terms import Defaults
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.rules.programme import check_own
from cloud_bridge.store import discharge_schema, rows, schema
from cloud_bridge.store.base import Stated
from cloud_bridge.store.first_visits import ask_for_visit
from cloud_bridge.store.judging import AT_ONCE, set_timer
from cloud_bridge.store.live_plans import later_plans, live_plans, plan_ids
from cloud_bridge.store.plan_taking import Taking
from cloud_bridge.store.registry import patient_known_as, save_patient, state_membership, state_value
from cloud_bridge.store.reminders import plan_reminders
from wire_format.errors import Misconfigured
from wire_format.identity import derived_id

ENDED: Final = "null"
SOURCE_LENGTH: Final = 64


class Became(StrEnum):
    """What became of a plan that came in."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"  # the same was taken before
    OLDER = "older"  # a later version was taken before
    NOT_OURS = "not_ours"  # it names no programme: nothing is done, and nothing is kept


@dataclass(frozen=True, slots=True)
class TakenPlan:
    """What became of a plan, what was done for it in order, and what people should see of it."""

    plan_id: UUID
    patient: str | None
    became: Became
    steps: tuple[str, ...]
    remarks: tuple[str, ...]


class SqlDischarges:
    """Takes plans. `source` is who brought one: "cli", or an HL7 v2 sender."""

    def __init__(
        self, engine: Engine, destinations: Sequence[str], zone: str = "UTC", duty: Duty = ALWAYS
    ) -> None:
        self._engine = engine
        self._destinations = tuple(destinations)
        self._zone = zone
        self._duty = duty

    def take(self, plan: DischargePlan, defaults: Defaults, source: str, now: dt.datetime) -> TakenPlan:
        """Take a plan, all of it or nothing. Raises `PlanRefusedError`."""
        with self._engine.begin() as connection:
            return take(self.taking(connection, defaults, source, now), plan)

    def taking(self, connection: Connection, defaults: Defaults, source: str, now: dt.datetime) -> Taking:
        """Return what a plan is taken with in a transaction of the caller's."""
        return Taking(
            connection, self._destinations, self._zone, self._duty, defaults, source[:SOURCE_LENGTH], now
        )

    def plan(self, plan_id: UUID) -> DischargePlan | None:
        """Return the version of a plan that holds; None if there is none."""
        with self._engine.begin() as connection:
            row = _known(connection, plan_id)
        return None if row is None else load(row.plan)


def take(taking: Taking, plan: DischargePlan) -> TakenPlan:
    """Take a plan within the caller's transaction.

    1. Compare it with the version that holds: earlier, equal, or of the same time with another content.
    2. Find the patient by their number, or add them.
    3. State what is different: programmes, thresholds, the first visit.
    4. Keep the version, and judge the patient again.
    """
    row = _known(taking.connection, plan.plan_id)
    before = None if row is None else replace(load(row.plan), stated_at=row.stated_at)
    if before is not None and row is not None and _is_older(plan, before):
        return TakenPlan(plan.plan_id, row.patient, Became.OLDER, (), plan.remarks)
    if before is None and not plan.programmes and not plan.over:
        return TakenPlan(plan.plan_id, None, Became.NOT_OURS, (), plan.remarks)
    holds = plan if before is None else plan.after(before)
    if row is not None and before is not None:
        _same_patient(before, plan)
        if holds.digest == row.digest:
            _said_again(taking.connection, before, holds)
            return TakenPlan(plan.plan_id, row.patient, Became.UNCHANGED, (), plan.remarks)
        _later(plan, before)
    revision = 1 if row is None else row.revision + 1
    _patient(taking, holds, known=before is not None)
    _keep(taking, holds, revision)
    if taking.patient is not None:
        _programmes(taking, holds, before)
        _own(taking, holds, before)
        ask_for_visit(taking, holds)
        plan_reminders(taking, holds)
        set_timer(taking.connection, taking.patient, AT_ONCE)
    became = Became.NEW if before is None else Became.CHANGED
    return TakenPlan(
        plan.plan_id, taking.patient, became, tuple(taking.steps), (*plan.remarks, *taking.remarks)
    )


def _known(connection: Connection, plan_id: UUID) -> Any:  # noqa: ANN401 - a row
    table = discharge_schema.discharge
    return connection.execute(select(table).where(table.c.id == plan_id).with_for_update()).one_or_none()


def _same_patient(before: DischargePlan, plan: DischargePlan) -> None:
    if before.patient != plan.patient:
        what = "a plan of this stay was taken for another patient: correct the patient's or the stay's number"
        raise PlanRefusedError([Fault("Encounter.identifier", what)])


def _taken_at(plan: DischargePlan, before: DischargePlan) -> dt.datetime | None:
    """Return what a version's time is compared with.

    An A03 says nothing of what is agreed: it makes no version that does older, nor is it a change of one.
    """
    return before.stated_at if plan.care is None else before.agreed_at


def _is_older(plan: DischargePlan, before: DischargePlan) -> bool:
    taken = _taken_at(plan, before)
    return taken is not None and plan.stated_at < taken


def _later(plan: DischargePlan, before: DischargePlan) -> None:
    if plan.stated_at == _taken_at(plan, before):
        what = "the plan has changed and its time has not: write when this version was put together"
        raise PlanRefusedError([Fault("Bundle.timestamp", what)])


def _said_again(connection: Connection, before: DischargePlan, holds: DischargePlan) -> None:
    """Remember the later time of an equal version: what was said in between is older than it."""
    said = replace(before, stated_at=holds.stated_at, care_stated_at=holds.care_stated_at)
    if (said.stated_at, said.agreed_at) != (before.stated_at, before.agreed_at):
        table = discharge_schema.discharge
        values = {"stated_at": said.stated_at, "plan": dump(said)}
        connection.execute(update(table).where(table.c.id == said.plan_id).values(**values))


def _patient(taking: Taking, plan: DischargePlan, *, known: bool) -> None:
    """Find or add the patient. Of one who is here already only the family doctor is the plan's to say.

    If a later discharge named one, not even that.
    """
    found = patient_known_as(taking.connection, plan.patient)
    if found is None and plan.over and not known:
        return
    taking.patient = found or str(derived_id("patient", plan.patient.system, plan.patient.value))
    if found is None:
        save_patient(taking.connection, taking.patient, _care(plan, taking.defaults), None)
        taking.step("patient added to the registry")
        return
    later = later_plans(taking.connection, found, plan)
    if any(one.family_doctor or one.family_organization for one in later):
        return
    named = {"family_doctor": plan.family_doctor, "family_organization": plan.family_organization}
    values = {
        column: text
        for name, who in named.items()
        if who is not None
        for column, text in ((f"{name}_system", who.system), (f"{name}_value", who.value))
    }
    table = schema.patient
    row = taking.connection.execute(select(table).where(table.c.id == found)).one()
    if any(getattr(row, column) != text for column, text in values.items()):
        taking.connection.execute(update(table).where(table.c.id == found).values(**values))
        taking.step("family doctor stated")


def _care(plan: DischargePlan, defaults: Defaults) -> CareContext:
    missing: list[Fault] = []

    def one(name: str, said: Identifier | None, default: Identifier | None) -> Identifier:
        who = said or default
        if who is None:
            what = f"the patient is new here, and nobody says who the {name} is: write discharge.{name}"
            missing.append(Fault("Encounter", what))
        return who or plan.patient

    care = CareContext(
        patient=plan.patient,
        nurse=one("nurse", plan.nurse, defaults.nurse),
        physician=one("physician", plan.physician, defaults.physician),
        organization=one("organization", plan.organization, defaults.organization),
        language=plan.language or defaults.language,
        family_doctor=plan.family_doctor,
        family_organization=plan.family_organization,
    )
    if missing:
        raise PlanRefusedError(missing)
    return care


def _keep(taking: Taking, plan: DischargePlan, revision: int) -> None:
    table, versions = discharge_schema.discharge, discharge_schema.discharge_version
    values = {
        "patient": taking.patient,
        "revision": revision,
        "stated_at": plan.stated_at,
        "digest": plan.digest,
        "plan": dump(plan),
        "over": plan.over,
    }
    if revision == 1:
        taking.connection.execute(table.insert().values(id=plan.plan_id, **values))
    else:
        taking.connection.execute(update(table).where(table.c.id == plan.plan_id).values(**values))
    version = {"plan": dump(plan), "source": taking.source, "taken_at": taking.now}
    taking.connection.execute(versions.insert().values(discharge=plan.plan_id, revision=revision, **version))
    taking.step(f"discharge plan {plan.plan_id} taken, version {revision}{', over' if plan.over else ''}")


def _programmes(taking: Taking, plan: DischargePlan, before: DischargePlan | None) -> None:
    """Let the patient join what is new in the plan, and leave what only plans had them join and none names.

    What somebody ended since, although an earlier version named it, stays ended. What another plan of the
    patient still names goes on as it was, whichever of them said it first: since when it is so stays.
    """
    connection, patient = taking.connection, str(taking.patient)
    wanted = () if plan.over else plan.programmes
    had = () if before is None or before.over else before.programmes
    named = {name for one in live_plans(connection, patient) for name in one.programmes}
    now_in = [one.programme for one in rows.memberships(connection, patient)]
    places, plans = _places(connection, patient), plan_ids(connection, patient)
    stated = Stated(plan.author, f"discharge plan of {plan.discharged_at:%Y-%m-%d}", taking.now, plan.plan_id)
    for name in now_in:
        if places[name].origin in plans and name not in named:
            place = places[name].place
            state_membership(connection, patient, name, stated, place=place, active=False)
            taking.step(f"programme {name} ended")
    for place, name in enumerate(wanted, start=len(now_in)):
        if name not in now_in and name not in had:
            state_membership(connection, patient, name, stated, place=place, active=True)
            taking.step(f"programme {name} joined")


def _places(connection: Connection, patient: str) -> dict[str, Any]:
    """Return the latest statement about each programme."""
    table = schema.membership
    query = select(table).where(table.c.patient == patient).order_by(table.c.stated_at, table.c.id)
    return {row.programme: row for row in connection.execute(query)}


def _own(taking: Taking, plan: DischargePlan, before: DischargePlan | None) -> None:
    """State the thresholds that this version has otherwise than the one before; end what it has no more.

    Where the plan of a later discharge has one of its own, that one holds until it is over.
    """
    wanted, had = _values(plan), {} if before is None else _values(before)
    later = later_plans(taking.connection, str(taking.patient), plan)
    for key, one in wanted.items():
        if key not in had or had[key].value != one.value:
            _check(one)
            holds = next((other for other in later if key in _values(other)), None)
            if holds is not None:
                since = f"{holds.discharged_at:%Y-%m-%d}"
                told = (
                    f"{one.rule} {one.parameter} not stated: that of the later discharge, of {since}, holds"
                )
                taking.remarks.append(told)
                continue
            said = Stated(one.author, one.reason, taking.now, plan.plan_id)
            if state_value(taking.connection, str(taking.patient), (*key, one.value), said):
                taking.step(f"own value of {one.rule} {one.parameter} stated")
    for key in had:
        if key not in wanted:
            _end(taking, plan, key)


def _end(taking: Taking, plan: DischargePlan, key: tuple[str, str]) -> None:
    """End a value that no plan has any more; of another plan that has it, its value holds again."""
    rule, parameter = key
    connection, patient = taking.connection, str(taking.patient)
    others = {
        one.plan_id: _values(one)[key] for one in live_plans(connection, patient) if key in _values(one)
    }
    origin = _origin(taking, key)
    if origin in others or origin not in plan_ids(connection, patient):
        return
    said = Stated(plan.author, "the discharge plan has it no more", taking.now, plan.plan_id)
    value, what = ENDED, "ended"
    if others:
        plan_id, one = next(iter(others.items()))
        said, value, what = Stated(one.author, one.reason, taking.now, plan_id), one.value, "stated"
    if state_value(connection, patient, (rule, parameter, value), said):
        taking.step(f"own value of {rule} {parameter} {what}")


def _values(plan: DischargePlan) -> dict[tuple[str, str], OwnValue]:
    own = () if plan.over or plan.care is None else plan.care.own
    return {(one.rule, one.parameter): one for one in own}


def _check(one: OwnValue) -> None:
    try:
        check_own(one.rule, one.parameter, one.value)
    except Misconfigured as error:
        raise PlanRefusedError([Fault("Goal", str(error))]) from error


def _origin(taking: Taking, key: tuple[str, str]) -> UUID | None:
    """Return the plan whose value holds; None if somebody agreed it since, which no plan ends."""
    table = schema.setting
    mine = (table.c.patient == taking.patient) & (table.c.rule == key[0]) & (table.c.parameter == key[1])
    query = select(table.c.origin).where(mine).order_by(table.c.stated_at.desc(), table.c.id.desc()).limit(1)
    return taking.connection.execute(query).scalar_one_or_none()
