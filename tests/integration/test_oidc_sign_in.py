"""Signing in with the hospital's account at a provider that runs: in, back, and the ways that are none."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.access.oidc import Identity, Local
from cloud_bridge.api import hospital_sign_in
from cloud_bridge.api.hospital_sign_in import ATTEMPT_COOKIE, BACK, START
from cloud_bridge.api.session import COOKIE
from cloud_bridge.app import build
from cloud_bridge.config import load
from cloud_bridge.connectors.smart_backend import Client
from cloud_bridge.steps import nobody
from service_kit.key_files import write_private
from service_kit.log import silent
from tests.doubles.edge_readings import bridge_keys
from tests.doubles.oidc_browser import DECLINED, DOWN, INACTIVE, OURS, STALE, UNKNOWN, UNTRUSTED, browser
from tests.doubles.oidc_provider import CLIENT, SECRET, OidcProvider, public_pem
from tests.doubles.page_visitor import HOST, fill, visitor
from tests.unit.test_bridge_config import GOOD, written
from virtual_home.processes import accepts, free_port

# --- the way in ---


async def test_a_nurse_comes_in_by_the_hospitals_account(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital, filled=fill) as one:
        one.page.consent("nurse", *DataType)
        door = await one.at_the_page.get("/sign-in")
        assert "Sign in with the hospital&#39;s account" in door.text
        assert f'href="{START}"' in door.text
        asked = parse_qs(urlsplit(await one.start()).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["redirect_uri"] == [f"http://{HOST}{BACK}"]
        assert min(len(asked[name][0]) for name in ("state", "nonce", "code_challenge")) >= 43
        answer = await one.sign_in()
        assert (answer.status_code, 'content="0; url=/"' in answer.text) == (200, True)
        cookies = {c.split("=")[0]: c.lower() for c in answer.headers.get_list("set-cookie")}
        assert all(word in cookies[COOKIE] for word in ("httponly", "samesite=strict"))
        inbox = (await one.inbox()).text
        assert "Signed in: n1 (nurse)" in inbox
        assert "Patient 1" in inbox
        (bound,) = one.page.desk.store.access.bound()["n1"]
        assert (bound["subject"], bound["by"]) == ("subject-of-n1", "first sign-in")
        assert [seen["by"] for seen in hospital.seen] == ["basic"]


async def test_a_subject_stays_the_account_whatever_its_claims_say_later(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    async with browser(tmp_path, hospital) as one:
        one.page.hire("n2", Role.PHYSICIAN)
        await one.sign_in()
        hospital.said = {"staff_number": "n2"}
        await one.sign_in()
        assert "Signed in: n1 (nurse)" in (await one.inbox()).text
        hospital.said = {"staff_number": None}
        await one.sign_in()
        assert "Signed in: n1 (nurse)" in (await one.inbox()).text


async def test_nobody_takes_an_account_that_is_bound_to_another(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    async with browser(tmp_path, hospital) as one:
        await one.sign_in()
        one.at_the_page.cookies.clear()
        hospital.said = {"sub": "somebody-else"}
        await one.is_refused(UNKNOWN)
        assert [b["subject"] for b in one.page.desk.store.access.bound()["n1"]] == ["subject-of-n1"]


async def test_without_a_claim_only_the_command_binds(tmp_path: Path, hospital: OidcProvider) -> None:
    hospital.said = {"preferred_username": "n1", "email": "n1", "name": "n1", "staff_number": "n1"}
    async with browser(tmp_path, hospital, account_claim=None) as one:
        answer = await one.sign_in()
        one.says(answer, UNKNOWN)
        assert "subject-of-n1" in answer.text
        access, now = one.page.desk.store.access, one.page.desk.now
        access.bind("n1", Identity("http://other.example", "subject-of-n1"), "a1", now)
        await one.is_refused(UNKNOWN)
        access.unbind("n1", one.page.desk.now)
        access.bind("n1", Identity(hospital.issuer, "subject-of-n1"), "a1", now)
        assert (await one.sign_in()).status_code == 200
        assert await one.is_in()


async def test_who_has_no_account_here_is_told_so(tmp_path: Path, hospital: OidcProvider) -> None:
    claims: list[object] = [None, "", "nobody", 1, ["n1"], {"n": "n1"}]
    async with browser(tmp_path, hospital) as one:
        for claim in claims:
            hospital.said = {"staff_number": claim, "email": "n1"}
            await one.is_refused(UNKNOWN, what=claim)
        assert one.page.desk.store.access.bound() == {}


async def test_an_account_that_is_off_lets_nobody_in(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        access = one.page.desk.store.access
        access.set_active("n1", active=False, now=one.page.desk.now)
        await one.is_refused(INACTIVE)
        assert access.bound() == {}
        access.set_active("n1", active=True, now=one.page.desk.now)
        await one.sign_in()
        assert await one.is_in()
        access.set_active("n1", active=False, now=one.page.desk.now)
        assert not await one.is_in()
        await one.is_refused(INACTIVE)


async def test_unbinding_ends_what_was_signed_in(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        await one.sign_in()
        assert await one.is_in()
        access, now = one.page.desk.store.access, one.page.desk.now
        assert access.unbind("n1", now, "anna") == 1
        *_, last = [e.reason for e, _ in access.entries(action=Action.MANAGE_ACCOUNTS)]
        assert last == "unbound from 1 of the provider's subjects, by anna"
        assert not await one.is_in()


async def test_we_prove_who_asks_by_a_key_or_by_the_form(tmp_path: Path, hospital: OidcProvider) -> None:
    hospital.client_key = public_pem(OURS)
    pem = OURS.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    key = Client("", CLIENT, pem, "ours-1", "ES384", "", "page.oidc.key_file")
    async with browser(tmp_path, hospital, proof=key) as one:
        assert (await one.sign_in()).status_code == 200
    hospital.described = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    (tmp_path / "2").mkdir()
    async with browser(tmp_path / "2", hospital) as one:
        assert (await one.sign_in()).status_code == 200
    assert [seen["by"] for seen in hospital.seen] == ["form", "form"]


# --- the way back ---


async def test_an_answer_works_once(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        where = await one.leave()
        cookie = one.at_the_page.cookies[ATTEMPT_COOKIE]
        assert (await one.back(where)).status_code == 200
        one.at_the_page.cookies.set(ATTEMPT_COOKIE, cookie, domain="127.0.0.1", path=START)
        one.says(await one.back(where), STALE)


async def test_a_code_that_was_used_is_refused_there(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        used = parse_qs(urlsplit(await one.leave()).query)["code"][0]
        hospital.codes.pop(used)
        hospital.answers = {"code": used}
        await one.is_refused(STALE)


async def test_another_browser_cannot_bring_the_answer(tmp_path: Path, hospital: OidcProvider) -> None:
    """Neither without the cookie, nor with that of its own attempt: nobody is signed in as somebody else."""
    async with browser(tmp_path, hospital) as one:
        where, cookies = await one.leave(), dict(one.at_the_page.cookies)
        one.at_the_page.cookies.clear()
        one.says(await one.back(where), STALE)
        await one.start()
        one.says(await one.back(where), STALE)
        assert not await one.is_in()
        one.at_the_page.cookies.set(ATTEMPT_COOKIE, cookies[ATTEMPT_COOKIE], domain="127.0.0.1", path=START)
        assert (await one.back(where)).status_code == 200


NO_ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"state": "x" * 43}, STALE),
    ({"state": None}, STALE),
    ({"code": None}, STALE),
    ({"code": ""}, STALE),
    ({"code": "x" * 3000}, STALE),
    ({"iss": "https://evil.example"}, UNTRUSTED),
    ({"iss": ""}, UNTRUSTED),
    ({"iss": None}, UNTRUSTED),
    ({"iss": "https://evil.example", "error": "access_denied"}, UNTRUSTED),
    ({"error": "access_denied", "error_description": "<b>call 555</b>"}, DECLINED),
    ({"error": "login_required", "code": None}, DECLINED),
]


async def test_an_answer_that_is_none(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        for answers, words in NO_ANSWERS:
            hospital.answers = answers
            await one.is_refused(words, what=answers)
            assert "call 555" not in (await one.sign_in()).text
        assert "token" not in hospital.asked
        hospital.answers = {}
        await one.enters()


async def test_an_answer_that_says_its_state_twice_is_none(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        where = await one.leave()
        one.says(await one.back(f"{where}&code=another"), STALE)
        assert (await one.back(where)).status_code == 200


async def test_a_provider_that_never_promised_its_name_need_not_say_it(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    hospital.described = {"authorization_response_iss_parameter_supported": False}
    hospital.answers = {"iss": None}
    async with browser(tmp_path, hospital) as one:
        assert (await one.sign_in()).status_code == 200
        hospital.answers = {"iss": "https://evil.example"}
        one.at_the_page.cookies.clear()
        await one.is_refused(UNTRUSTED)


async def test_ten_minutes_are_enough(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        where = await one.leave()
        one.page.later(minutes=10)
        one.says(await one.back(where), STALE)


async def test_attempts_are_bounded(
    tmp_path: Path, hospital: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital_sign_in, "MAX_ATTEMPTS", 3)
    async with browser(tmp_path, hospital) as one:
        where = await one.leave()
        cookie = one.at_the_page.cookies[ATTEMPT_COOKIE]
        for _ in range(3):
            await one.at_the_page.get(START)
        one.at_the_page.cookies.set(ATTEMPT_COOKIE, cookie, domain="127.0.0.1", path=START)
        one.says(await one.back(where), STALE)


async def test_the_browser_is_sent_to_the_provider_and_to_the_inbox_and_nowhere_else(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    async with browser(tmp_path, hospital) as one:
        for asked in (
            "?next=https://evil.example",
            "?redirect_uri=//evil.example",
            "?state=x&next=//evil.example",
        ):
            answer = await one.at_the_page.get(START + asked)
            assert answer.headers["location"].startswith(f"{hospital.issuer}/authorize?")
            assert "evil" not in answer.headers["location"]
        where = await one.leave()
        came = await one.back(f"{where}&next=https://evil.example&return_to=//evil.example")
        assert (came.status_code, "evil" in came.text, "location" in came.headers) == (200, False, False)
        elsewhere = await one.at_the_page.get(START, headers={"host": "localhost:8600"})
        assert elsewhere.headers["location"] == f"http://{HOST}{START}"
        foreign = await one.at_the_page.get(START, headers={"host": "evil.example"})
        assert (foreign.status_code, "location" in foreign.headers) == (421, False)


async def test_a_session_that_was_there_before_is_not_the_one_that_is_signed_in(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    async with browser(tmp_path, hospital) as one:
        planted = secrets.token_urlsafe(32)
        one.at_the_page.cookies.set(COOKIE, planted, domain="127.0.0.1")
        await one.sign_in()
        first = one.at_the_page.cookies[COOKIE]
        await one.sign_in()
        second = one.at_the_page.cookies[COOKIE]
        assert len({planted, first, second}) == 3
        for old in (planted, first):
            one.at_the_page.cookies.set(COOKIE, old, domain="127.0.0.1")
            assert not await one.is_in()
        one.at_the_page.cookies.set(COOKIE, second, domain="127.0.0.1")
        assert await one.is_in()


# --- beside the provider ---


async def test_when_the_provider_is_down_administrators_have_a_way_in(tmp_path: Path) -> None:
    async with browser(tmp_path, OidcProvider(port=1)) as one:
        one.page.hire("a1", Role.ADMINISTRATOR)
        one.at_the_page.headers["accept-language"] = "zh-CN"
        answer = await one.at_the_page.get(START)
        one.says(answer, "医院的登录服务目前没有应答", 503)
        one.at_the_page.headers["accept-language"] = "en"
        answer = await one.at_the_page.get(START)
        one.says(answer, DOWN, 503)
        assert "<details open>" in answer.text
        assert (await one.page.sign_in("n1")).status_code == 403
        assert not await one.is_in()
        one.page.later(seconds=60)
        assert (await one.page.sign_in("a1")).status_code == 303
        assert await one.is_in()


@pytest.mark.parametrize(("local", "status"), [(Local.NOBODY, 405), (Local.EVERYBODY, 303)])
async def test_local_accounts_beside_the_provider_as_configured(
    tmp_path: Path, hospital: OidcProvider, local: Local, status: int
) -> None:
    async with browser(tmp_path, hospital, local=local) as one:
        page = await one.at_the_page.get("/sign-in")
        assert ('name="password"' in page.text) is (local is Local.EVERYBODY)
        if local is Local.EVERYBODY:
            assert (await one.page.sign_in("n1")).status_code == status
        else:
            form = {"name": "n1", "password": "x", "code": "1", "csrf": "x"}
            assert (await one.at_the_page.post("/sign-in", data=form)).status_code == status


async def test_the_bridge_opens_the_door_that_its_file_names(tmp_path: Path, hospital: OidcProvider) -> None:
    write_private(tmp_path / "bridge.key", bridge_keys())
    (tmp_path / "secret").write_text(SECRET)
    port = free_port()
    page = f'[page]\nport = {port}\nsign_in = "accounts"\n[page.oidc]\nissuer = "{hospital.issuer}"\n'
    rest = f'client_id = "{CLIENT}"\nclient_secret_file = "{tmp_path}/secret"\namr = ["otp"]\n'
    config = load(written(tmp_path, GOOD + page + rest))
    assert config.page is not None
    bridge = build(config, silent(), {}, nobody)
    serving = asyncio.create_task(bridge._serve(config.page))  # noqa: SLF001 - the page without the broker
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as web:
        await eventually_async(lambda: accepts(port))
        sent = await web.get(START)
        assert sent.headers["location"].startswith(f"{hospital.issuer}/authorize?")
        back = parse_qs(urlsplit(sent.headers["location"]).query)["redirect_uri"]
        assert back == [f"http://127.0.0.1:{port}{BACK}"]
    serving.cancel()
    await asyncio.wait([serving])
    bridge.store.close()


async def eventually_async(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 - a port has no event
            await asyncio.sleep(0.02)


async def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        for path in (START, BACK):
            assert (await one.http.get(path)).status_code == 404
        assert "hospital" not in (await one.http.get("/sign-in")).text


async def test_why_is_logged_and_who_is_not(tmp_path: Path, hospital: OidcProvider) -> None:
    with capture_logs() as lines:
        async with browser(tmp_path, hospital, account_claim=None) as one:
            where = await one.leave()
            one.says(await one.back(where), UNKNOWN)
            hospital.said = {"iss": "https://evil.example"}
            await one.is_refused(UNTRUSTED)
    assert [(line["event"], line["kind"]) for line in lines] == [
        ("oidc_not_signed_in", "unknown"),
        ("oidc_not_signed_in", "untrusted"),
    ]
    assert "iss" in lines[1]["reason"]
    said = parse_qs(urlsplit(where).query)
    for secret in ("subject-of", "n1", SECRET, said["code"][0], said["state"][0]):
        assert secret not in str(lines)
