"""The inbox page as a web application: who may come in, what is asked, what is answered. Decides nothing."""

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Final
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from cloud_bridge.api.session import COOKIE, Session, Sessions
from cloud_bridge.console.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from cloud_bridge.console.inbox import Record, inbox
from cloud_bridge.console.language import LANGUAGES, Language, chosen
from cloud_bridge.store.base import DeliveryKey
from wire_format.errors import Rejected

LANGUAGE_COOKIE: Final = "kiteline_language"
MAX_NAME: Final = 64
_PAPER: Final = {
    "width": WIDTH,
    "height": HEIGHT,
    "left": LEFT,
    "right": RIGHT,
    "top": TOP,
    "bottom": BOTTOM,
}
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
class Page:
    """What the application is built from. `hosts` are the names it may be called by."""

    record: Record
    redeem: Callable[[str], bool]
    acknowledged: Callable[[], None]
    clock: Callable[[], dt.datetime]
    zone: dt.tzinfo
    hosts: frozenset[str]


def create_app(page: Page) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="Kiteline inbox", docs_url=None, redoc_url=None, openapi_url=None)
    desk = _Desk(page)
    app.middleware("http")(desk.guard)
    app.get("/health")(desk.health)
    app.get("/page.css")(desk.style)
    app.get("/enter")(desk.enter)
    app.get("/")(desk.show)
    app.post("/alerts/{alert_id}/acknowledge")(desk.acknowledge)
    app.post("/dead-letters/retry")(desk.retry)
    return app


class _Desk:
    """The routes. Store calls run in threads: they are blocking SQL."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._sessions = Sessions(page.redeem, page.clock)
        self._templates = Environment(
            loader=PackageLoader("cloud_bridge.console"), autoescape=True, undefined=StrictUndefined
        )
        self._css = (files("cloud_bridge.console") / "page.css").read_text(encoding="utf-8")

    async def guard(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse foreign names (a name that was bound to loopback elsewhere) and foreign forms."""
        host = request.headers.get("host", "")
        answer: Response
        if host not in self._page.hosts:
            answer = self._message(request, 421, "This page answers under its own address only.")
        elif request.method == "POST" and not _own_form(request, host):
            answer = self._message(request, 403, "That form came from another page. Nothing was changed.")
        else:
            answer = await call_next(request)
        answer.headers.update(_HEADERS)
        return answer

    async def health(self) -> JSONResponse:
        """Say that it serves, and nothing else."""
        return JSONResponse({"status": "ok"})

    async def style(self) -> Response:
        """Return the style sheet."""
        return Response(self._css, media_type="text/css")

    async def enter(self, request: Request, token: str = "") -> Response:
        """Exchange a link for a session; a link works once."""
        key = await run_in_threadpool(self._sessions.enter, token)
        if key is None:
            return self._message(
                request, 403, "This link was used before, or is not one of ours. Make a new one: {command}"
            )
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", path="/")
        return answer

    async def show(self, request: Request, lang: str | None = None) -> Response:
        """Show the inbox."""
        session = self._session(request)
        if session is None:
            return self._outside(request)
        words = self._words(request, lang)
        page = self._page
        shown = await run_in_threadpool(inbox, page.record, words, page.zone, page.clock())
        answer = self._render("inbox.html", words, 200, inbox=shown, session=session, paper=_PAPER)
        if lang in LANGUAGES:
            answer.set_cookie(LANGUAGE_COOKIE, lang, samesite="strict", path="/")
        return answer

    async def acknowledge(
        self,
        request: Request,
        alert_id: str,
        csrf: Annotated[str, Form()] = "",
        name: Annotated[str, Form()] = "",
    ) -> Response:
        """Record that somebody saw an item; the home is told."""
        session = self._session(request)
        if session is None:
            return self._outside(request)
        if not session.wrote(csrf):
            return self._message(request, 403, "That form is too old. Nothing was changed: go back.")
        who = " ".join(name.split())
        if not who or len(who) > MAX_NAME:
            return self._message(request, 422, "Nothing was changed: write your name or staff number first.")
        try:
            new = await run_in_threadpool(
                self._page.record.acknowledge, UUID(alert_id), who, self._page.clock()
            )
        except (Rejected, ValueError):
            return self._message(request, 404, "There is no such item any more. Open the inbox again.")
        session.name = who
        if new:
            self._page.acknowledged()
        return RedirectResponse("/#seen", status_code=303)

    async def retry(
        self,
        request: Request,
        csrf: Annotated[str, Form()] = "",
        kind: Annotated[str, Form()] = "",
        subject: Annotated[str, Form()] = "",
        destination: Annotated[str, Form()] = "",
    ) -> Response:
        """Let something be delivered again that was refused, after what was wrong is mended."""
        session = self._session(request)
        if session is None:
            return self._outside(request)
        if not session.wrote(csrf):
            return self._message(request, 403, "That form is too old. Nothing was changed: go back.")
        try:
            key = DeliveryKey(kind, UUID(subject), destination)
            await run_in_threadpool(self._page.record.retry_dead, key, self._page.clock())
        except (Rejected, ValueError):
            return self._message(request, 404, "That is delivered by now, or waits already.")
        return RedirectResponse("/#undelivered", status_code=303)

    # --- what the routes share ---

    def _session(self, request: Request) -> Session | None:
        return self._sessions.of(request.cookies.get(COOKIE))

    def _words(self, request: Request, asked: str | None = None) -> Language:
        kept = request.cookies.get(LANGUAGE_COOKIE)
        return chosen(asked or kept, request.headers.get("accept-language", ""))

    def _outside(self, request: Request) -> HTMLResponse:
        return self._message(request, 403, "Open this page with a link of yours: {command}")

    def _message(self, request: Request, status: int, sentence: str) -> HTMLResponse:
        words = self._words(request)
        text = words.say(sentence, command="cloud-bridge link")
        return self._render("message.html", words, status, text=text)

    def _render(self, template: str, words: Language, status: int, **values: object) -> HTMLResponse:
        text = self._templates.get_template(template).render(
            say=words.say, words=words, languages=LANGUAGES, **values
        )
        return HTMLResponse(text, status_code=status)


def _own_form(request: Request, host: str) -> bool:
    """Tell whether a form was sent by a page of ours, as far as the browser says."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host
