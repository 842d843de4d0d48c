"""Signing in with the hospital's own account: off to its provider, and back to the inbox, nowhere else."""

import datetime as dt
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.oidc import MOST_WORD, Attempt, Identity, NotSignedIn, Why
from cloud_bridge.access.oidc_logout import Logouts
from cloud_bridge.access.provider import Provider
from cloud_bridge.api.room import Room
from cloud_bridge.api.session import COOKIE
from cloud_bridge.api.tries import Tries
from cloud_bridge.console.people import Accounts

START: Final = "/sign-in/hospital"
BACK: Final = "/sign-in/hospital/return"
LOGOUT: Final = "/sign-in/hospital/logout"
ATTEMPT_COOKIE: Final = "kiteline_attempt"
WAY: Final = "the hospital's provider"
"""How the record calls this way in."""
LASTS: Final = dt.timedelta(minutes=10)
MAX_ATTEMPTS: Final = 1000


@dataclass(slots=True)
class Attempts:
    """Sign-ins under way, by their state; each is of one browser, and is taken once."""

    clock: Callable[[], dt.datetime]
    _open: dict[str, tuple[Attempt, str]] = field(default_factory=dict)

    def begin(self, attempt: Attempt) -> str:
        """Keep an attempt; return what its browser must show when it comes back."""
        now, browser = self.clock(), secrets.token_urlsafe(32)
        self._open = {s: one for s, one in self._open.items() if now - one[0].begun < LASTS}
        while len(self._open) >= MAX_ATTEMPTS:
            self._open.pop(next(iter(self._open)))
        self._open[attempt.state] = attempt, browser
        return browser

    def take(self, state: str, browser: str) -> Attempt:
        """Return the attempt of a state, and forget it; raise `NotSignedIn` if it is not this browser's.

        An answer that comes by another browser does not end the attempt: else anybody could end it.
        """
        attempt, own = self._open.get(state, (None, ""))
        if attempt is None or not hmac.compare_digest(own.encode(), browser.encode()):
            raise NotSignedIn(Why.STALE, "An answer came that was not begun in this browser, or came twice.")
        del self._open[state]
        if self.clock() - attempt.begun >= LASTS:
            raise NotSignedIn(Why.STALE, "An answer came more than ten minutes after it was asked for.")
        return attempt


class HospitalSignIn:
    """The routes. `refused` shows the sign-in page with what is said of somebody who is not in."""

    def __init__(
        self,
        room: Room,
        accounts: Accounts,
        provider: Provider,
        refused: Callable[[Request, NotSignedIn], Response],
    ) -> None:
        self._room, self._accounts, self._provider, self._refused = room, accounts, provider, refused
        self._attempts = Attempts(room.page.clock)
        self._tries = Tries(room.page.clock)
        self._logouts = Logouts()
        self._host = urlsplit(provider.relying.redirect_uri).netloc

    def register(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get(START)(self.begin)
        app.get(BACK)(self.come_back)
        app.post(LOGOUT)(self.sign_out)

    async def begin(self, request: Request) -> Response:
        """Send a browser to the provider, with a cookie that it must show when it comes back.

        The provider sends it to one address; a browser that is at another name of ours goes there first.
        """
        if request.headers.get("host", "") != self._host:
            return RedirectResponse(f"http://{self._host}{START}", status_code=303)
        try:
            attempt, where = await self._provider.begin()
        except NotSignedIn as error:
            return self._said(request, error)
        answer = RedirectResponse(where, status_code=303)
        # Lax: it must come along when the provider, which is another site, sends the browser back.
        answer.set_cookie(
            ATTEMPT_COOKIE, self._attempts.begin(attempt), httponly=True, samesite="lax", path=START
        )
        return answer

    async def come_back(self, request: Request) -> Response:
        """Let somebody in for whom the provider vouches, and whom an account here is bound to."""
        try:
            said, attempt = self._answer(request)
        except NotSignedIn as error:
            return self._said(request, error)  # nobody's attempt: there is nothing to put on record
        try:
            name, who = await self._name(said, attempt)
        except NotSignedIn as error:
            await self._note(request, error)
            return self._said(request, error)
        self._room.sessions.end(request.cookies.get(COOKIE))
        stamp = await run_in_threadpool(self._accounts.stamp, name)
        if self._logouts.ended(who):
            late = NotSignedIn(Why.STALE, "The provider ended the session by which somebody was coming in.")
            return self._said(request, late)
        key = self._room.sessions.begin(name, stamp, who)
        # A page and not a redirection: what follows from another site's does not carry a strict cookie.
        answer = self._room.render(request, "signed_in.html", None)
        answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", path="/")
        answer.delete_cookie(ATTEMPT_COOKIE, path=START)
        return answer

    def _answer(self, request: Request) -> tuple[Mapping[str, str], Attempt]:
        said = request.query_params
        if len(said.multi_items()) != len(said) or any(len(value) > MOST_WORD for value in said.values()):
            raise NotSignedIn(Why.STALE, "An answer came that says something twice, or at too great length.")
        return said, self._attempts.take(said.get("state", ""), request.cookies.get(ATTEMPT_COOKIE, ""))

    async def sign_out(self, logout_token: Annotated[str, Form()] = "") -> Response:
        """End what the provider ended (back-channel logout): it asks, and no browser of anybody's."""
        try:
            one = await self._provider.logout(logout_token)
            self._logouts.take(one, self._room.page.clock())
        except NotSignedIn as error:
            self._provider.says(error)
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        self._provider.ended(self._room.sessions.end_of(one))
        return Response(status_code=200)

    async def _name(self, said: Mapping[str, str], attempt: Attempt) -> tuple[str, Identity]:
        who = await self._provider.finish(attempt, said)
        account = await run_in_threadpool(self._accounts.vouched, who, self._room.page.clock())
        if not await self._room.signs_in(account, WAY):
            raise NotSignedIn(Why.INACTIVE, "The policies do not let this account in.")
        return account.name, who

    async def _note(self, request: Request, error: NotSignedIn) -> None:
        """Put on record who did not come in; of very many only the first ones, the log has them all."""
        if not self._tries.take(request.client.host if request.client is not None else ""):
            return
        known = await run_in_threadpool(self._accounts.account, error.account) if error.account else None
        whom = f", subject {error.subject}" if error.subject else ""
        await self._room.not_in(known, f"{WAY}: {error.why.value}{whom}")

    def _said(self, request: Request, error: NotSignedIn) -> Response:
        self._provider.says(error)
        return self._refused(request, error)
