"""A patient who was in hospital again: two plans, of which each keeps what it still needs."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cloud_bridge.connectors.base import Identifier, ReminderOrder
from cloud_bridge.discharge.plan import DischargePlan
from cloud_bridge.rules.base import Queue
from cloud_bridge.store.base import Stated
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.discharge_desk import HOUR, after_discharge, take
from tests.doubles.discharge_plans import BASE, MADE, below, daily, goal, medicine, plan

FIRST = plan()
LATER = MADE + 5 * HOUR
EVENING = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
"""Eight in Shanghai, on the day of both discharges."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    yield from after_discharge(tmp_path)


def again(made: DischargePlan = FIRST, at: dt.datetime = LATER) -> DischargePlan:
    """The plan of a second stay, which the patient left later."""
    stay = Identifier(f"{BASE}/stay", "stay-2")
    return replace(made, stay=stay, stated_at=at, discharged_at=LATER - HOUR)


def over(made: DischargePlan, at: dt.datetime) -> DischargePlan:
    return replace(made, stated_at=at, over=True)


def readmitted(desk: BridgeDesk, second: DischargePlan | None = None) -> str:
    """Take both plans; return whose they are."""
    patient = str(take(desk, FIRST).patient)
    desk.now = LATER + HOUR
    assert take(desk, second or again()).patient == patient
    desk.now += HOUR
    return patient


def own(desk: BridgeDesk, patient: str) -> dict[tuple[str, str], str]:
    settings = desk.store.alerts.settings(patient)
    held = [s for rule in {x.rule for x in settings.own} for s in settings.of_rule(rule).values()]
    return {(s.rule, s.parameter): s.value for s in held if s.value != "null"}


def programmes(desk: BridgeDesk, patient: str) -> dict[str, dt.datetime]:
    return {one.programme: one.since for one in desk.store.alerts.settings(patient).programmes}


def test_an_old_plan_that_is_over_ends_nothing_that_a_later_one_needs(desk: BridgeDesk) -> None:
    patient = readmitted(desk)
    joined, held = programmes(desk, patient), own(desk, patient)
    assert (list(joined), len(held)) == (["hypertension"], 6)
    take(desk, over(FIRST, desk.now))
    assert (programmes(desk, patient), own(desk, patient)) == (joined, held)
    # Once no plan names them they end, whichever plan said them first.
    desk.now += HOUR
    take(desk, over(again(), desk.now))
    assert (programmes(desk, patient), own(desk, patient)) == ({}, {})


def test_a_later_plan_that_is_over_leaves_what_the_earlier_one_says(desk: BridgeDesk) -> None:
    other = plan(lambda b: b["systolic"].update(target=goal("x", "8480-6", "x", **below("140"))["target"]))
    patient = readmitted(desk, again(other))
    assert '"140"' in own(desk, patient)["BP-HOME", "systolic"]
    take(desk, over(again(other), desk.now))
    assert '"130"' in own(desk, patient)["BP-HOME", "systolic"]
    assert list(programmes(desk, patient)) == ["hypertension"]
    # It is the earlier plan's now, and ends with it.
    desk.now += HOUR
    take(desk, over(FIRST, desk.now))
    assert (programmes(desk, patient), own(desk, patient)) == ({}, {})


def test_what_a_nurse_agreed_is_no_plans_to_end(desk: BridgeDesk) -> None:
    patient = readmitted(desk)
    said = Stated("nurse-1", "agreed", desk.now)
    desk.store.registry.agree(patient, "BP-HOME", "systolic", '{"kpa": "18.0", "mmhg": "135"}', said)
    desk.now += HOUR
    for made in (FIRST, again()):
        take(desk, over(made, desk.now))
    assert list(own(desk, patient)) == [("BP-HOME", "systolic")]


def aims(value: str) -> DischargePlan:
    """The first plan, with another goal."""
    return plan(lambda b: b["systolic"].update(target=goal("x", "8480-6", "x", **below(value))["target"]))


@pytest.mark.parametrize("late", ["a later version", "the plan itself"])
def test_what_an_earlier_discharge_says_late_does_not_take_the_place_of_a_later_ones(
    desk: BridgeDesk, late: str
) -> None:
    if late == "a later version":
        patient = readmitted(desk, again(aims("140")))
    else:
        desk.now = LATER + HOUR
        patient = str(take(desk, again(aims("140"))).patient)
    desk.now += HOUR
    done = take(desk, replace(aims("120"), stated_at=desk.now, author="physician-2"))
    assert '"140"' in own(desk, patient)["BP-HOME", "systolic"]
    remark = "BP-HOME systolic not stated: that of the later discharge, of 2026-11-24, holds"
    assert remark in done.remarks
    # It was heard all the same: once the later plan is over, it is what holds.
    desk.now += HOUR
    take(desk, over(again(aims("140")), desk.now))
    assert '"120"' in own(desk, patient)["BP-HOME", "systolic"]


def test_a_later_discharge_that_says_nothing_of_a_threshold_leaves_it_to_the_earlier(
    desk: BridgeDesk,
) -> None:
    patient = readmitted(desk, replace(again(), care=None))
    take(desk, replace(aims("120"), stated_at=desk.now))
    assert '"120"' in own(desk, patient)["BP-HOME", "systolic"]


def test_the_family_doctor_is_the_later_discharges_to_name(desk: BridgeDesk) -> None:
    other = Identifier(f"{BASE}/staff", "family-doctor-8")
    patient = readmitted(desk, replace(again(), family_doctor=other))
    take(desk, replace(FIRST, stated_at=desk.now, author="physician-2"))
    (row,) = [r for r in desk.table("patient") if r["id"] == patient]
    assert row["family_doctor_value"] == "family-doctor-8"


# --- reminders and the first visit ---


def reminded(desk: BridgeDesk) -> list[str]:
    claimed = [c for c in desk.store.deliveries.claim_deliveries(desk.now, 100) if c.key.kind == "reminder"]
    orders = [desk.store.deliveries.load(one, desk.now) for one in claimed]
    for one in claimed:
        desk.store.deliveries.mark_delivered(one, desk.now)
    return [one.text for one in orders if isinstance(one, ReminderOrder)]


def visits(desk: BridgeDesk) -> dict[UUID, str]:
    return {row["discharge"]: row["state"] for row in desk.table("first_visit")}


def without_metoprolol() -> DischargePlan:
    other = medicine("m2", "Ramipril 5 mg", "1 tablet in the evening", daily("20:00:00"))
    return again(plan(lambda b: b.update(m2=other)))


def test_the_later_plan_alone_reminds(desk: BridgeDesk) -> None:
    readmitted(desk, without_metoprolol())
    desk.wake(EVENING)
    (text,) = reminded(desk)
    assert "Ramipril" in text
    assert "Metoprolol" not in text
    # If it is over, the earlier one goes on.
    take(desk, over(without_metoprolol(), desk.now))
    desk.wake(EVENING + 24 * HOUR)
    (text,) = reminded(desk)
    assert "Metoprolol" in text


def test_what_was_queued_by_the_earlier_plan_is_not_told(desk: BridgeDesk) -> None:
    take(desk, FIRST)
    desk.wake(EVENING)
    take(desk, without_metoprolol())
    assert reminded(desk) == []


def test_the_later_plan_alone_has_a_first_visit(desk: BridgeDesk) -> None:
    first = take(desk, FIRST)
    assert not [one for one in first.remarks if "first visit" in one]
    desk.now = LATER + HOUR
    done = take(desk, again())
    assert visits(desk) == {first.plan_id: "withdrawn", done.plan_id: "asked"}
    assert "first visit of an earlier discharge withdrawn" in done.steps
    remark = (
        "no reminders and no first visit for the discharge of 2026-11-24: "
        "a later discharge, of 2026-11-24, is known"
    )
    assert remark in done.remarks
    wanted = {row["subject"]: row["wanted"] for row in desk.table("delivery") if row["kind"] == "visit"}
    assert wanted == {first.plan_id: 2, done.plan_id: 1}
    # A new version of the earlier plan asks for none, and says why.
    desk.now += HOUR
    other = replace(FIRST, stated_at=desk.now, author="physician-2")
    assert remark in take(desk, other).remarks
    assert visits(desk) == {first.plan_id: "withdrawn", done.plan_id: "asked"}
    desk.wake(MADE + 200 * HOUR)
    assert [one for one in desk.queue(Queue.CLINICAL) if one[0] == "FIRST-VISIT"] == [
        ("FIRST-VISIT", "overdue")
    ]


def test_an_earlier_plan_that_comes_late_asks_for_no_visit(desk: BridgeDesk) -> None:
    desk.now = LATER + HOUR
    done = take(desk, again())
    take(desk, FIRST)
    assert visits(desk) == {done.plan_id: "asked"}
