"""A hospital's OpenID Connect provider on loopback: real keys, discovery, key set, code flow with PKCE.

It is strict where a provider must be (client, redirect, code once, verifier), and can be told to misbehave.
It signs with PyJWT, and what is tested reads with joserfc; of our own proof it is the other way round.
"""

import base64
import datetime as dt
import hashlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Annotated, Any
from urllib.parse import unquote_plus, urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from joserfc import jwk
from joserfc import jwt as jose

CLIENT, SECRET = "kiteline page", "s3cret/with+signs:and%more"
Claims = dict[str, Any]


def public_jwk(key: ec.EllipticCurvePrivateKey, kid: str) -> Claims:
    """The public half of a key as providers publish it."""
    found = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return {**found, "kid": kid, "use": "sig", "alg": "ES256"}


def half_hash(token: str) -> str:
    """OpenID Connect Core, 3.1.3.6."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:16]).rstrip(b"=").decode()


@dataclass
class OidcProvider:
    """Whoever signs in is `person`, without being asked; None: a page asks who it is."""

    host: str = "127.0.0.1"
    port: int = 0
    redirect_uri: str = ""
    person: str | None = "n1"
    people: dict[str, Claims] = field(default_factory=dict)
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    client_key: bytes | None = None
    said: Claims = field(default_factory=dict)
    answers: Claims = field(default_factory=dict)
    described: Claims = field(default_factory=dict)
    other_keys: list[Any] = field(default_factory=list)
    token_answer: Callable[[Claims], Response | None] = lambda _: None
    page_answer: Callable[[str], Response | None] = lambda _: None
    sign: Callable[[Claims], str] | None = None
    asked: list[str] = field(default_factory=list)
    seen: list[Claims] = field(default_factory=list)
    codes: dict[str, Claims] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rotate("k1")

    def rotate(self, kid: str) -> None:
        """From now on sign with a new key; the old one is not published any more."""
        self.key, self.kid = ec.generate_private_key(ec.SECP256R1()), kid

    @property
    def issuer(self) -> str:
        return f"http://{self.host}:{self.port}/hospital"

    def app(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.get("/hospital/.well-known/openid-configuration")(self.description)
        app.get("/hospital/keys")(self.keys)
        app.get("/hospital/authorize")(self.authorize)
        app.post("/hospital/authorize")(self.chosen)
        app.post("/hospital/token")(self.token)
        return app

    async def description(self) -> Response:
        self.asked.append("description")
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.described,
        }
        return self.page_answer("description") or JSONResponse(document)

    async def keys(self) -> Response:
        self.asked.append("keys")
        listed = [*self.other_keys, public_jwk(self.key, self.kid)]
        return self.page_answer("keys") or JSONResponse({"keys": listed})

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        right = asked["client_id"] == CLIENT and asked["redirect_uri"] == self.redirect_uri
        if not right or asked["response_type"] != "code" or asked["code_challenge_method"] != "S256":
            return Response("not registered", status_code=400)
        if self.person is not None:
            return self.back(self.person, asked)
        fields = "".join(
            f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in asked.items()
        )
        return HTMLResponse(
            f"<title>Hospital</title><form method=post>{fields}<input name=person autofocus></form>"
        )

    async def chosen(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        return self.back(form.pop("person"), form)

    def back(self, person: str, asked: Claims) -> Response:
        """Send the browser back with a code, and with what `answers` adds or takes away (None)."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**asked, "person": person}
        answer = {"code": code, "state": asked["state"], "iss": self.issuer, **self.answers}
        query = urlencode({name: value for name, value in answer.items() if value is not None})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}", status_code=302)

    async def token(  # noqa: PLR0917 - the form of RFC 6749 4.1.3
        self,
        request: Request,
        grant_type: Annotated[str, Form()],
        code: Annotated[str, Form()],
        redirect_uri: Annotated[str, Form()],
        code_verifier: Annotated[str, Form()],
        client_id: Annotated[str, Form()] = "",
        client_secret: Annotated[str, Form()] = "",
        client_assertion: Annotated[str, Form()] = "",
    ) -> Response:
        self.asked.append("token")
        basic = request.headers.get("authorization", "").removeprefix("Basic ")
        if basic:
            client_id, client_secret = map(unquote_plus, base64.b64decode(basic).decode().split(":"))
        if client_id != CLIENT or not (client_secret == SECRET or self._proved(client_assertion)):
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        asked = self.codes.pop(code, None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=")
        if (
            asked is None
            or grant_type != "authorization_code"
            or asked["redirect_uri"] != redirect_uri
            or asked["code_challenge"] != challenge.decode()
        ):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        self.seen.append({**asked, "by": "basic" if basic else "form"})
        return self.token_answer(asked) or JSONResponse(self._tokens(asked))

    def _tokens(self, asked: Claims) -> Claims:
        now, access = int(self.clock().timestamp()), secrets.token_urlsafe(16)
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": f"subject-of-{asked['person']}",
            "exp": now + 300,
            "iat": now,
            "auth_time": now,
            "nonce": asked.get("nonce"),
            "acr": "two-factors",
            "amr": ["pwd", "otp"],
            "at_hash": half_hash(access),
            **self.people.get(asked["person"], {}),
            **self.said,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        token = self.signed(claims) if self.sign is None else self.sign(claims)
        return {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def signed(self, claims: Claims, *, kid: str | None = None) -> str:
        return jwt.encode(claims, self.key, "ES256", headers={"kid": kid or self.kid})

    def _proved(self, assertion: str) -> bool:
        """RFC 7523, section 3: signed by the client, for this endpoint, once."""
        if self.client_key is None or not assertion:
            return False
        token = jose.decode(assertion, jwk.ECKey.import_key(self.client_key), ["ES384"])
        claims = token.claims
        return bool(
            claims["iss"] == claims["sub"] == CLIENT
            and claims["aud"] == f"{self.issuer}/token"
            and token.header["kid"] == "ours-1"
        )


@contextmanager
def running(host: str = "127.0.0.1") -> Iterator[OidcProvider]:
    """Run one in a thread of its own, on a free port."""
    provider = OidcProvider(host)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider.port = listener.getsockname()[1]
        config = uvicorn.Config(provider.app(), log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.01)
            yield provider
        finally:
            server.should_exit = True
            thread.join()


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
