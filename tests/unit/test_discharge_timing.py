"""When a medicine is due, from a FHIR dosage; or why nobody is reminded of it, in words."""

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cloud_bridge.discharge.plan import CarePart, DischargePlan, PlanRefusedError
from cloud_bridge.discharge.reminders import next_due
from cloud_bridge.duty import ALWAYS, Duty
from tests.doubles.discharge_plans import MADE, ZONE, daily, medicine, plan


def care(made: DischargePlan) -> CarePart:
    assert made.care is not None
    return made.care


TIMINGS: dict[str, tuple[Any, tuple[str, ...] | str]] = {
    "times of day": (daily("07:30:00", "19:30:00"), ("07:30", "19:30")),
    "so many times a day": (
        {"repeat": {"frequency": 2, "period": Decimal(1), "periodUnit": "d"}},
        ("08:00", "20:00"),
    ),
    "BID": (
        {
            "code": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation", "code": "BID"}
                ]
            }
        },
        ("08:00", "20:00"),
    ),
    "before breakfast": ({"repeat": {"when": ["ACM"]}}, ("07:30",)),
    "twice, and three times": (
        {"repeat": {"frequency": 2, "period": Decimal(1), "periodUnit": "d", "when": ["ACM", "ACD", "ACV"]}},
        "its timing.repeat.frequency is another number than the times of the day",
    ),
    "every other day": (
        {"repeat": {"frequency": 1, "period": Decimal(2), "periodUnit": "d"}},
        "it is not taken each day, and its timing names no weekdays",
    ),
    "every six hours": (
        {"repeat": {"frequency": 1, "period": Decimal(6), "periodUnit": "h"}},
        "it is not taken each day, and its timing names no weekdays",
    ),
    "seven times a day": (
        {"repeat": {"frequency": 7, "period": Decimal(1), "periodUnit": "d"}},
        "the site has no times for 7 times a day: write [discharge.times]",
    ),
    "an offset": ({"repeat": {"when": ["ACM"], "offset": 30}}, "its timing.repeat.offset is not understood"),
    "a count": (
        {"repeat": {"count": 3, "timeOfDay": ["08:00:00"]}},
        "its timing.repeat.count is not understood",
    ),
    "both": (
        {"repeat": {"when": ["ACM"], "timeOfDay": ["08:00:00"]}},
        "its timing has both timeOfDay and when",
    ),
    "no time at all": ({"repeat": {}}, "its timing does not say when: write timeOfDay"),
    "events": ({"event": ["2026-11-25T08:00:00+08:00"]}, "its timing lists single events"),
    "a code of nobody's": (
        {"repeat": {"when": ["C"]}},
        "the site has no times for C: write [discharge.times]",
    ),
    "months": (
        {"repeat": {"timeOfDay": ["08:00:00"], "boundsDuration": {"value": Decimal(2), "code": "mo"}}},
        "its timing.repeat.boundsDuration is not in days or weeks",
    ),
    "half a day": (
        {"repeat": {"timeOfDay": ["08:00:00"], "boundsDuration": {"value": Decimal("0.5"), "code": "d"}}},
        "its timing.repeat.boundsDuration is no number of days",
    ),
}


@pytest.mark.parametrize("name", TIMINGS)
def test_dosages(name: str) -> None:
    timing, expected = TIMINGS[name]
    made = plan(lambda by_id: by_id.update(m1=medicine("m1", "x", "as said", timing)))
    first = care(made).medications[0]
    if isinstance(expected, str):
        assert (first.at, first.no_reminder) == ((), expected)
        assert f"MedicationRequest/m1: no reminder: {expected}" in made.remarks
    else:
        assert first.at == tuple(map(dt.time.fromisoformat, expected))
        assert first.no_reminder is None


def test_weekdays_and_ends_of_a_dosage() -> None:
    weekly = {"frequency": 2, "period": Decimal(1), "periodUnit": "wk", "dayOfWeek": ["mon", "thu"]}
    bounds = {"boundsPeriod": {"start": "2026-12-01", "end": "2026-12-31"}}
    timing = {"repeat": {**weekly, **bounds, "when": ["MORN"]}}
    first = care(plan(lambda b: b.update(m1=medicine("m1", "x", "y", timing)))).medications[0]
    assert (first.weekdays, first.starts, first.ends) == ((0, 3), dt.date(2026, 12, 1), dt.date(2026, 12, 31))
    fortnight = {"repeat": {"timeOfDay": ["08:00:00"], "boundsDuration": {"value": Decimal(2), "code": "wk"}}}
    first = care(plan(lambda b: b.update(m1=medicine("m1", "x", "y", fortnight)))).medications[0]
    assert first.ends == dt.date(2026, 12, 7)
    once = {"repeat": {**weekly, "frequency": 1}}
    first = care(plan(lambda b: b.update(m1=medicine("m1", "x", "y", once)))).medications[0]
    assert first.no_reminder == "its timing.repeat.frequency is another number than its weekdays"


def test_a_medicine_without_an_end_is_not_reminded_of_for_ever() -> None:
    made = plan(lambda b: b["c"]["period"].pop("end"))
    assert {one.no_reminder for one in care(made).medications} == {
        "neither its timing nor CarePlan.period has an end",
        "it is taken as needed",
    }


LAST = dt.date(2036, 11, 24)


@pytest.mark.parametrize("end", ["9999-12-31", "9999-12-31T23:59:59Z", "2999-12-31", "2036-11-25"])
def test_an_end_that_is_none_is_cut_after_ten_years(end: str) -> None:
    made = plan(lambda b: b["c"]["period"].update(end=end))
    assert {one.ends for one in care(made).medications if one.at} == {LAST}
    assert care(made).ends == LAST
    said = "its end is too far ahead: reminders end ten years after the discharge"
    assert f"CarePlan/c.period.end: {said}" in made.remarks
    quiet = Duty(zone=ZONE, quiet=(dt.time(19), dt.time(8, 30)))
    assert next_due(made, MADE, (ZONE, quiet)) is None
    assert next_due(made, MADE, (ZONE, ALWAYS)) == dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)

    def of_a_dosage(by_id: dict[str, dict[str, Any]]) -> None:
        del by_id["c"]["period"]["end"]
        by_id["m1"]["dosageInstruction"][0]["timing"]["repeat"]["boundsPeriod"] = {"end": end}

    made = plan(of_a_dosage)
    assert care(made).medications[0].ends == LAST
    assert f"MedicationRequest/m1: {said}" in made.remarks


def test_an_end_within_ten_years_is_as_it_was_said() -> None:
    made = plan(lambda b: b["c"]["period"].update(end=LAST.isoformat()))
    assert care(made).ends == LAST
    assert not [one for one in made.remarks if "ten years" in one]


@pytest.mark.parametrize(
    ("start", "starts"), [("0001-01-01", dt.date(2026, 11, 24)), ("9999-12-31", None), ("2027-02-23", None)]
)
def test_a_dosage_begins_within_its_plan(start: str, starts: dt.date | None) -> None:
    timing = {"repeat": {"timeOfDay": ["08:00:00"], "boundsPeriod": {"start": start}}}
    made = plan(lambda b: b.update(m1=medicine("m1", "x", "y", timing)))
    first = care(made).medications[0]
    assert first.starts == starts
    assert (first.no_reminder is None) == (starts is not None)
    for zone in (ZONE, ZoneInfo("America/Lima")):
        assert next_due(made, MADE, (zone, ALWAYS)) is not None


def test_a_moment_outside_the_calendar_is_a_fault() -> None:
    with pytest.raises(PlanRefusedError, match=r"CarePlan/c\.period\.end: write a date and a time"):
        plan(lambda b: b["c"]["period"].update(end="9999-12-31T23:59:59-05:00"))


def test_two_dosages_or_none_have_no_reminder() -> None:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["m1"]["dosageInstruction"] *= 2
        del by_id["m2"]["dosageInstruction"]

    reasons = [one.no_reminder for one in care(plan(change)).medications]
    assert reasons == ["it has more than one dosage", "it has no dosage", "it is taken as needed"]
