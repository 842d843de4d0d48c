"""What a provider answers, and when it is believed: tokens, keys, descriptions, exchanges."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from fastapi import Response

from cloud_bridge.access.provider import MOST_BYTES, Secret
from cloud_bridge.api.hospital_sign_in import START
from tests.doubles.oidc_browser import DOWN, OTHER, STALE, UNREGISTERED, UNTRUSTED, WEAK, browser
from tests.doubles.oidc_provider import CLIENT, SECRET, OidcProvider, public_jwk

# --- tokens ---

FAULTS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "http://127.0.0.1:1/hospital"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "another client"},
    "another audience, listed": {"aud": ["another client"]},
    "another audience, for us to use": {"aud": "another client", "azp": CLIENT},
    "no audience": {"aud": None},
    "two audiences, no azp": {"aud": [CLIENT, "another client"]},
    "two audiences, another azp": {"aud": [CLIENT, "another client"], "azp": "another client"},
    "another azp": {"azp": "another client"},
    "another nonce": {"nonce": "x" * 43},
    "no nonce": {"nonce": None},
    "a nonce that is none": {"nonce": ["x"]},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a number for a subject": {"sub": 7},
    "a subject without end": {"sub": "x" * 256},
    "a subject that cannot be shown": {"sub": "n\x001"},
    "no end": {"exp": None},
    "an end in words": {"exp": "tomorrow"},
    "no beginning": {"iat": None},
    "an access token of another": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    "methods that are no list": {"amr": "otp"},
}


async def test_a_token_that_does_not_hold(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        await one.enters()
        for fault, said in FAULTS.items():
            hospital.said = said
            await one.is_refused(UNTRUSTED, what=fault)


HEADER_NONE = "eyJhbGciOiJOT05FIiwia2lkIjoiazEifQ"  # {"alg":"NONE","kid":"k1"}


def _none(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, None, "none", headers={"kid": "k1"})


def _by_another(claims: dict[str, Any], **headers: object) -> str:
    return jwt.encode(claims, OTHER, "ES256", headers={"kid": "k1", **headers})


FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "none": _none,
    "NONE": lambda claims: f"{HEADER_NONE}.{_none(claims).split('.')[1]}.",
    "a shared secret": lambda claims: jwt.encode(claims, SECRET * 2, "HS256", headers={"kid": "k1"}),
    "another key": _by_another,
    "an unknown key": lambda claims: _by_another(claims, kid="k9"),
    "its own key": lambda claims: _by_another(claims, jwk=public_jwk(OTHER, "k1")),
    "its own address": lambda claims: _by_another(claims, jku="http://evil.example"),
    "empty": lambda _: "",
    "short": lambda _: "a.b",
    "bare": lambda _: "e30.e30.",
    "not ascii": lambda _: "é.é.é",
}


async def test_a_signature_that_is_not_the_providers(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        await one.enters()
        for fault, sign in FORGED.items():
            hospital.sign = sign
            await one.is_refused(UNTRUSTED, what=fault)


async def test_clocks_may_differ_by_a_minute(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        now = int(one.page.desk.now.timestamp())
        for claim, within, beyond in (("exp", -59, -61), ("iat", 59, 61), ("nbf", 59, 61)):
            hospital.said = {claim: now + within}
            await one.enters()
            hospital.said = {claim: now + beyond}
            await one.is_refused(UNTRUSTED, what=claim)


WEAKNESSES: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({}, [{"amr": None}, {"amr": []}, {"amr": ["pwd"]}, {"amr": [["otp"], 7]}]),
    ({"acr": ("high",)}, [{}, {"acr": None}, {"acr": ["high"]}, {"acr": "high", "amr": ["pwd"]}]),
    ({"acr": ("high",), "amr": ()}, [{}, {"acr": None}, {"acr": ["high"]}]),
    ({"max_age_s": 600}, [{"auth_time": None}, {"auth_time": 1}, {"auth_time": True}]),
]


@pytest.mark.parametrize(("changes", "said"), WEAKNESSES)
async def test_one_factor_is_not_enough_nor_is_one_of_yesterday(
    tmp_path: Path, hospital: OidcProvider, changes: dict[str, Any], said: list[dict[str, Any]]
) -> None:
    async with browser(tmp_path, hospital, **changes) as one:
        hospital.said = {"acr": "high"}
        await one.enters()
        for claims in said:
            hospital.said = claims
            await one.is_refused(WEAK, what=claims)


async def test_what_is_demanded_is_asked_for(tmp_path: Path, hospital: OidcProvider) -> None:
    hospital.said = {"acr": "higher"}
    async with browser(tmp_path, hospital, acr=("high", "higher"), amr=(), max_age_s=0) as one:
        asked = parse_qs(urlsplit(await one.start()).query)
        assert (asked["acr_values"], asked["max_age"]) == (["high higher"], ["0"])
        assert (await one.sign_in()).status_code == 200


# --- the provider's keys ---


async def test_keys_are_fetched_once_and_anew_when_they_change(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    hospital.other_keys = [
        *({"kty": "RSA", "n": "!", "e": 1}, {"kty": "other"}, {"kty": []}, 7, {"kty": "oct", "k": "AAAA"}),
        {**public_jwk(OTHER, "k1"), "use": "enc"},
    ]
    async with browser(tmp_path, hospital) as one:
        for _ in range(2):
            assert (await one.sign_in()).status_code == 200
        assert [hospital.asked.count(what) for what in ("description", "keys")] == [1, 1]
        hospital.rotate("k2")
        assert (await one.sign_in()).status_code == 200
        hospital.rotate("k2")
        assert (await one.sign_in()).status_code == 200
        assert hospital.asked.count("keys") == 3
        one.page.later(minutes=61)
        assert (await one.sign_in()).status_code == 200
        assert [hospital.asked.count(what) for what in ("description", "keys")] == [2, 4]


# --- a provider that fails ---

TOO_LONG = b'"' + b"x" * MOST_BYTES + b'"'


UNUSABLE: list[tuple[dict[str, Any], str, Response | None, str, int]] = [
    ({"issuer": "https://evil.example"}, "", None, UNTRUSTED, 403),
    ({"issuer": None}, "", None, UNTRUSTED, 403),
    ({"token_endpoint": "http://evil.example/token"}, "", None, UNTRUSTED, 403),
    ({"jwks_uri": "ftp://evil.example"}, "", None, UNTRUSTED, 403),
    ({}, "description", Response("down", 502), DOWN, 503),
    ({}, "description", Response("<html>"), DOWN, 503),
    ({}, "description", Response("[1]"), UNTRUSTED, 403),
    ({}, "description", Response(TOO_LONG), DOWN, 503),
    ({}, "description", Response("", 302, {"location": "https://evil.example"}), DOWN, 503),
    ({"jwks_uri": "http://127.0.0.1:1/"}, "", None, DOWN, 503),
    ({}, "keys", Response("{}"), UNTRUSTED, 403),
    ({}, "keys", Response('{"keys": []}'), UNTRUSTED, 403),
    ({}, "keys", Response("no", 404), DOWN, 503),
]


async def test_a_provider_that_cannot_be_used_is_said_in_words(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    async with browser(tmp_path, hospital) as one:
        for described, what, answer, words, status in UNUSABLE:
            one.page.later(minutes=61)  # nothing is known of it any more
            hospital.described = described
            hospital.page_answer = lambda page, what=what, answer=answer: answer if page == what else None  # type: ignore[misc]  # as they are now
            begun = await one.at_the_page.get(START)
            if begun.status_code == 303:
                begun = await one.back((await one.web.get(begun.headers["location"])).headers["location"])
            one.says(begun, words, status, (described, what))
            assert not await one.is_in()
        hospital.described, hospital.page_answer = {}, lambda _: None
        one.page.later(minutes=61)
        await one.enters()


EXCHANGES = [
    (401, '{"error": "invalid_client"}', UNREGISTERED, 503),
    (401, "{}", UNREGISTERED, 503),
    (400, '{"error": "unauthorized_client"}', UNREGISTERED, 503),
    (400, '{"error": "invalid_grant"}', STALE, 403),
    (400, '{"error": "invalid_request"}', UNTRUSTED, 403),
    (400, '{"error": []}', UNTRUSTED, 403),
    (400, "[]", UNTRUSTED, 403),
    (200, "[]", UNTRUSTED, 403),
    (200, "{}", UNTRUSTED, 403),
    (200, '{"id_token": 7}', UNTRUSTED, 403),
    (200, "", DOWN, 503),
    (500, "", DOWN, 503),
]


async def test_an_exchange_that_fails(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital) as one:
        for status, body, words, answered in EXCHANGES:
            hospital.token_answer = lambda _, body=body, status=status: Response(body, status)  # type: ignore[misc]  # as they are now
            await one.is_refused(words, answered, (status, body))


async def test_a_wrong_secret_is_said_to_be_ours_to_mend(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital, proof=Secret("old")) as one:
        await one.is_refused(UNREGISTERED, 503)
