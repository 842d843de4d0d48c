"""Talks to the hospital's OpenID Connect provider: its description, its keys, and the exchange of a code."""

import asyncio
import datetime as dt
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

import httpx
from joserfc.jwk import KeySet

from cloud_bridge.access.oidc import (
    Attempt,
    Identity,
    Metadata,
    NotSignedIn,
    Relying,
    UnknownKey,
    Why,
    authorization_url,
    code_of,
    discovery_url,
    identity,
    keys_of,
    metadata,
)
from cloud_bridge.access.oidc_logout import Logout, logout_of
from cloud_bridge.connectors.smart_backend import Client
from service_kit.log import Log

KNOWN_FOR: Final = dt.timedelta(hours=1)
"""How long a description and keys are used without asking again. An unknown key is asked for at once."""
ANEW: Final = dt.timedelta(minutes=1)
MOST_BYTES: Final = 1 << 20
WHOLE: Final = 3
"""A provider that says a byte now and then is given this many times its time, and no more."""
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_OK: Final = 200
_REFUSES_US: Final = frozenset({"invalid_client", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class Secret:
    """What proves to the provider who asks: a secret, for those who have no key there."""

    value: str


Proof = Secret | Client


class Provider:
    """One provider. What is known of it is fetched when it is needed, so the bridge starts without it."""

    def __init__(  # noqa: PLR0913 - who we are, how we prove it, and how patient we are
        self,
        relying: Relying,
        proof: Proof,
        clock: Callable[[], dt.datetime],
        log: Log,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 5,
    ) -> None:
        self.relying = relying
        self._proof, self._clock, self._log = proof, clock, log
        self._timeout_s = timeout_s
        self._tls = tls or ssl.create_default_context()
        self._described: tuple[dt.datetime, Metadata] | None = None
        self._keys: tuple[dt.datetime, KeySet] | None = None

    async def begin(self) -> tuple[Attempt, str]:
        """Return a new attempt, and where the browser goes. Raises `NotSignedIn`."""
        attempt = Attempt(self._clock())
        return attempt, authorization_url(self.relying, await self._metadata(), attempt)

    async def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> Identity:
        """Return who it is that came back with an answer. Raises `NotSignedIn`."""
        provider = await self._metadata()
        given = await self._exchange(provider, code_of(answer, self.relying, provider), attempt)
        try:
            return self._identity(given, await self._key_set(provider), attempt)
        except UnknownKey:
            self._keys = None
        try:
            return self._identity(given, await self._key_set(provider), attempt)
        except UnknownKey as error:
            raise NotSignedIn(Why.UNTRUSTED, str(error)) from error

    async def logout(self, token: str) -> Logout:
        """Return whose sessions a logout token ends. Raises `NotSignedIn`.

        Anybody can send one that nobody signed: keys are fetched for it once a minute at most.
        """
        provider = await self._metadata()
        try:
            return logout_of(token, await self._key_set(provider), self.relying, self._clock())
        except UnknownKey as error:
            if self._keys is not None and self._clock() - self._keys[0] < ANEW:
                raise NotSignedIn(Why.UNTRUSTED, str(error)) from error
            self._keys = None
        try:
            return logout_of(token, await self._key_set(provider), self.relying, self._clock())
        except UnknownKey as error:
            raise NotSignedIn(Why.UNTRUSTED, str(error)) from error

    def _identity(self, given: Mapping[str, Any], keys: KeySet, attempt: Attempt) -> Identity:
        return identity(given, keys, self.relying, attempt, self._clock())

    def says(self, error: NotSignedIn) -> None:
        """Write down why somebody is not in, without saying who."""
        self._log.warning("oidc_not_signed_in", kind=error.why.value, reason=str(error))

    def ended(self, count: int) -> None:
        """Write down that the provider ended sessions here, without saying whose."""
        self._log.info("oidc_signed_out", count=count)

    async def _metadata(self) -> Metadata:
        if self._described is None or self._clock() - self._described[0] >= KNOWN_FOR:
            _, document = await self._asked("GET", discovery_url(self.relying.issuer), wants=_OK)
            self._described = self._clock(), metadata(document, self.relying.issuer)
        return self._described[1]

    async def _key_set(self, provider: Metadata) -> KeySet:
        if self._keys is None or self._clock() - self._keys[0] >= KNOWN_FOR:
            _, document = await self._asked("GET", provider.jwks_uri, wants=_OK)
            self._keys = self._clock(), keys_of(document)
        return self._keys[1]

    async def _exchange(self, provider: Metadata, code: str, attempt: Attempt) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.relying.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        added, auth = self._proved(provider)
        status, answer = await self._asked("POST", provider.token_endpoint, form={**form, **added}, auth=auth)
        if status == _OK and isinstance(answer, dict):
            return answer
        reason = str(answer.get("error")) if isinstance(answer, dict) else ""
        if reason in _REFUSES_US or status == httpx.codes.UNAUTHORIZED:
            raise NotSignedIn(
                Why.UNREGISTERED,
                "The provider does not accept our proof: check page.oidc.client_id, and its secret or key.",
            )
        if reason == "invalid_grant":
            raise NotSignedIn(Why.STALE, "The provider does not accept the code: it was used, or is too old.")
        raise NotSignedIn(Why.UNTRUSTED, f"The provider gave no token ({status}): see its log.")

    def _proved(self, provider: Metadata) -> tuple[dict[str, str], httpx.Auth | None]:
        """Return what the form and the header say to prove who asks (RFC 6749 2.3.1, RFC 7523 2.2)."""
        name = self.relying.client_id
        if isinstance(self._proof, Client):
            signed = self._proof.for_(provider.token_endpoint).assertion(self._clock())
            return {"client_id": name, "client_assertion_type": _ASSERTION, "client_assertion": signed}, None
        methods = provider.token_endpoint_auth_methods_supported
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            return {"client_id": name, "client_secret": self._proof.value}, None
        return {}, httpx.BasicAuth(quote_plus(name), quote_plus(self._proof.value))

    async def _asked(
        self,
        method: str,
        url: str,
        *,
        form: dict[str, str] | None = None,
        auth: httpx.Auth | None = None,
        wants: int | None = None,
    ) -> tuple[int, object]:
        """Return status and JSON of an answer; raise `NotSignedIn` if there is none in time."""
        client = httpx.AsyncClient(timeout=self._timeout_s, verify=self._tls, follow_redirects=False)
        headers = {"Accept": "application/json"}
        try:
            async with asyncio.timeout(WHOLE * self._timeout_s), client:
                asking = client.stream(method, url, data=form, headers=headers, auth=auth)
                async with asking as answer:
                    body = await _body(answer)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _unreachable(type(error).__name__) from error
        if answer.is_server_error or wants not in {None, answer.status_code}:
            raise _unreachable(f"{answer.status_code}")
        try:
            return answer.status_code, json.loads(body)
        except ValueError as error:
            raise _unreachable("what it says is no JSON") from error


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > MOST_BYTES:
            raise httpx.DecodingError("too long")
    return bytes(body)


def _unreachable(how: str) -> NotSignedIn:
    return NotSignedIn(
        Why.UNREACHABLE, f"The hospital's provider does not answer ({how}): see page.oidc.issuer."
    )
