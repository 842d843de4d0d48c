"""SMART Backend Services (SMART App Launch 2.2): a token for a key, not for a secret that is carried about.

The bridge signs a short-lived assertion with its own private key (private_key_jwt, RFC 7523); the hospital's
authorization server, which knows the public key, gives an access token for it.
"""

import asyncio
import datetime as dt
import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import httpx
import jwt

from wire_format.errors import Misconfigured, Unreachable

ASSERTION_LIVES_S: Final = 240
"""SMART allows five minutes at most; a minute is left for clocks that differ."""
RENEW_BEFORE_S: Final = 30
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_UNAUTHORIZED: Final = 401


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to the authorization server. `key` is private, in PEM; `key_id` names its public half.

    `where` is the key's place in the configuration, for whoever must correct it.
    """

    token_url: str
    client_id: str
    key: str
    key_id: str
    algorithm: Literal["ES256", "ES384", "RS256", "RS384"]
    scope: str
    where: str = "fhir.oauth.key_file"

    def for_(self, token_url: str) -> "Client":
        """Return the same client at another address, as a provider names it."""
        return replace(self, token_url=token_url)

    def assertion(self, now: dt.datetime) -> str:
        """Return a signed statement of who asks; each is good once (`jti`)."""
        seconds = int(now.timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.token_url,
            "iat": seconds,
            "exp": seconds + ASSERTION_LIVES_S,
            "jti": secrets.token_urlsafe(24),
        }
        try:
            return jwt.encode(claims, self.key, self.algorithm, headers={"kid": self.key_id})
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            # AttributeError: PyJWT asks a public key to sign.
            raise Misconfigured(
                f"{self.where} is no private key for {self.algorithm}: make one, and register its "
                "public half with the hospital."
            ) from error


class SmartBackendAuth(httpx.Auth):
    """Gives requests their token: asks for one when there is none, when it ends, and once when it is refused.

    Raises `Misconfigured` if the authorization server refuses us, `Unreachable` if it cannot answer.
    """

    def __init__(self, client: Client, clock: Callable[[], dt.datetime] = _utc_now) -> None:
        self._client, self._clock = client, clock
        self._token: str | None = None
        self._until = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._one = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """See `httpx.Auth`."""
        async with self._one:
            if self._token is None or self._clock() >= self._until:
                await self._take((yield self._ask()))
            used = self._token
        request.headers["Authorization"] = f"Bearer {used}"
        answer = yield request
        if answer.status_code != _UNAUTHORIZED:
            return
        async with self._one:
            if self._token == used:
                await self._take((yield self._ask()))
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request

    def _ask(self) -> httpx.Request:
        form = {
            "grant_type": "client_credentials",
            "scope": self._client.scope,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._client.assertion(self._clock()),
        }
        headers = {"Accept": "application/json"}
        return httpx.Request("POST", self._client.token_url, data=form, headers=headers)

    async def _take(self, answer: httpx.Response) -> None:
        await answer.aread()
        if answer.is_server_error:
            raise Unreachable(
                f"The hospital's authorization server cannot answer now ({answer.status_code}): tried again."
            )
        if not answer.is_success:
            raise Misconfigured(
                f"The hospital's authorization server refuses us ({answer.status_code}): is client_id "
                "registered there, with the public half of fhir.oauth.key_file and these scopes?"
            )
        try:
            given = answer.json()
            token, kind = given["access_token"], given["token_type"]
            lives = dt.timedelta(seconds=int(given.get("expires_in", 60)))
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(
                "The hospital's authorization server answered without a token: check fhir.oauth.token_url."
            ) from error
        if not isinstance(token, str) or str(kind).lower() != "bearer":
            raise Unreachable("The hospital's authorization server gave no bearer token: check it.")
        self._token = token
        self._until = self._clock() + lives - dt.timedelta(seconds=RENEW_BEFORE_S)
