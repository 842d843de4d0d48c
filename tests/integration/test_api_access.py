"""The interface for programs: the site, people about themselves, and who is let in at all."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import text

from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.rules.base import HOME
from cloud_bridge.store import schema
from tests.doubles.api_caller import API, NURSE, Caller, caller, calling
from tests.doubles.bridge_desk import assigned, care
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.page_visitor import HOST, token, visitor
from wire_format.errors import Rejected, Unreachable

PROBLEM = "application/problem+json"
BP, ALERTS = DataType.BLOOD_PRESSURE, DataType.ALERTS


# --- the site, and people about themselves ---


async def test_dead_letters_are_listed_and_delivered_again(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        store, now = asks.one.desk.store, asks.one.desk.now
        claimed = store.deliveries.claim_deliveries(now, 100)
        for one in claimed[:3]:
            store.deliveries.mark_failed(one, "422: no such patient", None)
        letters = await asks.items("/dead-letters", limit=2)
        assert len(letters) == 3
        assert {letter["error"] for letter in letters} == {"422: no such patient"}
        key = {name: letters[0][name] for name in ("kind", "subject", "destination")}
        assert (await asks.post("/dead-letters/retry", key)).json() == {"done": True}
        gone = await asks.post("/dead-letters/retry", key)
        assert (gone.status_code, gone.json()["type"]) == (404, "urn:kiteline:problem:gone")
        assert len(await asks.items("/dead-letters")) == 2


async def test_the_record_is_an_auditors_and_ones_own(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        await asks.alert("patient-1")
        auditor = calling(asks.one, "a1", Role.AUDITOR, "hospital")
        patient = calling(asks.one, "p1", Role.PATIENT, "home", "patient-1")
        entries = await auditor.items("/audit", limit=3)
        numbers = [e["number"] for e in entries]
        assert numbers == list(range(numbers[0], 0, -1))
        kept = {e.number: e.digest.hex() for e, _ in asks.one.desk.store.access.entries()}
        assert all(kept[e["number"]] == e["digest"] for e in entries)
        reads = await auditor.items("/audit", action="read", patient="patient-1")
        assert {(e["account"], e["data"]) for e in reads} == {(NURSE, "alerts"), (NURSE, "blood_pressure")}
        assert all(re.fullmatch("token [0-9a-f]{8}", e["reason"]) for e in reads)
        own = await patient.items("/patients/patient-1/readers")
        assert [e["number"] for e in own] == [e["number"] for e in reads]  # the patient sees every read
        agreed = await patient.items("/patients/patient-1/consents")
        assert {(c["to"], c["data"], c["holds"]) for c in agreed} == {
            ("nurse", d.value, True) for d in DataType
        }
        assert (await patient.get("/patients/patient-2/consents")).status_code == 403


async def test_installers_see_equipment_alone(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        with asks.one.desk.store.engine.begin() as connection:
            connection.execute(
                text("UPDATE alert SET queue='installer', subject='gateway:gw-1' WHERE subject LIKE 'home:%'")
            )
        installer = calling(asks.one, "i1", Role.INSTALLER, "elsewhere")
        (found,) = await installer.items("/alerts", queue="installer")
        assert (found["home"], found["patient"], found["may"]) == ("gw-1", None, [])
        assert await installer.items("/alerts") == []
        assert await asks.items("/alerts", queue="installer") == []
        assert (await asks.get(f"/alerts/{found['alert_id']}")).status_code == 403


# --- who is let in ---


async def test_a_token_opens_until_it_is_revoked_or_expires_or_the_account_is_off(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        access, tokens, now = asks.one.desk.store.access, asks.one.desk.store.tokens, asks.one.desk.now
        (kept,) = tokens.tokens(NURSE)
        me = (await asks.get("/me")).json()
        assert (me["account"], me["by"], me["token"], me["csrf"]) == (NURSE, "token", kept.token_id, None)
        (kept,) = tokens.tokens()
        assert kept.used_at == now
        assert asks.token not in str(asks.one.desk.everything())  # nothing but its hash is kept
        access.set_active(NURSE, active=False, now=asks.one.desk.now)
        assert (await asks.get("/me")).status_code == 401
        access.set_active(NURSE, active=True, now=asks.one.desk.now)
        assert (await asks.get("/me")).status_code == 200
        asks.one.later(days=30)
        assert (await asks.get("/me")).status_code == 401
        asks.one.later(days=-30)
        tokens.revoke(kept.token_id, now)
        refused = await asks.get("/me")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="kiteline"')
        with pytest.raises(Rejected, match="no token"):
            tokens.revoke(kept.token_id, now)
        said = [e.reason for e, _ in access.entries(action=Action.MANAGE_ACCOUNTS)]
        assert said == [
            "added as nurse of 1, by command line",
            f"token {kept.token_id} made, until 2026-12-24 08:30 UTC, by command line",
            "switched off, by command line",
            "switched on, by command line",
            f"token {kept.token_id} revoked, by command line",
        ]
        assert access.broken_at() is None


async def test_new_credentials_end_an_accounts_tokens(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        from cloud_bridge.access.passwords import new_credentials  # noqa: PLC0415 - slow, and of this test alone

        asks.one.desk.store.access.set_credentials(
            NURSE, new_credentials("another long password"), asks.one.desk.now
        )
        assert (await asks.get("/me")).status_code == 401


async def test_what_takes_a_person_is_not_a_tokens(tmp_path: Path) -> None:
    """The page's own acts take a session; and the policies say no to a token, whatever route may come."""
    async with caller(tmp_path) as asks:
        room = asks.one.app.routes[-1].app.state.desk.room  # type: ignore[attr-defined]  # the mounted interface
        account = asks.one.desk.store.access.account(NURSE)
        by_token = room.sight(account, "abcd1234")
        assert not by_token.does(Action.BREAK_GLASS, "patient-1", reason="unconscious, brought in")
        assert by_token.does(Action.READ, "patient-1", ALERTS)
        page = await asks.one.http.get("/", headers=asks.headers(None), follow_redirects=False)
        assert page.status_code == 303  # a page is not for programs


async def test_a_wrong_token_is_nobody(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        await asks.one.sign_in(NURSE)
        assert (await asks.one.http.get(f"{API}/me")).status_code == 200
        for said in (b"Bearer", b"Bearer ", b"Bearer kiteline_x", b"Basic bjE6eA==", b"Bearer \xff"):
            answer = await asks.one.http.get(
                f"{API}/me", headers=[(b"authorization", said)]
            )  # beside the session
            assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)


async def test_a_browser_proves_that_our_page_asks(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        http = asks.one.http
        assert (await http.get(f"{API}/alerts")).status_code == 401
        await asks.one.sign_in(NURSE)
        me = (await http.get(f"{API}/me")).json()
        assert (me["by"], me["token"]) == ("session", None)
        alert = (await asks.alert("patient-1"))["alert_id"]
        path = f"{API}/alerts/{alert}/begin"
        seen = {"if-match": "*"}
        for headers in (
            {},
            {"kiteline-csrf": "forged"},
            {"kiteline-csrf": me["csrf"], "origin": "https://evil.example"},
        ):
            answer = await http.post(path, headers={**seen, **headers})
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:kiteline:problem:foreign-form")
        assert (await http.post(path, headers={**seen, "kiteline-csrf": me["csrf"]})).status_code == 200
        other = await http.get(f"{API}/me", headers={"host": "evil.example"})
        assert (other.status_code, other.headers["content-type"]) == (421, PROBLEM)
        assert (
            "access-control-allow-origin"
            not in (await http.get(f"{API}/me", headers={"origin": "x"})).headers
        )


async def test_whoever_asks_too_much_waits(tmp_path: Path) -> None:
    async with caller(tmp_path, per_minute=3) as asks:
        other = calling(asks.one, "n2", Role.NURSE)
        for status in (200, 200, 200, 429):
            answer = await asks.get("/me")
            assert answer.status_code == status
        assert (answer.headers["retry-after"], answer.json()["detail"][:13]) == ("60", "Wait for 60 s")
        assert (await other.get("/me")).status_code == 200
        asks.one.later(minutes=1)
        assert (await asks.get("/me")).status_code == 200
        nobody = Caller(asks.one, "nonsense")
        assert [(await nobody.get("/me")).status_code for _ in range(4)] == [401, 401, 401, 429]


async def test_where_people_come_in_by_links_there_is_no_interface(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        for path in ("/me", "/openapi.json"):
            assert (await one.http.get(API + path)).status_code == 404


async def test_what_fails_is_said_without_what_it_was_about(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        alert = (await asks.alert("patient-1"))["alert_id"]
        with asks.one.desk.store.engine.begin() as connection:
            connection.execute(text("UPDATE alert SET evidence='no list' WHERE subject='patient-1'"))
        transport = httpx.ASGITransport(app=asks.one.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
            answer = await http.get(f"{API}/alerts/{alert}", headers=asks.headers(None))
        assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
        assert answer.json()["type"] == "urn:kiteline:problem:failed"
        assert "list" not in answer.text


async def test_a_token_needs_an_account(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        with pytest.raises(Rejected, match="no account nobody"):
            token(asks.one.desk, "nobody")


async def test_a_store_that_cannot_be_reached_decides_nothing(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        with asks.one.desk.store.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {schema.alert_history.name} RENAME TO elsewhere"))
        alert = next(
            a for a in asks.one.desk.store.alerts.open_alerts() if not a.finding.subject.startswith(HOME)
        )
        answer = await asks.get(f"/alerts/{alert.alert_id}")
        assert (answer.status_code, json.loads(answer.text)["status"]) == (503, 503)


async def test_what_nobody_knew_whose_it_was_is_not_quoted_once_somebody_is_known(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        desk, home = one.desk, SealingHome()
        m = blood_pressure("192", "124")
        desk.receive(home, home.seal([m]))
        (alert,) = desk.store.alerts.open_alerts()
        stranger = calling(one, "stranger", Role.NURSE, "elsewhere")
        assert "192/124" in (await stranger.get(f"/alerts/{alert.alert_id}")).json()["why"]
        desk.receive(home, home.seal([assigned(m, "p-1", later=60)]))
        whole = (await stranger.get(f"/alerts/{alert.alert_id}")).json()
        assert (whole["state"], whole["why"], whole["evidence"]) == ("withdrawn", None, [])
        assert "192" not in (await stranger.get("/alerts", state="withdrawn")).text
        await one.sign_in("stranger")
        page = await one.http.get(f"/alerts/{alert.alert_id}")
        assert (page.status_code, "192" in page.text) == (200, False)


async def test_what_could_not_be_recorded_is_on_record_when_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unreachable("The disk is full.")

    async with caller(tmp_path) as asks:
        access = asks.one.desk.store.access
        with monkeypatch.context() as broken:
            broken.setattr(type(access), "record", full)
            assert (await asks.get("/patients/patient-1/readings")).status_code == 503
        assert list(access.entries(patient="patient-1")) == []
        assert (await asks.get("/patients/patient-1/readings")).status_code == 200
        assert {e.action for e, _ in access.entries(patient="patient-1")} == {Action.READ}


async def test_of_two_tokens_each_is_on_record(tmp_path: Path) -> None:
    async with caller(tmp_path) as asks:
        other = Caller(asks.one, token(asks.one.desk, NURSE))
        said = set()
        for one in (asks, other):
            said.add(f"token {(await one.get('/me')).json()['token']}")
            assert (await one.get("/patients/patient-1/readings")).status_code == 200
        reads = {e.reason for e, _ in asks.one.desk.store.access.entries(patient="patient-1")}
        assert reads == said


@pytest.mark.parametrize("name", ["病人 7", "ward 3 #7?", "a%2fb"])
async def test_a_patient_of_any_name_can_be_asked_for(tmp_path: Path, name: str) -> None:
    async with caller(tmp_path) as asks:
        asks.one.desk.store.registry.enrol_person(GATEWAY, "p-7", name, care("77"))
        asks.one.consent("nurse", *DataType, patient=name)
        assert name in [p["patient"] for p in await asks.items("/patients", limit=1)]
        assert (await asks.get(f"/patients/{quote(name)}")).json()["patient"] == name
