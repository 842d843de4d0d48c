"""Signing in and out. Whatever was wrong, one sentence is answered, and a guess costs an attempt."""

import asyncio
import hmac
import secrets
from typing import Annotated, Final

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.model import Account, Role
from cloud_bridge.access.oidc import Local, NotSignedIn, Why
from cloud_bridge.api.hospital_sign_in import START
from cloud_bridge.api.room import Room
from cloud_bridge.api.session import COOKIE
from cloud_bridge.api.tries import Tries
from cloud_bridge.console.people import Accounts

FORM_COOKIE: Final = "kiteline_form"
MAX_WORD: Final = 256
WAY: Final = "password and code"
"""How the record calls this way in."""
_NOT_RIGHT: Final = "not right, or the account is locked or off"
AT_ONCE: Final = 2
"""Passwords that are compared at the same time: each takes 64 MiB of memory."""
REFUSED: Final = {
    Why.DECLINED: (403, "The hospital's sign-in did not let you in. Try again, or ask those who run it."),
    Why.STALE: (403, "This sign-in was begun elsewhere, took too long, or was used before. Begin again."),
    Why.UNTRUSTED: (
        403,
        "What the hospital's sign-in answered cannot be trusted. Tell those who look after Kiteline.",
    ),
    Why.WEAK: (
        403,
        "The hospital's sign-in did not ask for your second factor just now. Sign out there, and in again.",
    ),
    Why.UNREACHABLE: (503, "The hospital's sign-in does not answer now. Try again in a few minutes."),
    Why.UNREGISTERED: (
        503,
        "The hospital's sign-in does not accept this page. Tell those who look after Kiteline.",
    ),
    Why.UNKNOWN: (
        403,
        "The hospital knows you, but no account here is bound to you. Ask your administrator.",
    ),
    Why.INACTIVE: (
        403,
        "The hospital knows you, but your account here is switched off. Ask your administrator.",
    ),
}
"""What each reason is answered with: a status, and a sentence of the catalogue."""


class SignIn:
    """The routes."""

    def __init__(self, room: Room, accounts: Accounts) -> None:
        self._room = room
        self._accounts = accounts
        self._tries = Tries(room.page.clock)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._door = room.page.door
        self._local = Local.EVERYBODY if self._door is None else self._door.local

    def register(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get("/sign-in")(self.ask)
        if self._local is not Local.NOBODY:
            app.post("/sign-in")(self.enter)
        app.post("/sign-out")(self.leave)

    async def ask(self, request: Request) -> Response:
        """Show the form."""
        return self._form(request, 200)

    async def enter(
        self,
        request: Request,
        csrf: Annotated[str, Form()] = "",
        name: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        code: Annotated[str, Form()] = "",
    ) -> Response:
        """Let somebody in who knows the password and has the phone."""
        sent = request.cookies.get(FORM_COOKIE, "")
        if not sent or not hmac.compare_digest(sent.encode(), csrf.encode()):
            return self._room.message(request, 403, "That form is too old. Nothing was changed: go back.")
        address = request.client.host if request.client is not None else ""
        if not self._tries.take(address):
            return self._form(request, 429, wrong=True)
        if not await self._right(name, password, code):
            return self._form(request, 403, wrong=True)
        self._tries.give_back(address)
        self._room.sessions.end(request.cookies.get(COOKIE))
        answer = RedirectResponse("/", status_code=303)
        stamp = await run_in_threadpool(self._accounts.stamp, name)
        key = self._room.sessions.begin(name, stamp)
        answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", path="/")
        answer.delete_cookie(FORM_COOKIE, path="/")
        return answer

    async def leave(self, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        """End the session."""
        visit = await self._room.form(request, csrf)
        if isinstance(visit, Response):
            return visit
        self._room.sessions.end(request.cookies.get(COOKIE))
        answer = RedirectResponse("/sign-in", status_code=303)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    def refused(self, request: Request, error: NotSignedIn) -> Response:
        """Show the form to somebody whom the hospital's provider did not bring in, and say why."""
        status, sentence = REFUSED[error.why]
        said = self._room.words(request).say(sentence)
        return self._form(request, status, refused=said, subject=error.subject)

    async def _right(self, name: str, password: str, code: str) -> bool:
        if max(len(name), len(password), len(code)) > MAX_WORD or not name.isprintable():
            await self._room.not_in(None, f"{WAY}: {_NOT_RIGHT}")
            return False
        clock, loop = self._room.page.clock, asyncio.get_running_loop()
        async with self._turn:
            begun = loop.time()
            found = await run_in_threadpool(self._accounts.sign_in, name, password, code, clock())
        inside = await self._noted(name, found)
        if not inside:
            # A failure of an account that exists is written down, which takes longer than none to write.
            await asyncio.sleep(max(0.0, begun + self._room.page.wrong_takes_s - loop.time()))
        return inside

    async def _noted(self, name: str, found: Account | None) -> bool:
        """Tell whether somebody comes in; that they did, or did not, is on record before it is answered."""
        if found is None:
            known = await run_in_threadpool(self._accounts.account, name)
            await self._room.not_in(known, f"{WAY}: {_NOT_RIGHT}")
            return False
        if self._local is Local.ADMINISTRATORS and found.role is not Role.ADMINISTRATOR:
            await self._room.not_in(found, f"{WAY}: only administrators, others at the hospital's provider")
            return False
        return await self._room.signs_in(found, WAY)

    def _form(
        self, request: Request, status: int, *, wrong: bool = False, refused: str = "", subject: str = ""
    ) -> Response:
        token = secrets.token_urlsafe(32)
        answer = self._room.render(
            request,
            "sign_in.html",
            None,
            status,
            csrf=token,
            wrong=wrong,
            refused=refused,
            subject=subject,
            hospital=None if self._door is None else START,
            local=self._local.value,
        )
        answer.set_cookie(FORM_COOKIE, token, httponly=True, samesite="strict", path="/")
        return answer
