"""What a family doctor's Task is brought up to date with, and what is read of it."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.connectors.base import Identifier, VisitOrder, VisitState, WorkReport, WorkState
from cloud_bridge.connectors.fhir_codes import Resource, is_taken_back
from cloud_bridge.connectors.fhir_visit import visit_bundle
from cloud_bridge.discharge.plan import DischargePlan
from cloud_bridge.store.engine import reading
from cloud_bridge.store.first_visits import visit_order
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.discharge_plans import BASE, MADE, plan
from tests.integration.test_first_visit import deliver, inbox, take

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    one = BridgeDesk(tmp_path, zone="Asia/Shanghai")
    one.now = MADE + HOUR
    yield one
    one.close()


# --- read ---


def test_our_own_withdrawal_is_nobodys_refusal(desk: BridgeDesk) -> None:
    plan_id = take(desk, plan())
    deliver(desk)
    desk.now += HOUR
    take(desk, replace(plan(at=MADE + HOUR), over=True))
    deliver(desk)
    desk.now += HOUR
    take(desk, plan(at=MADE + 2 * HOUR))
    # The server still has the Task as we withdrew it: what it says of it is no news.
    refused = WorkReport(plan_id, WorkState.REFUSED, None, desk.now)
    assert not desk.store.first_visits.take_report(refused, desk.now)
    desk.wake()
    assert inbox(desk) == []
    deliver(desk)
    assert desk.store.first_visits.take_report(refused, desk.now)
    desk.wake()
    assert inbox(desk) == [("FIRST-VISIT", "given_back")]


def test_what_we_cancelled_is_asked_again_and_what_the_practice_cancelled_is_not(desk: BridgeDesk) -> None:
    order = order_of(desk, plan())
    asked = sent(order)
    assert asked is not None
    gone = sent(replace(order, state=VisitState.WITHDRAWN), asked)
    assert gone is not None
    assert (gone["status"], is_taken_back(gone)) == ("cancelled", True)
    again = sent(order, gone)
    assert again is not None
    assert (again["status"], "statusReason" in again) == ("requested", False)
    theirs = {**again, "status": "cancelled", "statusReason": {"text": "moved away"}}
    assert sent(order, theirs) is None
    other = replace(order.care, family_doctor=Identifier(f"{BASE}/staff", "doctor-8"))
    anew = sent(replace(order, care=other), theirs)
    assert anew is not None
    assert (anew["status"], "statusReason" in anew) == ("requested", False)


def test_a_clock_that_is_ahead_makes_no_visit_in_the_future(desk: BridgeDesk) -> None:
    plan_id = take(desk, plan())
    ahead = WorkReport(plan_id, WorkState.REFUSED, "doctor-7", desk.now + HOUR)
    deliver(desk)
    assert desk.store.first_visits.take_report(ahead, desk.now)
    (settings,) = desk.store.alerts.settings(desk.table("first_visit")[0]["patient"]).visits
    assert settings.given_back_at == desk.now
    desk.wake()
    assert inbox(desk) == [("FIRST-VISIT", "given_back")]


# --- brought up to date ---


def order_of(desk: BridgeDesk, made: DischargePlan) -> VisitOrder:
    plan_id = take(desk, made)
    with reading(desk.store.engine) as connection:
        order = visit_order(connection, plan_id, "en")
    assert order is not None
    return order


def sent(order: VisitOrder, *existing: Resource) -> Resource | None:
    """Return the Task that the server would have then, as servers keep it: with references of their own."""
    bundle = visit_bundle(order, existing, test_data=False)
    if bundle is None:
        return None
    (entry,) = bundle["entry"]
    task: Resource = entry["resource"]
    import_module("fhir.resources.R4B.task").Task.model_validate(task)
    owner = task["owner"]["reference"].rsplit("|", 1)[-1].removeprefix("Practitioner/")
    return {**task, "owner": {"reference": f"Practitioner/{owner}"}, "id": "t", "meta": {"versionId": "1"}}


def by_doctor_8(by_id: dict[str, dict[str, Any]]) -> None:
    by_id["doctor"]["identifier"][0]["value"] = "doctor-8"


def said(task: Resource) -> list[str]:
    return [one["type"]["text"] for one in task.get("input", [])]


@pytest.mark.parametrize("status", ["accepted", "rejected", "cancelled"])
def test_another_family_doctor_is_asked_anew(desk: BridgeDesk, status: str) -> None:
    task = sent(order_of(desk, plan()))
    assert task is not None
    desk.now += HOUR
    order = order_of(desk, plan(by_doctor_8, MADE + HOUR))
    changed = sent(order, {**task, "status": status})
    assert changed is not None
    assert (changed["owner"]["reference"], changed["status"]) == ("Practitioner/doctor-8", "requested")
    # Once they have it, what they make of it stays, and so does whom they gave it to.
    assert sent(order, {**changed, "status": "accepted", "owner": {"reference": "Practitioner/x"}}) is None


def test_what_was_done_stays_done_whoever_is_the_doctor_now(desk: BridgeDesk) -> None:
    task = sent(order_of(desk, plan()))
    assert task is not None
    order = replace(order_of(desk, plan()), state=VisitState.DONE)
    other = replace(order.care, family_doctor=Identifier(f"{BASE}/staff", "doctor-8"))
    done = sent(replace(order, care=other), {**task, "status": "completed"})
    assert done is not None
    assert (done["owner"]["reference"], done["status"]) == ("Practitioner/doctor-7", "completed")


def test_a_task_that_says_no_doctor_keeps_its_own(desk: BridgeDesk) -> None:
    order = order_of(desk, plan())
    task = sent(order)
    assert task is not None
    older = {**task, "status": "accepted", "input": task["input"][:-1]}
    changed = sent(order, older)
    assert changed is not None
    assert (changed["status"], said(changed)) == ("accepted", said(task))


def test_what_the_plan_has_no_more_the_task_has_no_more(desk: BridgeDesk) -> None:
    order = order_of(desk, plan())
    task = sent(order)
    assert task is not None
    assert "medication" in said(task)
    changed = sent(replace(order, medications=(), follow_up=(), care_plan=None), task)
    assert changed is not None
    assert said(changed) == ["family-doctor"]
