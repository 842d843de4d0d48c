"""What all routes of the page share: who is in, in which language, and how an answer is made."""

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
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
from cloud_bridge.api.v1.problem import ApiError, Kind
from cloud_bridge.api.v1.problem import answer as problem
from cloud_bridge.console.inbox import Record
from cloud_bridge.console.language import LANGUAGES, Language, chosen
from cloud_bridge.console.pages import PEOPLE
from cloud_bridge.console.people import ROLES, Accounts
from wire_format.errors import Misconfigured

LANGUAGE_COOKIE: Final = "kiteline_language"
RENEWS: Final = "renews"
"""A page that renews itself says so in its address: nobody did anything."""
PROGRAMS: Final = "/api/v1"
"""Where programs ask; pages are everywhere else."""
_PAGES: Final = frozenset({"/", "/sign-in", "/audit", "/mine", "/resolved"})
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_WITH_SCRIPT: Final = f"{_POLICY}; script-src 'self'; connect-src 'self'"
"""Only where people sign in: there the inbox has a script of our own, which hears of changes."""
_HEADERS: Final = {
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
    sign-in is answered after `wrong_takes_s` at the earliest. `policies` None: those that are installed. The
    inbox has `people` on a page.
    """

    record: Record
    redeem: Callable[[str], bool]
    acknowledged: Callable[[], None]
    clock: Callable[[], dt.datetime]
    zone: dt.tzinfo
    hosts: frozenset[str]
    accounts: Accounts | None = None
    wrong_takes_s: float = 0.5
    policies: str | None = None
    people: int = PEOPLE
    door: Door | None = None


@cache
def _templates() -> Environment:
    """Return what makes the pages; a page is compiled when it is first shown."""
    return Environment(
        loader=PackageLoader("cloud_bridge.console"), autoescape=True, undefined=StrictUndefined
    )


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
        self._guard = (
            None if page.accounts is None else Guard(Engine(page.policies), page.accounts, page.clock)
        )

    async def guard(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse foreign names (a name that was bound to loopback elsewhere) and foreign forms."""
        host = request.headers.get("host", "")
        answer: Response
        if host not in self.page.hosts:
            answer = self._foreign(
                request, Kind.OTHER_HOST, 421, "This page answers under its own address only."
            )
        elif request.method == "POST" and not _own_form(request, host):
            answer = self._foreign(
                request, Kind.FOREIGN_FORM, 403, "That form came from another page. Nothing was changed."
            )
        else:
            answer = await call_next(request)
        policy = _POLICY if self.page.accounts is None else _WITH_SCRIPT
        answer.headers.update({**_HEADERS, "Content-Security-Policy": policy})
        return answer

    def sight(self, account: Account, token: str) -> Sight:
        """Return what an account sees by a token of a program. Nothing is opened to it in an emergency."""
        if self._guard is None:
            raise Misconfigured("Where people come in by links, programs have no way in: configure accounts.")
        return Guarded(self._guard, account, {}, token)

    async def signs_in(self, account: Account, way: str) -> bool:
        """Tell whether somebody who proved who they are comes in; the answer is on record."""
        return self._guard is not None and await run_in_threadpool(self._guard.signs_in, account, way)

    async def not_in(self, account: Account | None, why: str) -> None:
        """Put on record that somebody did not come in; None: under no name that we know."""
        if self._guard is not None:
            await run_in_threadpool(self._guard.not_in, account, why)

    async def visit(self, request: Request, *, acts: bool = True) -> Visit | None:
        """Return who is in, None if nobody is. Accounts are looked up anew: one may be off by now.

        `acts`: a person asked, so far as the address does not say otherwise.
        """
        key = request.cookies.get(COOKIE)
        session = self.sessions.of(key, acts=acts and RENEWS not in request.query_params)
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

    def _foreign(self, request: Request, kind: Kind, status: int, sentence: str) -> Response:
        if request.url.path.startswith(PROGRAMS):
            return problem(ApiError(kind), self.words(request))
        return self.message(request, status, sentence)

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
        text = (
            _templates()
            .get_template(template)
            .render(
                say=words.say,
                words=words,
                languages=LANGUAGES,
                here=_here(request),
                visit=visit,
                role=role,
                places=() if visit is None else _places(visit),
                **values,
            )
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
