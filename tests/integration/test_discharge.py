"""A discharge plan in the store: taken whole, once, replaced by a later version, each step on record."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.access.model import Action
from cloud_bridge.connectors.base import Identifier
from cloud_bridge.discharge.hl7_fields import Fields, parse
from cloud_bridge.discharge.hl7_plan import header_of, plan_of
from cloud_bridge.discharge.plan import DischargePlan, PlanRefusedError
from cloud_bridge.discharge.terms import Defaults
from cloud_bridge.store import rows
from cloud_bridge.store.base import Stated
from cloud_bridge.store.discharges import Became
from cloud_bridge.store.engine import reading
from tests.doubles.bridge_desk import BridgeDesk, care
from tests.doubles.bridge_home import GATEWAY
from tests.doubles.command_line import cloud_bridge
from tests.doubles.discharge_desk import HOUR, after_discharge, take, write_config
from tests.doubles.discharge_messages import a03
from tests.doubles.discharge_plans import BASE, MADE, TERMS, below, bundle, goal, plan, text
from wire_format.errors import Rejected

PATIENT = Identifier(f"{BASE}/patient", "42")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    yield from after_discharge(tmp_path)


def own(desk: BridgeDesk, patient: str) -> dict[tuple[str, str], Any]:
    settings = desk.store.alerts.settings(patient)
    held = [s for rule in {x.rule for x in settings.own} for s in settings.of_rule(rule).values()]
    return {(s.rule, s.parameter): json.loads(s.value) for s in held if s.value != "null"}


def programmes(desk: BridgeDesk, patient: str) -> list[str]:
    return [one.programme for one in desk.store.alerts.settings(patient).programmes]


def test_a_plan_enrols_a_patient_whom_nobody_knew(desk: BridgeDesk) -> None:
    done = take(desk, plan())
    assert done.became is Became.NEW
    patient = done.patient
    assert patient is not None
    assert desk.store.access.patient_known_as(PATIENT.system, PATIENT.value) == patient
    assert programmes(desk, patient) == ["hypertension"]
    assert own(desk, patient)["BP-HOME", "systolic"] == {"kpa": "17.3", "mmhg": "130"}
    with reading(desk.store.engine) as connection:
        settings = rows.settings(connection, patient, "UTC")
        (row,) = [row for row in desk.table("patient") if row["id"] == patient]
    assert {(s.author, s.reason) for s in settings.own} == {
        ("physician-1", "Systolic below 130"),
        ("physician-1", "Diastolic below 80"),
    }
    (visit,) = settings.visits
    assert visit.due_at - visit.asked_at == 72 * HOUR
    assert (row["nurse_value"], row["physician_value"], row["organization_value"]) == (
        "nurse-1",
        "physician-1",
        "ward-1",
    )
    assert (row["family_doctor_value"], row["language"]) == ("doctor-7", "zh-Hans")
    # Each step is on record, and the record is whole; nothing in it is a value.
    entries = [entry for entry, _ in desk.store.access.entries(action=Action.TAKE_PLAN)]
    assert tuple(entry.reason for entry in entries) == done.steps
    assert {(e.account, e.role, e.patient) for e in entries} == {("test", "source", patient)}
    assert len(done.steps) == 1 + 1 + 1 + 6 + 1
    assert desk.store.access.broken_at() is None
    assert "130" not in " ".join(done.steps)


def test_the_same_plan_again_changes_nothing(desk: BridgeDesk) -> None:
    take(desk, plan())
    before = desk.everything()
    for _ in range(2):
        again = take(desk, plan())
        assert (again.became, again.steps) == (Became.UNCHANGED, ())
    assert desk.everything() == before
    # Said again later it is still the same; what was said in between is older now.
    assert take(desk, plan(at=MADE + HOUR)).became is Became.UNCHANGED
    assert take(desk, changed(at=MADE + HOUR / 2)).became is Became.OLDER
    assert own(desk, str(again.patient))["BP-HOME", "systolic"]["mmhg"] == "130"


def a03_read(made: dt.datetime, *changes: tuple[str, str]) -> DischargePlan:
    fields = parse(a03(made=made, changes=changes))
    assert isinstance(fields, Fields)
    return plan_of(fields, header_of(fields, TERMS, "P"), TERMS, MADE + HOUR)


def test_a_message_that_says_nothing_of_goals_does_not_make_a_bundle_old(desk: BridgeDesk) -> None:
    doctor = ("PP|doctor-7", "PP|doctor-8")
    first = take(desk, a03_read(MADE + HOUR / 4, doctor))
    assert own(desk, str(first.patient)) == {}
    # The bundle was put together before: what it agrees is news, and who looks after them is not.
    done = take(desk, plan())
    assert done.became is Became.CHANGED
    assert len(own(desk, str(first.patient))) == 6
    assert [row["subject"] for row in desk.table("timer") if row["subject"].startswith("remind:")]
    (row,) = [row for row in desk.table("patient") if row["id"] == first.patient]
    assert row["family_doctor_value"] == "doctor-8"
    assert take(desk, plan()).became is Became.UNCHANGED
    # An A03 between two bundles raises no time that a bundle is compared with, said again or not.
    assert take(desk, a03_read(MADE + HOUR, doctor)).became is Became.UNCHANGED
    assert take(desk, changed(MADE + HOUR / 2)).became is Became.CHANGED
    assert take(desk, plan(at=MADE + HOUR / 3)).became is Became.OLDER
    assert take(desk, a03_read(MADE + HOUR / 2)).became is Became.OLDER
    with pytest.raises(PlanRefusedError, match="its time has not"):
        take(desk, plan(at=MADE + HOUR / 2))
    assert own(desk, str(first.patient))["BP-HOME", "systolic"]["mmhg"] == "140"


def changed(at: dt.datetime = MADE + HOUR / 2) -> DischargePlan:
    def change(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["systolic"]["target"] = goal("x", "8480-6", "x", **below("140"))["target"]
        del by_id["diastolic"], by_id["m2"]
        by_id["c"]["category"][0]["coding"][0]["code"] = "diabetes"
        by_id["c"]["category"].append(
            {"coding": [{"system": "urn:kiteline:programme", "code": "heart_failure"}]}
        )
        by_id["c"]["category"].append(
            {"coding": [{"system": "urn:kiteline:programme", "code": "hypertension"}]}
        )

    return plan(change, at)


def test_a_later_version_takes_the_place_of_the_one_before(desk: BridgeDesk) -> None:
    first = take(desk, plan())
    patient = str(first.patient)
    since = {m.programme: m.since for m in desk.store.alerts.settings(patient).programmes}
    desk.now += HOUR
    done = take(desk, changed())
    assert (done.became, done.plan_id, done.patient) == (Became.CHANGED, first.plan_id, patient)
    assert own(desk, patient) == {
        (rule, "systolic"): {"kpa": "18.7", "mmhg": "140"}
        for rule in ("BP-CONSECUTIVE", "BP-HOME", "BP-PROTOCOL")
    }
    held = desk.store.alerts.settings(patient).programmes
    assert {m.programme for m in held} == {"hypertension", "diabetes", "heart_failure"}
    # Since when a programme is expected does not begin anew.
    assert next(m.since for m in held if m.programme == "hypertension") == since["hypertension"]
    # The earlier version comes late: nothing goes back.
    assert take(desk, plan()).became is Became.OLDER
    assert own(desk, patient)["BP-HOME", "systolic"]["mmhg"] == "140"
    versions = desk.table("discharge_version")
    assert [row["revision"] for row in versions] == [1, 2]


def test_what_a_nurse_agreed_since_stays(desk: BridgeDesk) -> None:
    patient = str(take(desk, plan()).patient)
    desk.now += HOUR
    said = Stated("nurse-1", "agreed with the patient", desk.now)
    nurses = json.dumps({"kpa": "18.0", "mmhg": "135"})
    desk.store.registry.agree(patient, "BP-HOME", "systolic", nurses, said)
    desk.store.registry.agree(
        patient, "BP-HOME", "diastolic", json.dumps({"kpa": "11.3", "mmhg": "85"}), said
    )
    desk.store.registry.join(patient, [], said)
    desk.now += HOUR

    def other_words(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["m1"]["medicationCodeableConcept"]["text"] = "Amlodipine 10 mg"
        del by_id["diastolic"]

    assert take(desk, plan(other_words, MADE + HOUR)).became is Became.CHANGED
    # Of the goal that is as it was the nurse's word is the later one; so is it of the one that is gone.
    assert own(desk, patient)["BP-HOME", "systolic"]["mmhg"] == "135"
    assert own(desk, patient)["BP-HOME", "diastolic"]["mmhg"] == "85"
    assert ("BP-CONSECUTIVE", "diastolic") not in own(desk, patient)
    # So is the programme that somebody ended.
    assert programmes(desk, patient) == []


def test_a_changed_plan_of_the_same_time_is_refused(desk: BridgeDesk) -> None:
    take(desk, plan())
    before = desk.everything()
    with pytest.raises(
        PlanRefusedError, match=r"Bundle\.timestamp: the plan has changed and its time has not"
    ):
        take(desk, changed(at=MADE))
    assert desk.everything() == before


def test_one_stay_is_one_patients(desk: BridgeDesk) -> None:
    take(desk, plan())
    other = replace(plan(at=MADE + HOUR), patient=Identifier(f"{BASE}/patient", "43"))
    with pytest.raises(PlanRefusedError, match="for another patient"):
        take(desk, other)


def test_a_patient_who_is_here_keeps_their_team_and_their_programmes(desk: BridgeDesk) -> None:
    desk.store.registry.enrol_person(GATEWAY, "p-3", "patient-3", replace(care("1"), patient=PATIENT))
    desk.join("patient-3", "diabetes")
    since = desk.store.alerts.settings("patient-3").programmes[0].since
    desk.now += HOUR
    done = take(desk, plan())
    assert done.patient == "patient-3"
    held = desk.store.alerts.settings("patient-3").programmes
    assert [m.programme for m in held] == ["diabetes", "hypertension"]
    assert held[0].since == since
    (row,) = [row for row in desk.table("patient") if row["id"] == "patient-3"]
    assert (row["nurse_value"], row["language"], row["family_doctor_value"]) == ("1", "en", "doctor-7")
    # Enrolled again by a file that does not name the family doctor: the plan's word stays.
    desk.store.registry.enrol_person(GATEWAY, "p-3", "patient-3", replace(care("1"), patient=PATIENT))
    (row,) = [row for row in desk.table("patient") if row["id"] == "patient-3"]
    assert row["family_doctor_value"] == "doctor-7"


def test_a_home_is_enrolled_to_the_patient_whom_the_plan_made(desk: BridgeDesk) -> None:
    patient = str(take(desk, plan()).patient)
    mine = replace(care("1"), patient=PATIENT)
    with pytest.raises(Rejected, match=f'write patient = "{patient}"'):
        desk.store.registry.enrol_person(GATEWAY, "p-3", "somebody", mine)
    desk.store.registry.enrol_person(GATEWAY, "p-3", patient, mine)
    assert programmes(desk, patient) == ["hypertension"]


def test_a_plan_that_is_over_ends_what_it_began_and_nothing_else(desk: BridgeDesk) -> None:
    patient = str(take(desk, plan()).patient)
    desk.now += HOUR
    said = Stated("nurse-1", "agreed", desk.now)
    desk.store.registry.agree(patient, "PULSE", "high", '"120"', said)
    desk.store.registry.join(patient, ["hypertension", "diabetes"], said)
    over = take(desk, replace(plan(at=MADE + HOUR), over=True))
    assert over.became is Became.CHANGED
    assert own(desk, patient) == {("PULSE", "high"): "120"}
    assert programmes(desk, patient) == ["diabetes"]
    assert desk.store.alerts.settings(patient).visits == ()
    # It was revoked in error, and is said again.
    desk.now += HOUR
    assert take(desk, plan(at=MADE + 2 * HOUR)).became is Became.CHANGED
    assert set(programmes(desk, patient)) == {"diabetes", "hypertension"}
    assert len(desk.store.alerts.settings(patient).visits) == 1


def test_a_plan_that_was_over_before_it_came_keeps_an_earlier_version_out(desk: BridgeDesk) -> None:
    over = take(desk, replace(plan(at=MADE + HOUR), over=True))
    assert (over.became, over.patient) == (Became.NEW, None)
    assert take(desk, plan()).became is Became.OLDER
    assert desk.store.access.patient_known_as(PATIENT.system, PATIENT.value) is None


def test_nobody_is_added_without_a_nurse(desk: BridgeDesk) -> None:
    before = desk.everything()
    with pytest.raises(PlanRefusedError, match=r"write discharge\.nurse"):
        take(desk, plan(), Defaults())
    assert desk.everything() == before


def test_a_failure_on_the_way_leaves_nothing(desk: BridgeDesk) -> None:
    good = plan()
    assert good.care is not None
    bad = replace(good.care.own[-1], value='{"mmhg": "80", "kpa": "99"}')
    broken = replace(good, care=replace(good.care, own=(*good.care.own[:-1], bad)))
    before = desk.everything()
    with pytest.raises(PlanRefusedError, match="the two numbers of a limit must mean the same"):
        take(desk, broken)
    assert desk.everything() == before


def test_silence_of_a_patient_without_a_home_is_found_too(desk: BridgeDesk) -> None:
    patient = str(take(desk, plan()).patient)
    desk.wake(desk.now + dt.timedelta(days=2))
    (alert,) = desk.store.alerts.open_alerts()
    assert (alert.finding.rule, alert.finding.subject) == ("SILENCE", patient)
    order = desk.store.deliveries.load_alert_order(alert.alert_id)
    assert order is not None
    assert order.gateway is None
    assert desk.store.alerts.acknowledge(alert.alert_id, "nurse-1", desk.now)


# --- the command ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(
        tmp_path,
        f"""[discharge]
patient_system = "{BASE}/patient"
staff_system = "{BASE}/staff"
language = "zh-Hans"
nurse = {{ system = "{BASE}/staff", value = "nurse-1" }}
organization = {{ system = "{BASE}/organization", value = "ward-1" }}
[discharge.times]
BID = ["07:00", "19:00"]
""",
    )
    return tmp_path


@dataclass(frozen=True)
class Command:
    """`cloud-bridge discharge` as it is run, with what it printed."""

    folder: Path

    def __call__(self, document: dict[str, Any] | str) -> tuple[int, str, str]:
        file = self.folder / "plan.json"
        file.write_text(document if isinstance(document, str) else text(document))
        done = cloud_bridge("discharge", str(file), "--config", str(self.folder / "bridge.toml"))
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def command(folder: Path) -> Command:
    return Command(folder)


def test_the_command_takes_a_file_once_and_says_what_it_did(command: Command) -> None:
    code, out, err = command(bundle())
    assert code == 0, err
    said = json.loads(out)
    assert said["became"] == "new"
    assert "programme hypertension joined" in said["steps"]
    assert said["remarks"] == ["MedicationRequest/m3: no reminder: it is taken as needed"]
    again = json.loads(command(bundle())[1])
    assert (again["became"], again["steps"], again["patient"]) == ("unchanged", [], said["patient"])


def test_the_command_says_what_to_correct(command: Command, folder: Path) -> None:
    def odd(by_id: dict[str, dict[str, Any]]) -> None:
        by_id["systolic"]["target"][0]["detailQuantity"]["code"] = "mmHg"

    code, out, err = command(bundle(odd))
    assert (code, out) == (1, "")
    assert "Goal/systolic.target[0].detailQuantity: write the unit as system" in err
    assert "130" not in err
    (folder / "bridge.toml").write_text(
        (folder / "bridge.toml").read_text().split("[discharge]", maxsplit=1)[0]
    )
    code, _, err = command(bundle())
    assert (code, "write [discharge]" in err) == (2, True)


def test_a_file_that_is_no_json_is_said(command: Command) -> None:
    code, _, err = command("no plan")
    assert (code, "cannot be read as JSON" in err) == (2, True)
