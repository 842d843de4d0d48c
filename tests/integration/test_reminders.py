"""Reminders of medicines: at the patient's own time, once, not late, not at night, and not after the end."""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.access.model import DataType
from cloud_bridge.connectors.base import Identifier, ReminderOrder
from cloud_bridge.connectors.fhir_visit import reminder_bundle
from cloud_bridge.connectors.webhook_map import reminder_event
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.discharge.plan import CarePart, Medication
from cloud_bridge.discharge.reminders import due_within, next_due
from cloud_bridge.duty import ALWAYS, Duty
from service_kit.log import silent
from tests.doubles.bridge_connector import ScriptedConnector
from tests.doubles.bridge_desk import BridgeDesk, care
from tests.doubles.bridge_home import GATEWAY
from tests.doubles.discharge_desk import HOUR, after_discharge, take
from tests.doubles.discharge_plans import BASE, DEFAULTS, MADE, ZONE, daily, medicine, plan

DAY = dt.timedelta(days=1)
EIGHT = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
"""Eight in the evening in Shanghai, on the day of the discharge."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    yield from after_discharge(tmp_path)


def told(desk: BridgeDesk) -> list[ReminderOrder]:
    """What a follow-up system would be handed now, in order."""
    claimed = [c for c in desk.store.deliveries.claim_deliveries(desk.now, 100) if c.key.kind == "reminder"]
    orders = [desk.store.deliveries.load(one, desk.now) for one in claimed]
    for one in claimed:
        desk.store.deliveries.mark_delivered(one, desk.now)
    found = [one for one in orders if isinstance(one, ReminderOrder)]
    return sorted(found, key=lambda one: one.due_at)


def states(desk: BridgeDesk) -> list[str]:
    return sorted(row["state"] for row in desk.table("reminder"))


# --- when ---


def test_a_patient_is_told_at_their_own_time_in_their_language(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.wake(EIGHT - HOUR / 60)
    assert told(desk) == []
    desk.wake(EIGHT)
    (order,) = told(desk)
    assert (order.due_at, order.until - order.due_at) == (EIGHT, HOUR)
    assert order.text.startswith("用药时间到了")
    assert "Metoprolol 25 mg。请按医嘱服用。" in order.text
    assert "Amlodipine" not in order.text
    assert (order.care.patient.value, order.care.language) == ("42", "zh-Hans")
    # In the morning both are due, and are one message.
    desk.wake(EIGHT + 12 * HOUR)
    (order,) = told(desk)
    assert "Amlodipine 5 mg, Metoprolol 25 mg" in order.text
    desk.wake(EIGHT + 12 * HOUR)
    assert told(desk) == []


def test_a_reminder_is_a_message_that_is_worth_nothing_later(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.wake(EIGHT)
    (order,) = told(desk)
    bundle = reminder_bundle(order, test_data=True)
    message = bundle["entry"][0]["resource"]
    assert message["occurrencePeriod"] == {"start": EIGHT.isoformat(), "end": (EIGHT + HOUR).isoformat()}
    assert bundle["entry"][0]["request"]["ifNoneExist"].endswith(str(order.reminder_id))
    event = reminder_event(order)
    assert (event.body["role"], event.body["not_after"]) == ("patient", (EIGHT + HOUR).isoformat())
    assert event.event_id == reminder_event(order).event_id


def test_where_the_patient_lives_is_what_counts(desk: BridgeDesk) -> None:
    mine = replace(care("1"), patient=Identifier(f"{BASE}/patient", "42"))
    desk.store.registry.enrol_person(GATEWAY, "p-3", "patient-3", mine, "Europe/Berlin")
    take(desk, plan())
    (row,) = [row for row in desk.table("timer") if row["subject"].startswith("remind:")]
    assert str(row["due_at"]).startswith("2026-11-24 07:00")
    desk.wake(EIGHT - 5 * HOUR)
    (order,) = told(desk)
    assert order.text.startswith("It is time for: Amlodipine 5 mg, Metoprolol 25 mg. Please take it as")


def test_no_diagnosis_and_no_dose_is_told(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.wake(EIGHT)
    (order,) = told(desk)
    assert not [word for word in ("hypertension", "血压", "tablet", "pressure") if word in order.text]


# --- once, and not late ---


def test_of_two_workers_one_reminds(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.now = EIGHT
    due = desk.store.intake.timers_due(desk.now)
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(desk.ingest.judge_again, [due] * 4))
    assert len(told(desk)) == 1
    assert states(desk) == ["told"]


def test_a_restart_forgets_none(tmp_path: Path) -> None:
    desk = BridgeDesk(tmp_path, zone="Asia/Shanghai")
    desk.now = MADE + HOUR
    take(desk, plan())
    desk.close()
    again = BridgeDesk(tmp_path, zone="Asia/Shanghai")
    again.wake(EIGHT + HOUR / 2)
    assert [one.due_at for one in told(again)] == [EIGHT]
    again.close()


def test_what_came_due_while_nobody_ran_is_missed_and_not_told(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.wake(EIGHT + HOUR)
    assert told(desk) == []
    assert states(desk) == ["missed"]
    desk.wake(EIGHT + DAY)
    assert [one.due_at for one in told(desk)] == [EIGHT + DAY]
    assert states(desk) == ["missed", "missed", "told"]


def test_what_no_system_took_in_time_is_not_told_later(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.wake(EIGHT)
    desk.now = EIGHT + HOUR
    assert told(desk) == []
    assert not [row for row in desk.table("delivery") if row["kind"] == "reminder" and row["delivered"] == 0]


# --- not at night, and not after the end ---


def test_a_time_in_quiet_hours_has_no_reminder_and_that_is_said(tmp_path: Path) -> None:
    quiet = Duty(zone=ZONE, quiet=(dt.time(21), dt.time(8, 30)))
    desk = BridgeDesk(tmp_path, zone="Asia/Shanghai", duty=quiet)
    desk.now = MADE + HOUR
    done = take(desk, plan())
    said = [one for one in done.remarks if "quiet hours" in one]
    assert len(said) == 2
    for _ in range(3):
        desk.wake(desk.now + DAY)
    assert {str(row["due_at"])[11:16] for row in desk.table("reminder")} == {"12:00"}
    desk.close()


def test_the_end_of_the_plan_is_the_end_of_its_reminders(desk: BridgeDesk) -> None:
    take(desk, plan(lambda by_id: by_id["c"]["period"].update(end="2026-11-25")))
    for hour in range(72):
        desk.wake(MADE + HOUR + hour * HOUR)
    assert [one.due_at for one in told(desk)] == []  # all but the last hour's are late by now
    assert len(states(desk)) == 3
    assert not [row for row in desk.table("timer") if row["subject"].startswith("remind:")]


def test_a_plan_that_is_over_reminds_of_nothing(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.wake(EIGHT)
    take(desk, replace(plan(at=MADE + HOUR), over=True))
    assert told(desk) == []  # also what is queued
    desk.wake(EIGHT + DAY)
    assert states(desk) == ["told"]


def test_what_is_queued_names_what_the_plan_says_when_it_is_told(desk: BridgeDesk) -> None:
    take(desk, plan())
    desk.wake(EIGHT + 12 * HOUR)  # both medicines are due, and nothing is delivered yet
    take(desk, plan(lambda by_id: by_id.pop("m1"), MADE + HOUR))
    (order,) = told(desk)
    assert "Metoprolol" in order.text
    assert "Amlodipine" not in order.text


def test_a_later_version_reminds_of_what_it_says(desk: BridgeDesk) -> None:
    take(desk, plan())

    def change(by_id: dict[str, dict[str, Any]]) -> None:
        del by_id["m2"]
        by_id["m1"] = medicine("m1", "Ramipril", "x", daily("19:00:00"))

    take(desk, plan(change, MADE + HOUR))
    desk.wake(EIGHT - HOUR)
    (order,) = told(desk)
    assert "Ramipril" in order.text
    desk.wake(EIGHT)
    assert told(desk) == []


def test_a_site_that_wants_no_reminders_has_none(desk: BridgeDesk) -> None:
    take(desk, plan(), replace(DEFAULTS, reminders=False))
    desk.wake(EIGHT)
    assert told(desk) == []


async def test_without_consent_nobody_is_told_and_not_afterwards_either(tmp_path: Path) -> None:
    clinic, to = "webhook:clinic", "organization:clinic"
    desk = BridgeDesk(tmp_path, destinations=(clinic,), consent_needed={clinic: to}, zone="Asia/Shanghai")
    desk.now = MADE + HOUR
    connector = ScriptedConnector()
    loop = DeliveryLoop(desk.store.deliveries, {clinic: connector}, lambda: desk.now, log=silent())
    patient = str(take(desk, plan()).patient)

    def consent() -> None:
        desk.store.access.give_consent(
            patient, to, DataType.MEDICATION, text_version="1", by=patient, now=desk.now
        )

    async def reminded() -> list[dt.datetime]:
        await loop.round()
        return [one.due_at for one in connector.taken if isinstance(one, ReminderOrder)]

    desk.wake(EIGHT)
    assert await reminded() == []
    desk.now += 2 * HOUR
    consent()
    assert await reminded() == []  # that hour is over
    desk.wake(EIGHT + 12 * HOUR)
    assert await reminded() == [EIGHT + 12 * HOUR]
    desk.store.access.withdraw_consent(patient, to, DataType.MEDICATION, by=patient, now=desk.now)
    desk.wake(EIGHT + DAY)
    assert await reminded() == [EIGHT + 12 * HOUR]
    desk.close()


# --- the calendar ---


@settings(max_examples=100)
@given(
    times=st.lists(
        st.times().map(lambda t: t.replace(second=0, microsecond=0, fold=0)), min_size=1, max_size=4
    ),
    weekdays=st.sets(st.integers(0, 6), max_size=6),
    days=st.integers(0, 40),
)
def test_the_next_moment_is_the_first_that_is_due(
    times: list[dt.time], weekdays: set[int], days: int
) -> None:
    starts = dt.date(2026, 11, 24)
    one = Medication(
        "m",
        "x",
        "",
        tuple(sorted(set(times))),
        tuple(sorted(weekdays)),
        starts,
        starts + dt.timedelta(days=days),
    )
    made = replace(plan(), care=CarePart(medications=(one,)))
    where = (ZONE, ALWAYS)
    after = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    every = due_within(made, after, after + 60 * DAY, where)
    walked, at = [], next_due(made, after, where)
    while at is not None:
        walked.append(at)
        at = next_due(made, at, where)
    assert walked == [moment.at for moment in every]
    wanted = [starts + n * DAY for n in range(days + 1)]
    kept = [day for day in wanted if not weekdays or day.weekday() in weekdays]
    assert len(walked) == len(set(times)) * len(kept)
