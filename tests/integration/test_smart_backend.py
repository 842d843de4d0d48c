"""SMART Backend Services against an authorization server that another implementation of JOSE runs."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwk
from joserfc import jwt as jose

from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.connectors.smart_backend import ASSERTION_LIVES_S, Client, SmartBackendAuth
from wire_format.errors import Misconfigured, Unreachable

NOW = dt.datetime(2026, 11, 24, 8, tzinfo=dt.UTC)
KEY = ec.generate_private_key(ec.SECP384R1())
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
EMPTY = b'{"resourceType": "Bundle", "type": "searchset"}'


class Hospital:
    """Gives tokens to who proves to be `kiteline`, each assertion once; serves FHIR to who holds one."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[dict[str, Any]] = []
        self.live: set[str] = set()
        self.seen: set[str] = set()
        self.served = 0
        self.expires_in: object = 300
        self.odd: bytes | None = None
        self.status = "200 OK"

    @property
    def token_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        status, answer = self.token(body) if head.startswith("POST /token") else self.fhir(headers)
        length = f"Content-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{length}".encode() + answer)
        await writer.drain()
        writer.close()

    def token(self, body: bytes) -> tuple[str, bytes]:
        if self.odd is not None or not self.status.startswith("200"):
            return self.status, self.odd or b""
        form = {name: value[0] for name, value in parse_qs(body.decode()).items()}
        token = jose.decode(form["client_assertion"], jwk.ECKey.import_key(PUBLIC), ["ES384"])
        claims = token.claims
        right = claims["iss"] == claims["sub"] == "kiteline" and claims["aud"] == self.token_url
        if not right or claims["jti"] in self.seen or token.header["kid"] != "k1":
            return "401 Unauthorized", b'{"error": "invalid_client"}'
        self.seen.add(claims["jti"])
        self.asked.append({**form, **claims})
        self.live = {f"t{len(self.asked)}"}
        given = {"access_token": f"t{len(self.asked)}", "token_type": "bearer", "expires_in": self.expires_in}
        return "200 OK", json.dumps(given).encode()

    def fhir(self, headers: dict[str, str]) -> tuple[str, bytes]:
        if headers.get("authorization", "").removeprefix("bearer ") not in self.live:
            return "401 Unauthorized", b""
        self.served += 1
        return "200 OK", EMPTY


@asynccontextmanager
async def hospital() -> AsyncIterator[Hospital]:
    one = Hospital()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        yield one


def connector(
    one: Hospital, clock: Callable[[], dt.datetime] = lambda: NOW, **changes: Any
) -> FhirR4Connector:
    fields = {
        "client_id": "kiteline",
        "key": PEM,
        "key_id": "k1",
        "algorithm": "ES384",
        "scope": "system/Task.rs",
    }
    client = Client(token_url=one.token_url, **{**fields, **changes})
    return FhirR4Connector(f"http://127.0.0.1:{one.port}/fhir", auth=SmartBackendAuth(client, clock))


async def ask(fhir: FhirR4Connector, times: int = 1) -> None:
    for _ in range(times):
        assert list(await fhir.work_reports([UUID(int=1)])) == []


async def test_one_token_serves_many_requests_and_is_asked_for_once() -> None:
    async with hospital() as one, connector(one) as fhir:
        await asyncio.gather(*(ask(fhir) for _ in range(8)))
        assert (len(one.asked), one.served) == (1, 8)
        (asked,) = one.asked
        assert asked["grant_type"] == "client_credentials"
        assert asked["scope"] == "system/Task.rs"
        assert asked["exp"] - asked["iat"] == ASSERTION_LIVES_S


async def test_a_token_is_renewed_before_it_ends_and_when_it_is_taken_away() -> None:
    now = [NOW]
    async with hospital() as one, connector(one, lambda: now[0]) as fhir:
        await ask(fhir, 2)
        now[0] += dt.timedelta(seconds=271)
        await ask(fhir)
        assert len(one.asked) == 2
        one.live = set()
        await ask(fhir)
        assert len({asked["jti"] for asked in one.asked}) == 3


@pytest.mark.parametrize("changes", [{"client_id": "stranger"}, {"key_id": "k2"}])
async def test_who_is_not_known_there_is_told_what_to_do(changes: dict[str, str]) -> None:
    async with hospital() as one, connector(one, **changes) as fhir:
        with pytest.raises(Misconfigured, match="client_id"):
            await ask(fhir)


@pytest.mark.parametrize("key", ["", "no key", PUBLIC.decode()])
async def test_a_key_that_is_none_is_named(key: str) -> None:
    async with hospital() as one, connector(one, key=key) as fhir:
        with pytest.raises(Misconfigured, match="key_file"):
            await ask(fhir)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("503 Busy", None),
        ("200 OK", b"<html>"),
        ("200 OK", b"{}"),
        ("200 OK", b'{"access_token": 1, "token_type": "bearer"}'),
        ("200 OK", b'{"access_token": "x", "token_type": "mac"}'),
        ("200 OK", b'{"access_token": "x", "token_type": "bearer", "expires_in": "soon"}'),
    ],
)
async def test_a_server_that_gives_no_token_is_tried_again(status: str, body: bytes | None) -> None:
    async with hospital() as one, connector(one) as fhir:
        one.status, one.odd = status, body
        with pytest.raises(Unreachable):
            await ask(fhir)
        one.status, one.odd = "200 OK", None
        await ask(fhir)
        assert one.served == 1


async def test_a_token_that_is_refused_at_once_is_not_asked_for_for_ever() -> None:
    async with hospital() as one, connector(one) as fhir:
        one.fhir = lambda _: ("401 Unauthorized", b"")  # type: ignore[method-assign]  # a server that trusts nobody
        with pytest.raises(Misconfigured, match="401"):
            await ask(fhir)
        assert len(one.asked) == 2
