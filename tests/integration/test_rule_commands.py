"""What an administrator and an installer can do and see of rules, and how older databases come along."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from cloud_bridge.access.consent import Consent
from cloud_bridge.access.model import Action, DataType
from cloud_bridge.alerts import Act, Actor, AlertState, Move, Outcome
from cloud_bridge.app import open_store
from cloud_bridge.cli import app
from cloud_bridge.config import load
from cloud_bridge.enrolment import enrol
from cloud_bridge.ingest import Ingest
from cloud_bridge.orders import reason_line
from cloud_bridge.rehearsal.histories import read_history
from cloud_bridge.rehearsal.run import Pace, proposed, rehearse
from cloud_bridge.rule_yield import yield_by_rule
from cloud_bridge.store import engine as store_engine
from cloud_bridge.store.base import Raised
from cloud_bridge.store.engine import open_engine
from cloud_bridge.store.sql import SqlStore
from service_kit.key_files import write_private, write_public
from tests.doubles.bridge_desk import assigned, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import CUFF, blood_pressure, glucose
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.errors import Misconfigured, Rejected
from wire_format.measurement import GlucoseContext, Meal, Measurement, Remark
from wire_format.nomenclature import Quantity
from wire_format.statements import DeviceEvent, DeviceEventKind

CONFIG = """
site = "ward"
state = "{folder}/state"
zone = "Asia/Shanghai"
[keys]
bridge = "{folder}/bridge.key"
[broker]
host = "127.0.0.1"
port = 1883
"""
HOME = """
[gateway]
name = "gw-1"
keys = "gateway.pub"
system_id = "dca632fffe010203"
[[person]]
pseudonym = "p-1"
patient = "patient-1"
identifier = { system = "https://h.example/p", value = "9" }
nurse = { system = "https://h.example/s", value = "n" }
physician = { system = "https://h.example/s", value = "d" }
organization = { system = "https://h.example/o", value = "w" }
"""
AGREED = """
programmes = ["diabetes", "hypertension"]
zone = "Europe/Berlin"
[[person.own]]
rule = "BP-LOW"
parameter = "systolic"
value = { mmhg = "100", kpa = "13.3" }
author = "physician-1"
reason = "falls"
"""


class Hospital:
    """A bridge's folder, its store, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_private(folder / "bridge.key", bridge_keys())
        write_public(folder / "gateway.pub", gateway_keys().public)
        self.config = folder / "bridge.toml"
        self.config.write_text(CONFIG.replace("{folder}", str(folder)))
        self.home = SealingHome()
        self.now = dt.datetime.now(dt.UTC).replace(microsecond=0)

    def store(self) -> SqlStore:
        return open_store(load(self.config), bridge_keys())

    def enrol(self, text: str) -> None:
        (self.folder / "home.toml").write_text(text)
        store = self.store()
        try:
            enrol(self.folder / "home.toml", "ward", store.registry, self.now)
        finally:
            store.close()

    def receive(self, *items: Any) -> None:
        store = self.store()
        ingest = Ingest(store.intake, store.registry, bridge_keys().by_id, lambda: self.now)
        for item in items:
            content = told(item) if isinstance(item, Measurement) else [item]
            store.intake.accept(self.home.topic, self.home.seal(content).data, self.now)
        ingest.drain()
        ingest.judge_again(store.intake.timers_due(self.now))
        store.close()

    def at(self, m: Measurement) -> Measurement:
        """A reading of now."""
        time = m.time.model_copy(
            update={
                "received_at": self.now,
                "measured": m.time.measured and m.time.measured.model_copy(update={"utc": self.now}),
            }
        )
        return m.model_copy(update={"time": time})

    def run(self, *arguments: str) -> Any:
        result = CliRunner().invoke(app, ["rules", *arguments, "--config", str(self.config)])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)


def test_an_enrolment_says_programmes_zone_and_own_parameters(hospital: Hospital) -> None:
    hospital.enrol(HOME + AGREED)
    store = hospital.store()
    settings = store.alerts.settings("patient-1")
    assert [m.programme for m in settings.programmes] == ["diabetes", "hypertension"]
    assert {m.since for m in settings.programmes} == {hospital.now}
    assert settings.zone == "Europe/Berlin"
    (own,) = settings.own
    assert (own.rule, own.parameter, own.author, own.reason) == ("BP-LOW", "systolic", "physician-1", "falls")
    store.close()
    hospital.enrol(HOME + AGREED)  # again: nothing new
    store = hospital.store()
    assert store.alerts.settings("patient-1") == settings
    store.close()
    hospital.enrol(HOME)  # what is not said any more was not taken back, but for the zone
    store = hospital.store()
    again = store.alerts.settings("patient-1")
    assert (again.programmes, again.own, again.zone) == (settings.programmes, settings.own, "Asia/Shanghai")
    store.close()


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ('"diabetes"', '"diabets"', "no programme 'diabets'"),
        ('"Europe/Berlin"', '"Berlin"', "IANA time zone"),
        ('"BP-LOW"', '"BP-LOWER"', "no rule BP-LOWER"),
        ('"systolic"', '"colour"', "no parameter colour"),
        ('kpa = "13.3"', 'kpa = "12.3"', "must mean the same"),
        ('kpa = "13.3"', 'psi = "2"', "BP-LOW, systolic"),
        ('"falls"', '""', "reason"),
    ],
)
def test_what_is_wrong_in_an_agreement_is_said_and_nothing_is_changed(
    hospital: Hospital, wrong: str, right: str, says: str
) -> None:
    with pytest.raises(Misconfigured, match=says):
        hospital.enrol(HOME + AGREED.replace(wrong, right))
    store = hospital.store()
    assert store.alerts.settings("patient-1").programmes == ()
    assert store.alerts.known_as("patient-1") is None
    store.close()


def test_the_commands_agree_refuse_and_replay(hospital: Hospital) -> None:
    hospital.enrol(HOME)
    by = ("--author", "physician-1", "--reason", "agreed")
    assert hospital.run("join", "patient-1", "hypertension", "diabetes", *by)["programmes"] == [
        "hypertension",
        "diabetes",
    ]
    hospital.receive(
        hospital.at(blood_pressure("192", "124")),
        hospital.at(glucose("2.0", control=True)),
        hospital.at(glucose("90", remarks=(Remark.IMPLAUSIBLE,), minutes=1)),
        DeviceEvent(
            event_id=hospital.home.outbox_id, device=CUFF, kind=DeviceEventKind.BATTERY_LOW, at=hospital.now
        ),
    )
    refused = hospital.run("refused", "patient-1")
    assert sorted(r["reason"] for r in refused) == ["control_solution", "implausible"]
    assert not any("90" in json.dumps(r["reason"]) for r in refused)
    (equipment,) = hospital.run("equipment")
    assert (equipment["home"], equipment["what"]) == ("gw-1", "Example BP-1: battery low")
    assert hospital.run("equipment", "--language", "zh-Hans")[0]["what"] == "Example BP-1\uff1a电量不足"
    store = hospital.store()
    (alert,) = store.alerts.open_alerts()
    store.close()
    (replayed,) = hospital.run("replay", str(alert.alert_id))
    assert (replayed["rule"], replayed["same"], replayed["readings"]) == ("BP-SEVERE", True, 1)
    value = '{"mmhg": "200", "kpa": "26.7"}'
    assert hospital.run("agree", "patient-1", "BP-SEVERE", "systolic", value, *by)["changed"] is True
    assert hospital.run("agree", "patient-1", "BP-SEVERE", "systolic", value, *by)["changed"] is False
    hospital.receive()
    assert [r["same"] for r in hospital.run("replay", str(alert.alert_id))] == [True, True]
    for wrong, error in (("{", Misconfigured), ("7", Misconfigured)):
        with pytest.raises(error):
            hospital.run("agree", "patient-1", "BP-SEVERE", "systolic", wrong, *by)
    with pytest.raises(Rejected):
        hospital.run("agree", "patient-7", "BP-SEVERE", "systolic", value, *by)
    with pytest.raises(Misconfigured):
        hospital.run("join", "patient-1", "colours", *by)


def test_each_rule_shows_its_yield(hospital: Hospital) -> None:
    hospital.enrol(HOME)
    ends = [Outcome.CALLED, Outcome.ADMITTED, Outcome.FALSE_ALARM, None, "withdrawn", "open"]
    for n, end in enumerate(ends):
        hospital.now += dt.timedelta(days=4)
        m = hospital.at(blood_pressure("192", "124", minutes=n * 4 * 24 * 60))
        hospital.receive(m)
        if end == "withdrawn":
            hospital.receive(assigned(m, None, later=n * 4 * 24 * 3600))
        elif end != "open":
            store = hospital.store()
            (alert,) = [a for a in store.alerts.open_alerts() if a.finding.rule == "BP-SEVERE"]
            actor = Actor.PERSON if end else Actor.HOSPITAL
            assert store.alerts.move(alert.alert_id, Act(Move.RESOLVE, actor, hospital.now, "n", end)).held
            store.close()
    (severe,) = [row for row in hospital.run("yield") if row["rule"] == "BP-SEVERE"]
    assert severe == {
        "programme": "hypertension",
        "rule": "BP-SEVERE",
        "fired": 7,  # one asks whose the reading was that is nobody's now
        "acted_on": 2,
        "false_alarms": 1,
        "outcome_not_told": 1,
        "withdrawn": 1,
        "open": 2,
        "yield": 0.29,
    }


def test_a_rule_whose_episode_was_told_by_anothers_item_has_its_yield(hospital: Hospital) -> None:
    """One telephone call about a low and a very low sugar was worth it for both rules, and once each."""
    hospital.enrol(HOME)
    by = ("--author", "physician-1", "--reason", "agreed")
    hospital.run("join", "patient-1", "diabetes", *by)
    for hours, value in ((0, "3.5"), (30, "2.6"), (4, "2.7")):
        hospital.now += dt.timedelta(hours=hours)
        hospital.receive(hospital.at(glucose(value, minutes=hours)))
    store = hospital.store()
    (item,) = [a for a in store.alerts.open_alerts() if a.finding.rule == "GLU-LOW-1"]
    act = Act(Move.RESOLVE, Actor.PERSON, hospital.now, "n", Outcome.CALLED)
    assert store.alerts.move(item.alert_id, act).held
    store.close()
    rows = {row["rule"]: row for row in hospital.run("yield") if row["rule"].startswith("GLU-LOW")}
    assert {rule: (row["fired"], row["acted_on"], row["yield"]) for rule, row in rows.items()} == {
        "GLU-LOW-1": (1, 1, 1.0),
        "GLU-LOW-2": (1, 1, 1.0),
    }


def test_a_replay_says_which_consents_held(hospital: Hospital) -> None:
    hospital.enrol(HOME)
    hospital.receive(hospital.at(blood_pressure("192", "124")))
    store = hospital.store()
    (alert,) = store.alerts.open_alerts()
    judged, hour = store.judgements.of_alert(alert.alert_id)[0].judged_at, dt.timedelta(hours=1)

    def given(number: int, since: dt.timedelta, **more: Any) -> None:
        to, at = f"organization:o{number}", judged + since
        one = Consent(UUID(int=number), "patient-1", to, DataType.ALERTS, "v1", at, None, "p", at)
        store.access.take_consents([(replace(one, **more), False)], judged + 2 * hour)

    given(1, -hour)
    given(2, hour)
    given(3, -hour, withdrawn_at=judged + hour, withdrawn_by="p")
    given(4, -2 * hour, withdrawn_at=judged - hour, withdrawn_by="p")
    given(5, -2 * hour, given_at=judged + hour)
    store.close()
    (replayed,) = hospital.run("replay", str(alert.alert_id))
    assert [(c["to"], c["data"], c["text_version"]) for c in replayed["consents"]] == [
        ("organization:o1", "alerts", "v1"),
        ("organization:o3", "alerts", "v1"),
    ]


def test_the_least_useful_rule_comes_first_and_what_is_undecided_last() -> None:
    def raised(rule: str, outcome: Outcome | None, *, ended: bool = True) -> Raised:
        return Raised("p", rule, AlertState.RESOLVED, ended, outcome)

    rows = yield_by_rule(
        [
            raised("A", Outcome.RE_MEASURED),
            raised("B", Outcome.FALSE_ALARM),
            raised("B", Outcome.MEDICATION_CHANGED),
            raised("C", None),
            raised("D", Outcome.FALSE_ALARM),
        ]
    )
    assert [(row["rule"], row["yield"]) for row in rows] == [("D", 0), ("B", 0.5), ("A", 1), ("C", None)]
    assert yield_by_rule([]) == []


def test_what_is_stored_can_be_rehearsed(hospital: Hospital, tmp_path: Path) -> None:
    """The alert of the record is raised again from the file, which names nobody; who took it is on record."""
    hospital.enrol(HOME)
    hospital.receive(
        hospital.at(blood_pressure("192", "124")),
        hospital.at(glucose("7.4", meal=Meal.FASTING, minutes=1)),
        hospital.at(glucose("90", remarks=(Remark.IMPLAUSIBLE,), minutes=2)),
    )
    by = ("--author", "admin-1", "--reason", "new target")
    words = ["rules", "history", *by, "--config", str(hospital.config)]
    printed = CliRunner().invoke(app, words)
    assert printed.exception is None
    assert "p-1" not in printed.stdout.split()
    file = tmp_path / "ward.jsonl"
    file.write_text(printed.stdout)
    (one,) = [found for found in read_history(file) if found.readings]
    assert (one.patient, one.stratum) == ("patient-1", "hypertension")
    found = [r.rule for r in rehearse(one, ["hypertension"], "UTC", proposed([]), Pace.SESSION)]
    assert found == ["BP-SEVERE"]
    assert [r.measurement.context for r in one.readings if r.measurement.quantity is Quantity.GLUCOSE] == [
        GlucoseContext(meal=Meal.FASTING)
    ]
    store = hospital.store()
    read = [(e.account, e.patient, e.data, e.allowed) for e, _ in store.access.entries(action=Action.READ)]
    store.close()
    assert read == [
        ("admin-1", "patient-1", DataType.BLOOD_PRESSURE, True),
        ("admin-1", "patient-1", DataType.GLUCOSE, True),
    ]


def test_an_installer_closes_their_item(hospital: Hospital) -> None:
    hospital.enrol(HOME)
    kind = DeviceEventKind.BATTERY_LOW
    hospital.receive(DeviceEvent(event_id=UUID(int=9), device=CUFF, kind=kind, at=hospital.now))
    (item,) = hospital.run("equipment")
    by = ("--author", "installer-1", "--note", "new battery")
    closed = {"alert": item["alert"], "held": True, "state": "resolved", "by": "installer-1"}
    assert hospital.run("repaired", item["alert"], *by) == closed
    assert hospital.run("repaired", item["alert"], *by, "--false-alarm") == {**closed, "held": False}
    assert hospital.run("equipment") == []
    assert hospital.run("yield") == []  # equipment is no rule about a patient
    with pytest.raises(Rejected, match="no such item"):
        hospital.run("repaired", str(UUID(int=3)), *by)


def test_alerts_of_an_older_database_are_said_as_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.sqlite"
    config = Config()
    config.set_main_option("script_location", str(Path(store_engine.__file__).parent / "migrations"))
    old = create_engine(url)
    said = {"diastolic": "124", "limit": "180/120", "systolic": "192", "text": "severe_confirmed"}
    row = {
        "id": "0" * 31 + "1", "rule": "BP-SEVERE", "version": "1", "subject": "patient-1", "gateway": "gw-1",
        "severity": "severe", "standing": "confirmed", "evidence": "[]", "statements": "[]",
        "reason": json.dumps({**said, "unit": "mmHg"}), "since": "2026-11-24 08:00:00", "state": "open",
        "revision": 1, "raised_at": "2026-11-24 08:00:00", "due_at": "2026-11-24 08:15:00",
    }  # fmt: skip
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for n, changed in enumerate(({}, {"state": "completed", "acknowledged_by": "nurse-1"}), start=1):
            entry = {"acknowledged_by": None, **row, "id": "0" * 31 + str(n), **changed}
            columns, values = ", ".join(entry), ", ".join(f":{name}" for name in entry)
            connection.execute(text(f"INSERT INTO alert ({columns}) VALUES ({values})"), entry)  # noqa: S608 - our own names
        connection.execute(text(
            "INSERT INTO alert_history (alert, at, what) VALUES "
            "('00000000000000000000000000000002', '2026-11-24 09:00:00', 'completed')"
        ))  # fmt: skip
    old.dispose()
    open_engine(url).dispose()
    store = SqlStore(url, lambda *_: b"", ())
    (alert,) = store.alerts.open_alerts()
    assert reason_line(alert, "en") == "Severe, confirmed by a second reading: 192/124 mmHg (limit 180/120)"
    assert (alert.late, alert.finding.programme, alert.finding.came_true) == (False, "hypertension", None)
    # What is open is watched from now on; what was finished is resolved, nobody knows how.
    assert store.intake.timers_due(alert.due_at) == [f"due:{alert.alert_id.hex}"]
    done = store.alerts.alert(UUID(int=2))
    assert done is not None
    assert (done.state, done.outcome) == (AlertState.RESOLVED, None)
    assert [e.what for e in store.alerts.events(UUID(int=2))] == ["resolved"]
    store.close()
