"""Somebody with a browser, the page that has a provider, and that provider."""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from cloud_bridge.access.model import Role
from cloud_bridge.access.oidc import Local, Relying
from cloud_bridge.access.provider import Proof, Provider, Secret
from cloud_bridge.api.hospital_sign_in import BACK, START
from cloud_bridge.api.room import Door
from cloud_bridge.api.session import COOKIE
from tests.doubles.oidc_provider import CLIENT, SECRET, OidcProvider
from tests.doubles.page_visitor import HOST, Filling, Visitor, visitor

UNTRUSTED = "cannot be trusted"
STALE = "begun elsewhere, took too long, or was used before"
WEAK = "did not ask for your second factor"
UNKNOWN = "no account here is bound to you"
INACTIVE = "your account here is switched off"
DOWN = "does not answer now"
UNREGISTERED = "does not accept this page"
DECLINED = "did not let you in"
OTHER = ec.generate_private_key(ec.SECP256R1())
OURS = ec.generate_private_key(ec.SECP384R1())


@dataclass
class Browser:
    """Somebody with a browser, the page, and the hospital's provider."""

    page: Visitor
    hospital: OidcProvider
    web: httpx.AsyncClient
    at_the_page: httpx.AsyncClient

    async def start(self) -> str:
        """Press the button; return where the browser is sent."""
        answer = await self.at_the_page.get(START)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def leave(self) -> str:
        """Press the button and sign in there; return where the browser is sent back to."""
        answer = await self.web.get(await self.start())
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def back(self, where: str) -> httpx.Response:
        assert where.startswith(f"http://{HOST}{BACK}?")
        return await self.at_the_page.get(where)

    async def sign_in(self) -> httpx.Response:
        return await self.back(await self.leave())

    async def inbox(self) -> httpx.Response:
        return await self.at_the_page.get("/")

    async def is_in(self) -> bool:
        return (await self.inbox()).status_code == 200

    async def is_refused(self, words: str, status: int = 403, what: object = "") -> None:
        answer = await self.sign_in()
        self.says(answer, words, status, what)
        assert not await self.is_in()

    async def enters(self) -> None:
        assert (await self.sign_in()).status_code == 200
        self.at_the_page.cookies.clear()

    def says(self, answer: httpx.Response, words: str, status: int = 403, what: object = "") -> None:
        said = words in answer.text.replace("&#39;", "'")
        assert (answer.status_code, said) == (status, True), (what, answer.text)
        assert 'role="alert"' in answer.text
        assert COOKIE not in answer.headers.get("set-cookie", "")


@asynccontextmanager
async def browser(
    folder: Path,
    hospital: OidcProvider,
    *,
    proof: Proof = Secret(SECRET),  # noqa: B008 - a value
    local: Local = Local.ADMINISTRATORS,
    filled: Filling | None = None,
    timeout_s: float = 5,
    **changes: Any,
) -> AsyncIterator[Browser]:
    relying = Relying(hospital.issuer, CLIENT, f"http://{HOST}{BACK}", amr=("otp", "hwk"))
    relying = replace(relying, **{"account_claim": "staff_number", **changes})

    def door(clock: Callable[[], dt.datetime]) -> Door:
        hospital.clock = clock
        # Not cached at its first use: a test takes down what it says.
        return Door(Provider(relying, proof, clock, structlog.get_logger(), timeout_s=timeout_s), local)

    hospital.people = {"n1": {"staff_number": "n1"}, "n2": {"staff_number": "n2"}}
    async with visitor(folder, filled=filled, accounts=True, door=door) as page:
        page.hire("n1", Role.NURSE)
        page.http.follow_redirects = False
        async with httpx.AsyncClient() as web:
            yield Browser(page, hospital, web, page.http)
