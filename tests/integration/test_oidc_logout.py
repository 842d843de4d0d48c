"""Back-channel logout: the hospital's provider ends what it began, and nobody else does."""

from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from structlog.testing import capture_logs

from cloud_bridge.access.model import Role
from cloud_bridge.access.oidc import Local
from cloud_bridge.access.oidc_logout import EVENT, LONGEST
from cloud_bridge.api.hospital_sign_in import LOGOUT
from tests.doubles.oidc_browser import OTHER, STALE, Browser, browser
from tests.doubles.oidc_provider import CLIENT, SECRET, OidcProvider
from tests.doubles.page_visitor import HOST

JTI = iter(range(10**6))


@pytest.fixture
def hospital(hospital: OidcProvider) -> OidcProvider:
    hospital.said = {"sid": "s-1"}
    return hospital


def claims_of(one: Browser, **changes: Any) -> dict[str, Any]:
    """A logout token's claims as they should be, but for some; None takes one away."""
    now = int(one.page.desk.now.timestamp())
    whole = {
        "iss": one.hospital.issuer,
        "aud": CLIENT,
        "iat": now,
        "exp": now + 120,
        "jti": f"jti-{next(JTI)}",
        "events": {EVENT: {}},
        "sub": "subject-of-n1",
        "sid": "s-1",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


async def send(one: Browser, token: str) -> int:
    return (await posted(one, token)).status_code


async def posted(one: Browser, token: str) -> Any:
    """As a provider does: without cookies, and from no page."""
    way = httpx.ASGITransport(app=one.page.app)
    async with httpx.AsyncClient(transport=way, base_url=f"http://{HOST}") as provider:
        return await provider.post(LOGOUT, data={"logout_token": token})


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({}, True),
        ({"sid": None}, True),
        ({"sub": None}, True),
        ({"aud": [CLIENT]}, True),
        ({"sid": "s-2"}, False),
        ({"sub": "subject-of-n2"}, False),
        ({"sub": "subject-of-n2", "sid": None}, False),
    ],
)
async def test_the_provider_ends_the_sessions_that_it_names(
    tmp_path: Path, hospital: OidcProvider, changes: dict[str, Any], *, ends: bool
) -> None:
    async with browser(tmp_path, hospital) as one:
        await one.sign_in()
        with capture_logs() as lines:
            assert await send(one, hospital.signed(claims_of(one, **changes))) == 200
        assert lines == [{"event": "oidc_signed_out", "count": int(ends), "log_level": "info"}]
        assert await one.is_in() is not ends
        assert (await one.sign_in()).status_code == (403 if ends and changes.get("sid", "s-1") else 200)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another client"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"iat": 1},
        {"iat": -(10**18)},
        {"iat": "now"},
        {"iat": 10**12, "exp": 10**12},
        {"jti": None},
        {"jti": ["x"]},
        {"events": None},
        {"events": {}},
        {"events": [EVENT]},
        {"events": {EVENT: "x"}},
        {"nonce": "n"},
        {"sub": None, "sid": None},
        {"sub": 1},
        {"sid": "s" * 300},
    ],
    ids=str,
)
async def test_what_does_not_hold_ends_nothing(
    tmp_path: Path, hospital: OidcProvider, changes: dict[str, Any]
) -> None:
    async with browser(tmp_path, hospital) as one:
        await one.sign_in()
        answer = await posted(one, hospital.signed(claims_of(one, **changes)))
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})
        assert answer.headers["cache-control"] == "no-store"
        assert await one.is_in()


async def test_whoever_else_signed_it_ends_nothing(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        await one.sign_in()
        claims = claims_of(one)
        asked = hospital.asked.count("keys")
        for token in (
            "",
            "x.y.z",
            "é",
            "x" * (LONGEST + 1),
            jwt.encode(claims, SECRET * 2, "HS256", headers={"kid": hospital.kid}),
            jwt.encode(claims, None, "none"),
            jwt.encode(claims, OTHER, "ES256", headers={"kid": hospital.kid}),
            jwt.encode(claims, OTHER, "ES256", headers={"kid": "never"}),
            jwt.encode(claims, hospital.key, "ES256", headers={"kid": hospital.kid, "typ": "at+jwt"}),
        ):
            assert (await posted(one, token)).status_code == 400, token[:40]
        assert hospital.asked.count("keys") == asked  # nobody makes us ask the provider again and again
        assert await one.is_in()
        # A key that is new is asked for, a minute after the last time.
        hospital.rotate("k2")
        one.page.later(minutes=2)
        typed = jwt.encode(claims_of(one), hospital.key, "ES256", headers={"kid": "k2", "typ": "logout+jwt"})
        assert await send(one, typed) == 200
        assert not await one.is_in()


async def test_a_token_is_taken_once(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        token = hospital.signed(claims_of(one, sid=None))
        assert await send(one, token) == 200
        await one.sign_in()
        assert await send(one, token) == 400
        assert await one.is_in()
        one.page.later(minutes=9)
        assert await send(one, token) == 400
        assert await one.is_in()


async def test_who_was_coming_in_meanwhile_stays_out(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        where = await one.leave()
        assert await send(one, hospital.signed(claims_of(one))) == 200
        one.says(await one.back(where), STALE)
        assert not await one.is_in()
        hospital.said = {"sid": "s-2"}
        assert (await one.sign_in()).status_code == 200


async def test_local_accounts_and_others_stay_in(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital, local=Local.EVERYBODY) as one:
        one.page.hire("a1", Role.ADMINISTRATOR)
        await one.page.sign_in("a1")
        assert await send(one, hospital.signed(claims_of(one))) == 200
        assert await one.is_in()


async def test_of_a_provider_that_names_no_session_all_of_the_subject_end(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    hospital.said = {}
    async with browser(tmp_path, hospital) as one:
        await one.sign_in()
        assert await send(one, hospital.signed(claims_of(one, sub=None))) == 200
        assert await one.is_in()
        assert await send(one, hospital.signed(claims_of(one))) == 200
        assert not await one.is_in()
