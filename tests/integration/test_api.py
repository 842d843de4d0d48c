"""The interface for programs over a real store: pages, tags, acts and errors."""

import datetime as dt
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import select, text

from cloud_bridge.access.model import DataType, Role
from cloud_bridge.alerts import AlertState, Outcome
from cloud_bridge.api.v1.alerts import AT_ONCE
from cloud_bridge.api.v1.problem import OTHERWISE, SAID, WRONG
from cloud_bridge.console.language import language
from cloud_bridge.store import schema
from tests.doubles.api_caller import API, NURSE, caller, calling
from tests.doubles.bridge_desk import told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure, glucose
from tests.doubles.page_visitor import fill_other_programmes

PROBLEM = "application/problem+json"
BP, ALERTS = DataType.BLOOD_PRESSURE, DataType.ALERTS


# --- reading ---


async def test_alerts_come_in_pages_of_one_order(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        fill_other_programmes(asks.one.desk)
        whole = (await asks.get("/alerts")).json()
        assert whole["next"] is None
        ids = [a["alert_id"] for a in whole["items"]]
        assert len(ids) >= 5
        by_pages = await asks.items("/alerts", limit=2)
        assert [a["alert_id"] for a in by_pages] == ids
        assert [a["raised_at"] for a in by_pages] == sorted((a["raised_at"] for a in by_pages), reverse=True)
        first = await asks.get("/alerts", limit=2)
        desk, home = asks.one.desk, SealingHome()
        desk.now += dt.timedelta(minutes=30)
        desk.receive(
            home, home.seal(told(glucose("2.1", minutes=400), "p-2"))
        )  # what comes meanwhile shifts nothing
        rest = await asks.get("/alerts", limit=2, cursor=first.json()["next"])
        assert [a["alert_id"] for a in rest.json()["items"]] == ids[2:4]
        assert (await asks.get("/alerts", limit=201)).status_code == 422


async def test_a_page_is_full_however_many_others_lie_between(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        before = [a["alert_id"] for a in await asks.items("/alerts")]
        table = schema.alert
        with asks.one.desk.store.engine.begin() as connection:
            like = dict(connection.execute(select(table).limit(1)).one()._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a dict
            for n in range(2 * AT_ONCE + 1):
                later = like["raised_at"] + dt.timedelta(seconds=n)
                other = {**like, "id": uuid4(), "subject": f"stranger-{n % 3}", "raised_at": later}
                connection.execute(table.insert().values(**other))
        whole = (await asks.get("/alerts", limit=len(before))).json()
        assert ([a["alert_id"] for a in whole["items"]], whole["next"]) == (before, None)
        assert [a["alert_id"] for a in await asks.items("/alerts", limit=1)] == before


async def test_alerts_are_found_by_what_they_are(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        fill_other_programmes(asks.one.desk)
        everything = await asks.items("/alerts")
        for query, matches in (
            ({"severity": "severe"}, lambda a: a["severity"] == "severe"),
            ({"patient": "patient-2"}, lambda a: a["patient"] == "patient-2"),
            ({"role": "nurse"}, lambda a: a["asked"] == "nurse"),
            ({"role": "physician"}, lambda a: a["asked"] == "physician"),
            ({"state": "resolved"}, lambda _: False),
        ):
            found = await asks.items("/alerts", **query)
            assert [a["alert_id"] for a in found] == [a["alert_id"] for a in everything if matches(a)], query
        one = everything[0]
        await asks.post(f"/alerts/{one['alert_id']}/escalate", headers={"if-match": one["tag"]})
        found = await asks.items("/alerts", role="physician")
        assert [a["alert_id"] for a in found] == [one["alert_id"]]
        both = await asks.items("/alerts", state=["open", "resolved"], severity=["high", "severe"])
        assert len(both) == len([a for a in everything if a["severity"] != "routine"])


async def test_one_alert_has_its_history_and_its_evidence_exactly(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        found = await asks.alert("patient-1")
        assert [h["what"] for h in found["history"]] == ["raised", "confirmed"]
        assert found["evidence_withheld"] == 0
        values = [[(v["term"], v["value"], v["unit"]) for v in r["values"]] for r in found["evidence"]]
        assert values[0] == [
            ("systolic", "192", "mm[Hg]"),
            ("diastolic", "124", "mm[Hg]"),
            ("pulse_rate", "72", "/min"),
        ]
        assert found["evidence"][0]["measured"] == {"utc": "2026-11-24T08:10:00Z", "uncertainty_ms": 1000}
        assert "192/124" in found["why"]
        home = await asks.alert(None)
        assert (home["home"], home["patient"], len(home["evidence"])) == ("gw-1", None, 1)


async def test_repeats_of_one_problem_are_one_alert_whatever_its_first_episode_was(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        desk, home = asks.one.desk, SealingHome(outbox=2)
        desk.now += dt.timedelta(hours=20)
        desk.receive(home, home.seal(told(blood_pressure("204", "128", minutes=20 * 60), "p-1")))
        (one,) = [a for a in await asks.items("/alerts", severity="severe") if a["patient"] == "patient-1"]
        assert (one["episodes"], one["folded_into"]) == (2, None)
        assert "204/128" in one["why"]
        whole = await asks.alert("patient-1")
        assert [r["values"][0]["value"] for r in whole["evidence"]] == ["192", "188", "204"]
        (folded,) = await asks.items("/alerts", state="folded")
        assert (folded["folded_into"], folded["state"], folded["may"]) == (one["alert_id"], "folded", [])
        with desk.store.engine.begin() as connection:
            table = schema.alert
            is_item = table.c.id == UUID(one["alert_id"])
            connection.execute(table.update().where(is_item).values(severity="high"))
        again = await asks.items("/alerts", severity="severe")
        assert one["alert_id"] in [a["alert_id"] for a in again]  # the episode that is folded in is severe
        assert one["alert_id"] not in [a["alert_id"] for a in await asks.items("/alerts", severity="high")]


async def test_what_is_not_consented_is_withheld_and_said_to_be(tmp_path: Path) -> None:
    async with caller(tmp_path, ALERTS) as asks:
        found = await asks.alert("patient-1")
        assert (found["why"], found["why_withheld"]) == (None, {"reason": "no_consent"})
        assert (found["evidence"], found["evidence_withheld"]) == ([], 2)
        listed = next(a for a in await asks.items("/alerts") if a["patient"] == "patient-1")
        assert listed["why"] is None
        assert "192" not in (await asks.get("/alerts")).text
        assert (await asks.get("/patients/patient-1/readings")).status_code == 403


async def test_readings_are_exact_paged_and_of_the_period(tmp_path: Path) -> None:
    async with caller(tmp_path, BP, DataType.GLUCOSE) as asks:
        fill_other_programmes(asks.one.desk)
        path = "/patients/patient-1/readings"
        whole = (await asks.get(path, limit=200)).json()
        assert (whole["next"], whole["withheld"]) == (None, ["body", "temperature", "oximetry"])
        ids = [r["reading_id"] for r in whole["items"]]
        assert len(ids) == 4 + 4
        assert [r["reading_id"] for r in await asks.items(path, limit=7)] == ids
        assert whole["items"][-1]["measured"] is None  # nobody knows when: the last, and said to be unknown
        assert whole["items"][-1]["clock"] == "none"
        kpa = next(r for r in whole["items"] if r["values"][0]["unit"] == "kPa")
        assert [v["value"] for v in kpa["values"]][:2] == ["17.6", "10.9"]
        sweet = (await asks.get(path, quantity="glucose")).json()["items"]
        assert {r["quantity"] for r in sweet} == {"glucose"}
        low = next(r for r in sweet if r["values"][0]["value"] is None)
        assert low["values"] == [{"term": "glucose", "value": None, "unit": "mg/dL", "absent": "below_range"}]
        assert {r["not_used"] for r in sweet} >= {"control_solution", "implausible"}
        period = {"since": "2026-11-24T16:10:00+08:00", "until": "2026-11-24T08:14:00Z"}
        found = (await asks.get(path, quantity="blood_pressure", **period)).json()["items"]
        assert [r["values"][0]["value"] for r in found] == ["192"]
        for year in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"):
            assert (
                await asks.one.http.get(f"{API}{path}?since={year}", headers=asks.headers(None))
            ).status_code == 200


async def test_a_reading_of_long_ago_has_a_next_page_too(tmp_path: Path) -> None:
    """A clock that was never set may say 1904: its cursor is before 1970."""
    async with caller(tmp_path) as asks:
        desk, home = asks.one.desk, SealingHome()
        before = dt.datetime(1904, 1, 1, tzinfo=dt.UTC) - dt.datetime(2026, 11, 24, 8, tzinfo=dt.UTC)
        for n in range(3):
            m = blood_pressure("120", "70", minutes=before / dt.timedelta(minutes=1) + n)
            m = m.model_copy(update={"time": m.time.model_copy(update={"received_at": desk.now})})
            desk.receive(home, home.seal(told(m, "p-2")))
        found = await asks.items("/patients/patient-2/readings", limit=1)
        assert [r["measured"]["utc"][:4] for r in found] == ["2026", "1904", "1904", "1904"]
        for systolic in ("118", "119"):  # and of those without any time each one comes once
            desk.receive(home, home.seal(told(blood_pressure(systolic, "70", minutes=None), "p-2")))
        again = await asks.items("/patients/patient-2/readings", limit=1)
        assert [r["measured"] for r in again] == [*(r["measured"] for r in found), None, None]
        assert len({r["reading_id"] for r in again}) == 6


async def test_patients_are_those_of_whom_something_may_be_read(tmp_path: Path) -> None:
    async with caller(tmp_path, BP) as asks:
        found = await asks.items("/patients", limit=1)
        assert [(p["patient"], p["number"], p["may_read"]) for p in found] == [
            ("patient-1", "1", ["blood_pressure"]),
            ("patient-2", "2", ["blood_pressure"]),
        ]
        asks.one.desk.store.access.withdraw_consent(
            "patient-1", "nurse", BP, by="patient-1", now=asks.one.desk.now
        )
        assert [p["patient"] for p in await asks.items("/patients")] == ["patient-2"]


async def test_nothing_tells_who_is_a_patient_here(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        stranger = calling(asks.one, "d1", Role.FAMILY_DOCTOR, "elsewhere")
        alert = (await asks.alert("patient-1"))["alert_id"]
        for part in ("", "/readings", "/consents", "/readers", "/readings?quantity=glucose"):
            here, nowhere = [await stranger.get(f"/patients/{who}{part}") for who in ("patient-1", "nobody")]
            assert (
                (here.status_code, here.json()) == (nowhere.status_code, nowhere.json()) == (403, here.json())
            )
        for path in (f"/alerts/{alert}", f"/alerts/{UUID(int=1)}"):
            assert (await stranger.get(path)).json() == here.json()
            step = await stranger.post(f"{path}/begin", headers={"if-match": "*"})
            assert step.json() == here.json()
        assert (await stranger.get("/alerts")).json() == {"next": None, "items": []}
        assert (await stranger.get("/patients")).json() == {"next": None, "items": []}


async def test_whoever_has_it_is_spared_it(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        alert = (await asks.alert("patient-1"))["alert_id"]
        for path in ("/alerts", f"/alerts/{alert}", "/patients", "/patients/patient-1/readings", "/me"):
            first = await asks.get(path)
            for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
                again = await asks.get(path, headers={"if-none-match": known})
                assert (again.status_code, again.content) == (304, b""), path
                assert again.headers["etag"] == first.headers["etag"]
        before = (await asks.get(f"/alerts/{alert}")).headers["etag"]
        await asks.post(f"/alerts/{alert}/acknowledge", headers={"if-match": before})
        assert (await asks.get(f"/alerts/{alert}", headers={"if-none-match": before})).status_code == 200


# --- acts ---


async def test_an_alert_lives_through_its_acts(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        alert = await asks.alert("patient-1")
        path, tag = f"/alerts/{alert['alert_id']}", alert["tag"]
        assert alert["may"] == ["acknowledge", "begin", "resolve", "escalate"]
        for step, body, state, may in (
            ("escalate", {"note": "please  look"}, "open", ["acknowledge", "begin", "resolve"]),
            ("acknowledge", None, "acknowledged", ["begin", "resolve"]),
            ("begin", {}, "in_progress", ["resolve"]),
            ("resolve", {"outcome": "admitted", "note": "by ambulance"}, "resolved", []),
        ):
            answer = await asks.post(f"{path}/{step}", body, {"if-match": tag})
            assert answer.status_code == 200, answer.text
            now = answer.json()
            assert (now["state"], now["may"]) == (state, may)
            assert answer.headers["etag"].startswith(now["tag"].rstrip('"'))
            tag = answer.headers["etag"] if step == "begin" else now["tag"]  # either form of the tag will do
        assert now["asked"] == "physician"
        assert [(h["what"], h["by"], h["note"]) for h in now["history"]][2:] == [
            ("escalated", NURSE, "please look"),
            ("acknowledged", NURSE, None),
            ("in_progress", NURSE, None),
            ("resolved", NURSE, "by ambulance"),
        ]
        kept = asks.one.desk.store.alerts.alert(UUID(alert["alert_id"]))
        assert kept is not None
        assert (kept.state, kept.outcome, kept.moved_by) == (AlertState.RESOLVED, Outcome.ADMITTED, NURSE)
        assert asks.one.told == [True] * 4  # the loops were woken: the home is told


async def test_whoever_is_second_is_told_who_was_first(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        other = calling(asks.one, "n2", Role.NURSE)
        alert = await asks.alert("patient-1")
        path, seen = f"/alerts/{alert['alert_id']}", {"if-match": alert["tag"]}
        assert (await asks.post(f"{path}/begin", headers=seen)).status_code == 200
        before = asks.one.desk.everything()
        second = await other.post(f"{path}/resolve", {"outcome": "called"}, seen)
        assert (second.status_code, second.headers["content-type"]) == (412, PROBLEM)
        assert "n1 was first" in second.json()["detail"]
        assert (
            "n1 已于"
            in (await other.post(f"{path}/begin", headers={**seen, "accept-language": "zh-CN"})).json()[
                "detail"
            ]
        )
        assert [k for k, v in asks.one.desk.everything().items() if v != before[k]] == ["audit", "api_token"]
        now = second.headers["etag"]
        assert (
            await other.post(f"{path}/resolve", {"outcome": "called"}, {"if-match": now})
        ).status_code == 200


async def test_a_step_that_there_is_not_is_no_matter_of_who_was_first(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        alert = await asks.alert("patient-1")
        path = f"/alerts/{alert['alert_id']}/begin"
        begun = await asks.post(path, headers={"if-match": alert["tag"]})
        again = await asks.post(path, headers={"if-match": begun.headers["etag"]})
        assert (again.status_code, again.json()["type"]) == (409, "urn:kiteline:problem:no-such-step")
        assert again.headers["etag"] == begun.json()["tag"]


async def test_no_reason_is_told_that_may_quote_what_no_consent_speaks_of(tmp_path: Path) -> None:
    async with caller(tmp_path, ALERTS, BP) as asks:
        alert = await asks.alert("patient-1")
        first = alert["evidence"][0]["reading_id"].replace("-", "")
        with asks.one.desk.store.engine.begin() as connection:
            connection.execute(text(f"UPDATE measurement SET quantity='glucose' WHERE id='{first}'"))  # noqa: S608 - an id
        assert (await asks.alert("patient-1"))["why"] is None


WRONG_STEPS = [
    ("begin", None, None, 428, "not-seen"),
    ("begin", None, '"7"', 412, "changed"),
    ("begin", None, 'W/"x", nonsense', 412, "changed"),
    ("resolve", {"outcome": "repaired"}, "*", 409, "no-such-step"),
    ("resolve", {"outcome": "cured"}, "*", 422, "invalid"),
    ("resolve", {}, "*", 422, "invalid"),
    ("resolve", {"outcome": "called", "by": "me"}, "*", 422, "invalid"),
    ("begin", {"note": "x" * 501}, "*", 422, "invalid"),
    ("begin", {"note": "a\u202eb"}, "*", 422, "invalid"),
    ("begin", {"note": "x" * 20_000}, "*", 413, "too-large"),
    ("withdraw", None, "*", 404, "no-such-path"),
    ("reopen", None, "*", 404, "no-such-path"),
]


async def test_a_wrong_step_changes_nothing(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        alert = await asks.alert("patient-1")
        before = asks.one.desk.table("alert"), asks.one.desk.table("alert_history")
        for step, body, seen, status, kind in WRONG_STEPS:
            headers = {} if seen is None else {"if-match": seen}
            answer = await asks.post(f"/alerts/{alert['alert_id']}/{step}", body, headers)
            assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
            assert answer.json()["type"] == f"urn:kiteline:problem:{kind}"
            assert answer.json()["status"] == status
            assert (asks.one.desk.table("alert"), asks.one.desk.table("alert_history")) == before


async def test_an_error_names_the_field_in_the_readers_language(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        for query, place, field in (
            ({"limit": 0}, "query", "limit"),
            ({"limit": "many"}, "query", "limit"),
            ({"sate": "open"}, "query", "sate"),
            ({"state": "asleep"}, "query", "state.0"),
            ({"cursor": "'; DROP TABLE alert"}, "query", "cursor"),
        ):
            wrong = (await asks.get("/alerts", **query)).json()["errors"]
            assert [(w["place"], w["field"]) for w in wrong] == [(place, field)]
        answer = await asks.get("/alerts", {"accept-language": "zh-CN"}, limit=0)
        assert (answer.json()["title"], answer.headers["content-language"]) == ("无法理解", "zh-Hans")
        assert answer.json()["errors"][0]["detail"] == "数值过小。"
        assert (await asks.get("/alerts/nonsense")).json()["errors"][0]["field"] == "alert_id"
        for body in (b"{", b"\xff", b"[]", b'"x"'):
            path = f"{API}/alerts/{UUID(int=1)}/resolve"
            headers = asks.headers({"content-type": "application/json"})
            answer = await asks.one.http.post(path, content=body, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM), body


def test_every_problem_has_its_chinese() -> None:
    said = (
        {part for one in SAID.values() for part in (one.title, one.detail)}
        | set(WRONG.values())
        | {OTHERWISE}
    )
    chinese = language("zh-Hans").sentences
    assert sorted(one for one in said if one not in chinese) == []
