"""What all routes of the page share: who is in, in which language, and how an answer is made."""

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.engine import Engine
from cloud_bridge.access.guard import Guard
from cloud_bridge.access.model import Account, Action
from cloud_bridge.access.oidc import Local
from cloud_bridge.access.provider import Provider
from cloud_bridge.access.sight import ByLink, Guarded, Sight
from cloud_bridge.api.session import COOKIE, Session, Sessions
from cloud_bridge.console.inbox import Record
from cloud_bridge.console.language import LANGUAGES, Language, chosen
from cloud_bridge.console.people import ROLES, Accounts

LANGUAGE_COOKIE: Final = "kiteline_language"
RENEWS: Final = "renews"
"""A page that renews itself says so in its address: nobody did anything."""
_PAGES: Final = frozenset({"/", "/sign-in", "/audit", "/mine", "/resolved"})
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": with that, browsers send our own forms as from "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Door:
    """The way in by the hospital's own provider, and whose local account still opens beside it."""

    provider: Provider
    local: Local


@dataclass(frozen=True, slots=True)
class Page:
    """What the application is built from. `hosts` are the names it may be called by.

    With `accounts` people sign in and policies decide; without, whoever has a link sees everything. A wrong
    sign-in is answered after `wrong_takes_s` at the earliest.
    """

    record: Record
    redeem: Callable[[str], bool]
    acknowledged: Callable[[], None]
    clock: Callable[[], dt.datetime]
    zone: dt.tzinfo
    hosts: frozenset[str]
    accounts: Accounts | None = None
    wrong_takes_s: float = 0.5
    door: Door | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is in, for one request."""

    session: Session
    sight: Sight
    account: Account | None = None


class Room:
    """Who is in, and the way that every answer leaves."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sessions = Sessions(page.redeem, page.clock)
        self._guard = None if page.accounts is None else Guard(Engine(), page.accounts, page.clock)
        self._templates = Environment(
            loader=PackageLoader("cloud_bridge.console"), autoescape=True, undefined=StrictUndefined
        )

    async def guard(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse foreign names (a name that was bound to loopback elsewhere) and foreign forms."""
        host = request.headers.get("host", "")
        answer: Response
        if host not in self.page.hosts:
            answer = self.message(request, 421, "This page answers under its own address only.")
        elif request.method == "POST" and not _own_form(request, host):
            answer = self.message(request, 403, "That form came from another page. Nothing was changed.")
        else:
            answer = await call_next(request)
        answer.headers.update(_HEADERS)
        return answer

    async def visit(self, request: Request) -> Visit | None:
        """Return who is in, None if nobody is. Accounts are looked up anew: one may be off by now."""
        key = request.cookies.get(COOKIE)
        session = self.sessions.of(key, acts=RENEWS not in request.query_params)
        if session is None:
            return None
        if self._guard is None or session.account is None:
            return Visit(session, ByLink())
        account, stamp = await run_in_threadpool(self._as_now, session.account)
        if account is None or not account.active or stamp != session.stamp:
            self.sessions.end(key)
            return None
        opened = session.opened(self.page.clock())
        return Visit(session, Guarded(self._guard, account, opened), account)

    def _as_now(self, name: str) -> tuple[Account | None, str]:
        accounts = self.page.accounts
        return (None, "") if accounts is None else (accounts.account(name), accounts.stamp(name))

    async def form(self, request: Request, csrf: str) -> Visit | Response:
        """Return who sent a form, or what is answered in place of doing what it asks."""
        visit = await self.visit(request)
        if visit is None:
            return self.outside(request)
        if not visit.session.wrote(csrf):
            return self.message(request, 403, "That form is too old. Nothing was changed: go back.")
        return visit

    def words(self, request: Request) -> Language:
        """Return the language that was asked for now, or before, or by the browser."""
        asked = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
        return chosen(asked, request.headers.get("accept-language", ""))

    def outside(self, request: Request) -> Response:
        """Answer somebody who is not in."""
        if self.page.accounts is None:
            return self.message(request, 403, "Open this page with a link of yours: {command}")
        if request.method == "GET":
            return RedirectResponse("/sign-in", status_code=303)
        return self.message(
            request, 403, "You are not signed in any more. Nothing was changed: sign in first."
        )

    def denied(self, request: Request) -> Response:
        """Answer somebody whose account may not do that."""
        return self.message(request, 403, "Your account may not do that. Nothing was changed.")

    def message(self, request: Request, status: int, sentence: str) -> Response:
        """Answer with one sentence."""
        text = self.words(request).say(sentence, command="cloud-bridge link")
        return self.render(request, "message.html", None, status, text=text)

    def render(
        self, request: Request, template: str, visit: Visit | None, status: int = 200, **values: object
    ) -> Response:
        """Answer with a page; what it offers depends on who sees it."""
        words = self.words(request)
        role = None if visit is None or visit.account is None else words.say(ROLES[visit.account.role])
        text = self._templates.get_template(template).render(
            say=words.say,
            words=words,
            languages=LANGUAGES,
            here=_here(request),
            visit=visit,
            role=role,
            places=() if visit is None else _places(visit),
            **values,
        )
        answer = HTMLResponse(text, status_code=status)
        asked = request.query_params.get("lang")
        if asked in LANGUAGES:
            answer.set_cookie(LANGUAGE_COOKIE, asked, samesite="strict", path="/")
        return answer


def _here(request: Request) -> str:
    """Return the page that a choice of language stays on."""
    path = request.url.path
    item = request.method == "GET" and path.startswith("/alerts/")
    return path if item or path in _PAGES else "/"


def _places(visit: Visit) -> list[str]:
    """Return which pages beside the inbox somebody may open."""
    if visit.account is None:
        return []
    own = ["/mine"] if visit.account.patients else []
    return [*(["/audit"] if visit.sight.may(Action.READ_AUDIT) else []), *own]


def _own_form(request: Request, host: str) -> bool:
    """Tell whether a form was sent by a page of ours, as far as the browser says."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host
