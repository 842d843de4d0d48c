"""BP-SEVERE and BP-CONSECUTIVE: what opens, confirms, downgrades and never triggers."""

import datetime as dt
from dataclasses import replace
from uuid import UUID

import pytest

from cloud_bridge.fold import fold
from cloud_bridge.rules.base import Finding, Reading, Settings, Severity, Standing
from cloud_bridge.rules.programme import say
from wire_format.measurement import Failure, Instant, Remark
from wire_format.nomenclature import Unit
from wire_format.statements import Assignment, Redating

from bridge_readings import BOOT, NOW, blood_pressure, reading
from story_kit import own_setting, rule

LATER = NOW + dt.timedelta(days=2)


def severe(*readings: Reading) -> list[Finding]:
    found = rule("BP-SEVERE").findings(readings, Settings(), NOW)
    return sorted(found, key=lambda f: f.since)


def consecutive(
    *readings: Reading, settings: Settings | None = None, now: dt.datetime = LATER
) -> list[Finding]:
    found = rule("BP-CONSECUTIVE").findings(readings, settings or Settings(), now)
    return sorted(found, key=lambda f: f.since)


@pytest.mark.parametrize(
    ("systolic", "diastolic", "unit", "fires"),
    [
        ("180", "120", Unit.MMHG, False),
        ("181", "80", Unit.MMHG, True),
        ("150", "121", Unit.MMHG, True),
        ("24.0", "16.0", Unit.KPA, False),
        ("24.1", "10.0", Unit.KPA, True),
    ],
)
def test_the_limit_is_compared_in_the_devices_unit(
    systolic: str, diastolic: str, unit: Unit, fires: bool
) -> None:
    assert bool(severe(reading(systolic, diastolic, unit=unit))) == fires


def test_one_severe_reading_is_unconfirmed_a_second_in_time_confirms_it() -> None:
    first, second = reading("192", "124"), reading("188", "118", minutes=10)
    (alone,) = severe(first)
    assert (alone.standing, alone.severity, alone.subject) == (
        Standing.UNCONFIRMED,
        Severity.SEVERE,
        "patient-1",
    )
    (both,) = severe(first, second)
    assert both.standing is Standing.CONFIRMED
    assert both.evidence == (first.id, second.id)
    assert both.statements == first.statements + second.statements
    assert both.finding_id == alone.finding_id


def test_a_second_severe_reading_later_is_another_episode() -> None:
    found = severe(reading("192"), reading("190", minutes=11))
    assert [f.standing for f in found] == [Standing.UNCONFIRMED, Standing.UNCONFIRMED]


def test_a_normal_reading_downgrades_it() -> None:
    (found,) = severe(reading("192"), reading("150", minutes=3))
    assert (found.standing, found.severity) == (Standing.DOWNGRADED, Severity.ROUTINE)


def test_an_unknown_time_fires_and_confirms_nothing() -> None:
    found = rule("BP-SEVERE").findings(
        [reading("192", minutes=None), reading("191", minutes=None)], Settings(), NOW
    )
    assert [f.standing for f in found] == [Standing.UNCONFIRMED] * 2


def test_an_unassigned_severe_reading_asks_who_it_was() -> None:
    (found,) = severe(reading("192", patient=None))
    assert found.subject == "home:gw-1"
    assert dict(found.reason)["text"] == "unassigned"


@pytest.mark.parametrize(
    "refused",
    [
        reading("192", failure=Failure.NO_RESULT),
        reading("192", remarks=(Remark.IMPLAUSIBLE,)),
        reading("192", "193", remarks=(Remark.DIASTOLIC_NOT_BELOW_SYSTOLIC,)),
        replace(reading("192"), repetition_of=UUID(int=1)),
    ],
)
def test_what_cannot_be_stood_on_triggers_nothing(refused: Reading) -> None:
    assert severe(refused) == []


def days(*values: str, step: int = 720) -> list[Reading]:
    """Sessions of two readings, half a day apart."""
    return [
        reading(value, minutes=index * step + extra) for index, value in enumerate(values) for extra in (0, 1)
    ]


def test_three_sessions_in_a_row_above_the_target() -> None:
    assert consecutive(*days("140", "150")) == []
    readings = days("140", "150", "135")
    (found,) = consecutive(*readings)
    assert found.evidence == tuple(r.id for r in readings)
    assert (found.severity, dict(found.reason)["count"]) == (Severity.HIGH, "3")
    (longer,) = consecutive(*days("140", "150", "135", "136"))
    assert longer.finding_id == found.finding_id
    assert consecutive(*days("140", "120", "150", "151")) == []


def test_the_mean_of_a_session_decides_unrounded() -> None:
    pair = [reading("134", minutes=0), reading("135", minutes=1)]
    assert consecutive(*pair, *days("140", "140", step=1440)[2:], reading("140", minutes=4000)) == []


def test_a_single_reading_counts_when_its_session_is_over() -> None:
    readings = [*days("140", "140"), reading("141", minutes=1440)]
    over = NOW + dt.timedelta(minutes=1450)
    assert consecutive(*readings, now=over - dt.timedelta(seconds=1)) == []
    assert len(consecutive(*readings, now=over)) == 1
    before = over - dt.timedelta(seconds=1)
    assert rule("BP-CONSECUTIVE").wakes(readings, Settings(), before) == over
    assert rule("BP-CONSECUTIVE").wakes(readings, Settings(), over) is None
    assert rule("BP-CONSECUTIVE").wakes(days("140"), Settings(), before) is None
    assert rule("BP-CONSECUTIVE").wakes([], Settings(), before) is None


def test_a_patients_own_target_replaces_the_default() -> None:
    limit = own_setting("BP-CONSECUTIVE", "systolic", {"mmhg": "160", "kpa": "21.3"})
    two = own_setting("BP-CONSECUTIVE", "sessions", 2)
    own = Settings(own=(limit, two))
    assert consecutive(*days("150", "150", "150"), settings=own) == []
    (found,) = consecutive(*days("161", "161"), settings=own)
    assert {limit.statement_id, two.statement_id} <= set(found.statements)
    back = own_setting("BP-CONSECUTIVE", "systolic", None, minutes=1)
    assert len(consecutive(*days("150", "150"), settings=Settings(own=(back, limit, two)))) == 1


@pytest.mark.parametrize("second", ["120", "195"])
def test_another_reading_of_somebody_unknown_neither_confirms_nor_calms(second: str) -> None:
    first = reading("192", "124", patient=None)
    (found,) = severe(first, reading(second, "80", patient=None, minutes=3))
    assert (found.standing, found.severity) == (Standing.UNCONFIRMED, Severity.SEVERE)
    assert len(found.evidence) == (2 if second == "195" else 1)


def test_unassigned_readings_make_no_sequence() -> None:
    assert consecutive(*(replace(r, patient=None) for r in days("150", "150", "150"))) == []


def test_a_language_that_is_not_there_is_said_in_english() -> None:
    (found,) = consecutive(*days("140", "150", "135"))
    assert say(found, "xx", "reason").startswith("3 sessions")


def nobody_known(_: str) -> None:
    return None


def assignment(person: str | None, minute: int, number: int = 1) -> Assignment:
    return Assignment(
        statement_id=UUID(int=number),
        measurement_id=blood_pressure("120").measurement_id,
        person=person,
        author="gw-1",
        stated_at=NOW + dt.timedelta(minutes=minute),
        reason="test",
    )


def test_the_latest_assignment_holds_in_any_order() -> None:
    m, known = blood_pressure("120"), {"p-1": "patient-1", "p-2": "patient-2"}.get
    said = [assignment("p-1", 0, 1), assignment("p-2", 5, 2)]
    for order in (said, said[::-1]):
        folded = fold(m, order, (), known)
        assert (folded.patient, folded.statements) == ("patient-2", (UUID(int=2),))
    assert fold(m, (), (), known).patient is None
    assert fold(m, [assignment(None, 9, 3), *said], (), known).patient is None


def test_a_redating_moves_one_measurement_or_a_boot_that_knew_no_time() -> None:
    m = blood_pressure("120", minutes=None)
    moment = Instant(utc=NOW, uncertainty_ms=20)
    common = {"moment": moment, "author": "x", "stated_at": NOW, "reason": "ntp"}
    one = Redating.model_validate({"statement_id": UUID(int=1), "measurement_id": m.measurement_id} | common)
    boot = Redating.model_validate(
        {"statement_id": UUID(int=2), "boot_id": BOOT, "monotonic_ns": 10**12 - 60 * 10**9} | common
    )
    assert fold(m, (), [one], nobody_known).measured == moment
    assert fold(m, (), [boot], nobody_known).measured is None  # nobody says that it was sent at once
    unknowing = m.time.model_copy(update={"received_uncertainty_ms": None, "push_delay_ms": 5000})
    pushed = m.model_copy(update={"time": unknowing})
    expected = Instant(utc=NOW + dt.timedelta(minutes=1), uncertainty_ms=5020)
    assert fold(pushed, (), [boot], nobody_known).measured == expected
    assert fold(pushed, (), [boot, one], nobody_known).measured == moment
