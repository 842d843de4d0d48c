"""Signing in and out. Whatever was wrong, one sentence is answered, and a guess costs an attempt."""

import asyncio
import datetime as dt
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.api.room import Room
from cloud_bridge.api.session import COOKIE
from cloud_bridge.console.people import Accounts

FORM_COOKIE: Final = "kiteline_form"
MAX_WORD: Final = 256
TRIES: Final = 20
WITHIN: Final = dt.timedelta(minutes=5)
AT_ONCE: Final = 2
"""Passwords that are compared at the same time: each takes 64 MiB of memory."""
MAX_ADDRESSES: Final = 1000


@dataclass(slots=True)
class Tries:
    """Attempts by address that did not end well, within the last minutes."""

    clock: Callable[[], dt.datetime]
    _at: dict[str, list[dt.datetime]] = field(default_factory=dict)

    def take(self, address: str) -> bool:
        """Count an attempt before it is looked at; False if there were too many."""
        now = self.clock()
        lately = {who: [at for at in when if now - at < WITHIN] for who, when in self._at.items()}
        self._at = {who: when for who, when in lately.items() if when}
        mine = self._at.get(address, [])
        if len(mine) >= TRIES or (not mine and len(self._at) >= MAX_ADDRESSES):
            return False
        self._at[address] = [*mine, now]
        return True

    def give_back(self, address: str) -> None:
        """Forget an attempt that ended well."""
        if self._at.get(address):
            self._at[address].pop()


class SignIn:
    """The routes."""

    def __init__(self, room: Room, accounts: Accounts) -> None:
        self._room = room
        self._accounts = accounts
        self._tries = Tries(room.page.clock)
        self._turn = asyncio.Semaphore(AT_ONCE)

    def register(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get("/sign-in")(self.ask)
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

    async def _right(self, name: str, password: str, code: str) -> bool:
        if max(len(name), len(password), len(code)) > MAX_WORD or not name.isprintable():
            return False
        clock, loop = self._room.page.clock, asyncio.get_running_loop()
        async with self._turn:
            begun = loop.time()
            found = await run_in_threadpool(self._accounts.sign_in, name, password, code, clock())
        if found is None:
            # A failure of an account that exists is written down, which takes longer than none to write.
            await asyncio.sleep(max(0.0, begun + self._room.page.wrong_takes_s - loop.time()))
        return found is not None

    def _form(self, request: Request, status: int, *, wrong: bool = False) -> Response:
        token = secrets.token_urlsafe(32)
        answer = self._room.render(request, "sign_in.html", None, status, csrf=token, wrong=wrong)
        answer.set_cookie(FORM_COOKIE, token, httponly=True, samesite="strict", path="/")
        return answer
