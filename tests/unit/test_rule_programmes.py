"""Programmes' files, what is agreed with a patient, and what lies at the edges of rules."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from cloud_bridge.alerts import Actor, AlertState, Move, after
from cloud_bridge.rules.base import Finding, Reading, Settings, Severity, Standing
from cloud_bridge.rules.episodes import LAST, Taken, merged, plus
from cloud_bridge.rules.parameters import DayWindow, GlucoseLimit, MassLimit, PressureLimit
from cloud_bridge.rules.programme import (
    PROGRAMMES,
    TECHNICAL,
    check_own,
    common,
    installed,
    parse_programme,
    programme,
    rules_for,
    say,
    silent_from,
)
from cloud_bridge.rules.refusals import Refusal, refusal
from cloud_bridge.rules.rule import local
from cloud_bridge.rules.technical import Sign, SignKind, concerns_equipment, sign_of_clock, sign_of_event
from wire_format.errors import Misconfigured, Rejected
from wire_format.measurement import Absent, Component, Instant, Meal, Remark, Specimen
from wire_format.nomenclature import Term, Unit
from wire_format.statements import DeviceEvent, DeviceEventKind

from bridge_readings import CUFF, NOW, blood_pressure, glucose, owned, reading, weight
from glucose_stories import fasting
from story_kit import DAY, EVERYTHING, member, own_setting, rule

LOW = programme("hypertension").body


# --- files ---


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("[rules.BP-LOW]", "[rules.BP-LOWER]", "no BP-LOWER"),
        ('version = "2"', "version = 2", "version"),
        ('version = "2"', "version = ", "Invalid value"),
        ('mmhg = "90"', 'mmhg = "91"', "must mean the same: 91 mm\\[Hg\\] is 12.13 kPa"),
        ('mmhg = "90"', 'psi = "2"', "systolic"),
        ("confirm_within_minutes = 10", "confirm_within_minutes = 0", "greater than or equal to 1"),
        ("confirm_within_minutes = 10", "confirm_within_hours = 1", "confirm_within_hours"),
        ('begins = "06:00"', 'begins = "10:00"', "begins before it ends"),
    ],
)
def test_what_is_wrong_in_a_programme_is_said(right: str, wrong: str, says: str) -> None:
    assert right in LOW
    with pytest.raises(Misconfigured, match=says):
        parse_programme(LOW.replace(right, wrong))


def test_a_band_says_which_bound_people_are_told() -> None:
    body = programme("diabetes").body
    for wrong in ('told = "above"', 'told = "colour"'):
        with pytest.raises(Misconfigured, match="told names the bound"):
            parse_programme(body.replace('told = "below"', wrong))


def test_a_programme_is_known_by_its_bytes() -> None:
    for name in (*PROGRAMMES, TECHNICAL):
        one = programme(name)
        assert installed(one.digest) is one
        assert parse_programme(one.body).digest == one.digest
        assert set(one.texts) == {"en", "zh-Hans"}
    with pytest.raises(Misconfigured, match="write one of hypertension"):
        programme("colours")


@pytest.mark.parametrize(
    ("limit", "unit", "shown"),
    [
        (GlucoseLimit(mmol_l=Decimal("3.9"), mg_dl=Decimal(70)), Unit.MG_PER_DL, "70"),
        (MassLimit(kg=Decimal(2), lb=Decimal("4.4")), Unit.POUND, "4.4"),
        (PressureLimit(mmhg=Decimal(135), kpa=Decimal(18)), Unit.KPA, "18"),
    ],
)
def test_a_limit_is_compared_in_the_devices_own_unit(
    limit: GlucoseLimit | MassLimit | PressureLimit, unit: Unit, shown: str
) -> None:
    assert str(limit.in_unit(unit)) == shown
    with pytest.raises(KeyError):
        limit.in_unit(Unit.CELSIUS)


def test_a_window_of_the_day_holds_both_its_ends() -> None:
    window = DayWindow(begins=dt.time(6), ends=dt.time(9))
    held = [window.holds(NOW.replace(hour=h, minute=m)) for h, m in ((5, 59), (6, 0), (9, 0), (9, 1))]
    assert held == [False, True, True, False]
    with pytest.raises(ValidationError):
        DayWindow(begins=dt.time(9), ends=dt.time(9))


# --- whose rules ---


def test_a_home_has_what_protects_everybody_and_a_gateway_has_no_reading() -> None:
    assert [r.id for r in rules_for("home:gw-1", ())] == ["BP-SEVERE", "GLU-LOW-2", "GLU-URGENT-CN"]
    assert rules_for("gateway:gw-1", ()) == ()
    both = [(r.id, r.programme) for r in rules_for("p", ("heart_failure", "diabetes"))]
    assert ("SILENCE", "heart_failure") in both
    assert ("SILENCE", "diabetes") in both
    assert ("BP-SEVERE", "hypertension") in both
    assert not any(i == "BP-CONSECUTIVE" for i, _ in both)


def test_what_can_be_agreed() -> None:
    check_own("BP-PROTOCOL", "begins", '"2026-12-01"')
    check_own("TECHNICAL", "silent_after_hours", "24")
    check_own("SILENCE", "expected", '{"blood_pressure": 7}')
    check_own("PULSE", "enabled", "false")
    for wrong in (
        ("PULSES", "low", "1"),
        ("PULSE", "lowest", "1"),
        ("PULSE", "low", '"slow"'),
        ("SILENCE", "expected", '{"mood": 1}'),
    ):
        with pytest.raises(Misconfigured):
            check_own(*wrong)


# --- sentences ---


def finding(**changes: object) -> Finding:
    known = Finding(
        UUID(int=1), "BP-LOW", "2", "p", Severity.HIGH, Standing.CONFIRMED, (), (), NOW, (), "hypertension"
    )
    return replace(known, **changes)  # type: ignore[arg-type]  # passed through by name


def test_a_sentence_that_an_older_file_had_is_not_a_failure() -> None:
    assert say(finding(), "en", "reason").startswith("Low blood pressure: session mean …/… …")
    assert say(finding(programme="of_tomorrow"), "en", "reason") == "BP-LOW (2)"
    assert say(finding(rule="BP-GONE"), "en", "reason") == "BP-GONE (2)"
    assert say(finding(programme=""), "zh-Hans", "work").startswith("电话联系患者")
    assert common("xx", "late", {"reason": "r"}) == "r (received late)"
    silent = finding(rule="SILENCE", reason=(("quantity", "mood"), ("text", "missing"), ("days", "2")))
    assert say(silent, "en", "reason") == "No mood for 2 days"


# --- refusals ---


def test_a_value_that_is_absent_is_a_reason() -> None:
    m = blood_pressure("120")
    gone = Component(term=Term.DIASTOLIC, unit=Unit.MMHG, absent=Absent.NOT_A_NUMBER)
    without = m.model_copy(update={"components": (m.components[0], gone)})
    assert refusal(owned(without)) is Refusal.NO_VALUE
    assert refusal(owned(m.model_copy(update={"components": m.components[:1]}))) is Refusal.NO_VALUE
    assert refusal(owned(glucose(Absent.NOT_A_NUMBER))) is Refusal.NO_VALUE
    assert refusal(owned(glucose(Absent.ABOVE_RANGE))) is None
    assert refusal(owned(m)) is None


# --- zones, units, and the ends of the calendar ---


def test_a_day_is_the_patients_own() -> None:
    # 23:30 and 00:30 in Shanghai are one day in UTC.
    pair = [fasting("7.5"), owned(glucose("7.6", minutes=60, meal=Meal.FASTING))]
    late = [_moved(r, dt.datetime(2026, 11, 24, 15, 30, tzinfo=dt.UTC)) for r in pair]
    for zone, text in (("UTC", "first"), ("Asia/Shanghai", "again")):
        settings = member("diabetes", zone=zone)
        (found,) = rule("GLU-FASTING").findings(late, settings, NOW + dt.timedelta(days=2))
        assert dict(found.reason)["text"] == text


def _moved(one: Reading, first: dt.datetime) -> Reading:
    at = first + (one.measurement.time.received_at - NOW)
    return replace(one, measured=Instant(utc=at, uncertainty_ms=0))


def test_units_may_change_within_a_run() -> None:
    mixed = [
        reading("150", minutes=m, unit=u) if u is Unit.MMHG else reading("20.0", "12.0", minutes=m, unit=u)
        for m, u in enumerate((Unit.MMHG, Unit.KPA))
    ]
    (third,) = rule("BP-THIRD").findings(mixed, Settings(), NOW)
    assert third.standing is Standing.UNCONFIRMED
    kilos = [owned(weight("80.0", minutes=-DAY)), owned(weight("181.0", unit=Unit.POUND))]
    (gain,) = rule("WEIGHT-HF").findings(kilos, Settings(), NOW)
    assert dict(gain.reason)["unit"] == "lb"


def test_the_end_of_the_calendar_breaks_no_rule() -> None:
    last = dt.datetime.max.replace(tzinfo=dt.UTC, microsecond=0)
    first = dt.datetime.min.replace(tzinfo=dt.UTC)
    for at in (last, first):
        moved = [
            replace(r, measured=Instant(utc=at, uncertainty_ms=10**14))
            for r in (reading("190"), fasting("17.0"), owned(weight("90.0")), *_sensor())
        ]
        for one in rules_for("patient-1", PROGRAMMES):
            for zone in ("Asia/Shanghai", "America/Lima"):
                settings = replace(EVERYTHING, zone=zone)
                one.findings(moved, settings, NOW)
                one.wakes(moved, settings, NOW)
    assert local(last, ZoneInfo("Asia/Shanghai")) == last
    assert plus(last, dt.timedelta(days=1)) == LAST


def _sensor() -> list[Reading]:
    return [owned(glucose("6.0", specimen=Specimen.INTERSTITIAL_FLUID))]


def test_windows_that_share_nothing_stay_apart() -> None:
    a, b, c, d = (Taken(reading("120", minutes=m)) for m in (0, 1, 2, 3))
    assert [[t.id for t in group] for group in merged([[c, d], [a, b]])] == [[a.id, b.id], [c.id, d.id]]
    assert [len(group) for group in merged([[a, b], [c, d], [b, c]])] == [4]
    with pytest.raises(ValueError, match="no place in a sequence"):
        _ = Taken(reading("120", minutes=None)).when


# --- equipment ---


def event(kind: DeviceEventKind) -> DeviceEvent:
    return DeviceEvent(event_id=UUID(int=1), device=CUFF, kind=kind, at=NOW)


def test_what_is_a_sign_of_trouble_and_what_is_not() -> None:
    low = sign_of_event(event(DeviceEventKind.BATTERY_LOW))
    assert low is not None
    assert (low.kind, low.name) == (SignKind.BATTERY_LOW, "Example BP-1")
    assert sign_of_event(event(DeviceEventKind.PAIRED)) is None
    right = sign_of_clock(blood_pressure("120"))
    assert right is not None
    assert right.kind is SignKind.CLOCK_RIGHT
    assert sign_of_clock(blood_pressure("120", minutes=None)) is None
    old = blood_pressure("120", remarks=(Remark.STORED_RECORD, Remark.CLOCK_AHEAD))
    assert sign_of_clock(old) is None
    assert concerns_equipment(event(DeviceEventKind.MEMORY_FULL))
    assert not concerns_equipment(event(DeviceEventKind.PAIRED))
    assert concerns_equipment(blood_pressure("120", remarks=(Remark.CLOCK_UNSET,)))
    assert not concerns_equipment(blood_pressure("120"))
    assert not concerns_equipment("of tomorrow")


def test_equipment_has_parameters_too_and_can_be_left_alone() -> None:
    (technical,) = programme(TECHNICAL).technical
    heard = [Sign(UUID(int=1), SignKind.HEARD, NOW)]
    day = Settings((own_setting("TECHNICAL", "silent_after_hours", 24),), subject="gateway:gw-1")
    over = NOW + dt.timedelta(hours=24)
    assert technical.wakes(heard, day, NOW) == over
    (found,) = technical.findings(heard, day, over)
    assert (dict(found.reason)["hours"], found.queue.value) == ("24", "installer")
    assert technical.findings(heard, Settings(), over) == frozenset()
    off = Settings((own_setting("TECHNICAL", "enabled", value=False),))
    assert technical.findings(heard, off, NOW + dt.timedelta(days=9)) == frozenset()
    assert technical.wakes(heard, off, NOW) is None
    assert technical.reach(off) == dt.timedelta()
    assert silent_from(NOW) == NOW + dt.timedelta(hours=72)


@pytest.mark.parametrize("kind", [SignKind.BATTERY_LOW, SignKind.MEMORY_FULL])
def test_a_low_battery_is_told_once_a_month_and_of_each_device(kind: SignKind) -> None:
    (technical,) = programme(TECHNICAL).technical
    times = [(0, "a"), (30, "a"), (61, "a"), (0, "b")]
    signs = [
        Sign(UUID(int=n), kind, NOW + dt.timedelta(days=day), device) for n, (day, device) in enumerate(times)
    ]
    found = technical.findings(signs, Settings(subject="gateway:g"), NOW)
    assert sorted(len(f.evidence) for f in found) == [1, 1, 2]


def test_a_step_that_is_not_allowed_raises() -> None:
    with pytest.raises(Rejected, match="cannot be moved so"):
        after(AlertState.WITHDRAWN, Move.REOPEN, Actor.PERSON)
