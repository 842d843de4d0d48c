"""Signing in to the page: the way in, every way in which it fails, and how a session ends."""

import asyncio
import logging
import re
from pathlib import Path

import pytest

from cloud_bridge.access.model import DataType, Role
from cloud_bridge.access.passwords import new_credentials
from cloud_bridge.api.session import COOKIE
from cloud_bridge.api.tries import TRIES
from tests.doubles.page_visitor import HOST, PASSWORD, credentials, visitor

ALL = tuple(DataType)
WRONG = "You are not signed in."


async def test_a_nurse_signs_in_and_out(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.consent("nurse", *ALL)
        outside = await one.http.get("/", follow_redirects=False)
        assert (outside.status_code, outside.headers["location"]) == (303, "/sign-in")
        page = await one.sign_in("n1")
        assert page.status_code == 200
        assert "Signed in: n1 (nurse)" in page.text
        assert "Patient 1" in page.text
        cookie = page.history[0].headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        key = one.http.cookies[COOKIE]
        assert (await one.send("/sign-out")).url.path == "/sign-in"
        one.http.cookies.set(COOKIE, key, domain="127.0.0.1")
        assert (await one.http.get("/")).url.path == "/sign-in"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("n1", {"password": "another long password"}),
        ("n1", {"code": "000000"}),
        ("n1", {"code": ""}),
        ("nobody", {}),
        ("", {}),
        ("n\0", {}),
        ("n" * 300, {}),
        ("n1", {"password": "x" * 10_000}),
        ("off", {}),
    ],
)
async def test_whatever_is_wrong_the_answer_is_one(
    tmp_path: Path, name: str, changes: dict[str, str]
) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.hire("off", Role.NURSE)
        one.desk.store.access.set_active("off", active=False, now=one.desk.now)
        right = await one.sign_in("n1", password="wrong")  # noqa: S106 - on purpose
        answer = await one.sign_in(name, **changes)
        assert (right.status_code, answer.status_code) == (403, 403)
        tokens = r'value="[^"]+"'
        assert re.sub(tokens, "", answer.text) == re.sub(tokens, "", right.text)
        assert WRONG in answer.text
        assert 'role="alert"' in answer.text
        assert (await one.http.get("/")).url.path == "/sign-in"


async def test_a_code_opens_once(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        assert (await one.sign_in("n1")).status_code == 200
        assert (await one.sign_in("n1")).status_code == 403
        one.later(seconds=30)
        assert (await one.sign_in("n1")).status_code == 200


async def test_a_form_of_another_page_signs_nobody_in(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        forged = await one.sign_in("n1", csrf="forged")
        assert (forged.status_code, "too old" in forged.text) == (403, True)
        await one.http.get("/sign-in")
        one.http.headers["origin"] = "http://evil.example"
        foreign = await one.sign_in("n1")
        assert "came from another page" in foreign.text
        one.http.headers["origin"] = f"http://{HOST}"
        one.http.cookies.clear()
        form = {"csrf": "", "name": "n1", "password": "x", "code": one.code()}
        assert (await one.http.post("/sign-in", data=form)).status_code == 403
        assert (await one.sign_in("n1")).status_code == 200


async def test_a_wrong_answer_takes_its_time_for_known_and_unknown_names(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True, wrong_takes_s=0.4) as one:
        one.hire("n1", Role.NURSE)
        loop = asyncio.get_running_loop()
        for name in ("n1", "nobody"):
            begun = loop.time()
            await one.sign_in(name, code="1")
            assert loop.time() - begun >= 0.4


async def test_no_word_of_a_sign_in_is_logged_or_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        await one.sign_in("n1", code="000000")
        await one.sign_in("n1")
        secret, code = credentials().secret, one.code()
        kept = str(one.desk.everything())
        assert secret in kept  # what the store must have, and must not say
        assert PASSWORD not in kept
        logged = caplog.text + "".join(capfd.readouterr())
        assert [word for word in (PASSWORD, secret, code, one.http.cookies[COOKIE]) if word in logged] == []


async def test_new_credentials_end_what_was_signed_in_before(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        await one.sign_in("n1")
        assert (await one.http.get("/")).url.path == "/"
        one.desk.store.access.set_credentials("n1", new_credentials(PASSWORD), one.desk.now)
        assert (await one.http.get("/")).url.path == "/sign-in"


async def test_guessing_is_bounded_by_address(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        for number in range(TRIES):
            assert (await one.sign_in(f"guess-{number}", code="1")).status_code == 403
        bounded = await one.sign_in("n1")
        assert bounded.status_code == 429
        assert WRONG in bounded.text
        one.later(minutes=6)
        assert (await one.sign_in("n1")).status_code == 200
        for _ in range(TRIES):
            one.later(seconds=30)
            assert (await one.sign_in("n1")).status_code == 200


async def test_links_open_nothing_here_and_stay_unused(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        token = one.links.make()
        answer = await one.http.get(f"/enter?token={token}")
        assert (answer.status_code, "sign in with your account" in answer.text) == (403, True)
        assert "Patient" not in answer.text
        assert one.links.redeem(token)


async def test_without_accounts_there_is_nothing_to_sign_in_to(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None) as one:
        for path in ("/sign-in", "/audit", "/mine"):
            assert (await one.http.get(path)).status_code == 404


async def test_a_session_ends_when_idle_and_after_a_shift(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        await one.sign_in("n1")
        for _ in range(2):
            one.later(minutes=29)
            assert (await one.http.get("/")).url.path == "/"
        one.later(minutes=29)
        # The page renews itself, which is nobody's doing.
        assert 'content="60; url=/?renews=1"' in (await one.http.get("/?renews=1")).text
        one.later(minutes=2)
        assert (await one.http.get("/?renews=1")).url.path == "/sign-in"
        await one.sign_in("n1")
        for _ in range(12 * 3 - 1):
            one.later(minutes=20)
            assert (await one.http.get("/")).url.path == "/"
        one.later(minutes=20)
        assert (await one.http.get("/")).url.path == "/sign-in"
