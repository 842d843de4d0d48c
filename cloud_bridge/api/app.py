"""The page as a web application: the inbox's routes, and which others there are. Decides nothing."""

from importlib.resources import files
from typing import Annotated, Final
from uuid import UUID

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.model import Action
from cloud_bridge.api.audit import Audit
from cloud_bridge.api.emergency import Emergency
from cloud_bridge.api.hospital_sign_in import HospitalSignIn
from cloud_bridge.api.life import Life
from cloud_bridge.api.mine import Mine
from cloud_bridge.api.room import PROGRAMS, Page, Room
from cloud_bridge.api.session import COOKIE
from cloud_bridge.api.sign_in import SignIn
from cloud_bridge.api.v1.app import create_api
from cloud_bridge.api.v1.door import Programs
from cloud_bridge.console.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from cloud_bridge.console.inbox import inbox
from cloud_bridge.console.pages import turned
from cloud_bridge.store.base import DeliveryKey
from wire_format.errors import Rejected

_PLACE: Final = ("after", "above")
_PAPER: Final = {
    "width": WIDTH,
    "height": HEIGHT,
    "left": LEFT,
    "right": RIGHT,
    "top": TOP,
    "bottom": BOTTOM,
}


def create_app(page: Page, programs: Programs | None = None) -> FastAPI:
    """Return the application; with `programs` and accounts also the interface for programs.

    Raises `Misconfigured` if the access policies do not fit their schema.
    """
    app = FastAPI(title="Kiteline inbox", docs_url=None, redoc_url=None, openapi_url=None)
    room = Room(page)
    desk = _Desk(room, programs)
    app.middleware("http")(room.guard)
    app.get("/health")(desk.health)
    app.get("/page.css")(desk.style)
    app.get("/inbox.js")(desk.script)
    app.get("/enter")(desk.enter)
    app.get("/")(desk.show)
    Life(room).register(app)
    app.post("/dead-letters/retry")(desk.retry)
    if page.accounts is not None:
        sign_in = SignIn(room, page.accounts)
        sign_in.register(app)
        if page.door is not None:
            HospitalSignIn(room, page.accounts, page.door.provider, sign_in.refused).register(app)
        Emergency(room, page.accounts).register(app)
        Audit(room, page.accounts).register(app)
        Mine(room, page.accounts).register(app)
    if page.accounts is not None and programs is not None:
        app.mount(PROGRAMS, create_api(room, page.accounts, programs))
    return app


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class _Desk:
    """The routes of the inbox. Store calls run in threads: they are blocking SQL."""

    def __init__(self, room: Room, programs: Programs | None) -> None:
        self._room = room
        self._page = room.page
        self._programs = programs if room.page.accounts is not None else None
        folder = files("cloud_bridge.console")
        self._css = (folder / "page.css").read_text(encoding="utf-8")
        self._script = (folder / "inbox.js").read_text(encoding="utf-8")

    async def health(self) -> JSONResponse:
        """Say that it serves, and nothing else."""
        return JSONResponse({"status": "ok"})

    async def style(self) -> Response:
        """Return the style sheet."""
        return Response(self._css, media_type="text/css")

    async def script(self) -> Response:
        """Return the inbox's own script."""
        return Response(self._script, media_type="text/javascript")

    async def _position(self) -> int | None:
        """Return from where on the page is told of changes; None where it renews itself."""
        if self._programs is None:
            return None
        return await run_in_threadpool(self._programs.listings.position)

    async def enter(self, request: Request, token: str = "") -> Response:
        """Exchange a link for a session; a link works once, and not at all where people have accounts."""
        if self._page.accounts is not None:
            return self._room.message(request, 403, "Links open nothing here: sign in with your account.")
        key = await run_in_threadpool(self._room.sessions.enter, token)
        if key is None:
            return self._room.message(
                request, 403, "This link was used before, or is not one of ours. Make a new one: {command}"
            )
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", path="/")
        return answer

    async def show(self, request: Request) -> Response:
        """Show the inbox, as much of it as whoever asks may see."""
        visit = await self._room.visit(request)
        if visit is None:
            return self._room.outside(request)
        page, words = self._page, self._room.words(request)
        live = await self._position()  # before the page is made: what changes meanwhile is told
        at = turned("&".join(f"{k}={v}" for k, v in request.query_params.items() if k in _PLACE))
        moved = _uuid(request.query_params.get("done", ""))
        shown = await run_in_threadpool(
            inbox, page.record, words, page.zone, page.clock(), visit.sight, at, moved, page.people
        )
        return self._room.render(
            request, "inbox.html", visit, inbox=shown, session=visit.session, paper=_PAPER, live=live
        )

    async def retry(
        self,
        request: Request,
        csrf: Annotated[str, Form()] = "",
        kind: Annotated[str, Form()] = "",
        subject: Annotated[str, Form()] = "",
        destination: Annotated[str, Form()] = "",
    ) -> Response:
        """Let something be delivered again that was refused, after what was wrong is mended."""
        visit = await self._room.form(request, csrf)
        if isinstance(visit, Response):
            return visit
        if not await run_in_threadpool(visit.sight.does, Action.RETRY_DELIVERY):
            return self._room.denied(request)
        try:
            key = DeliveryKey(kind, UUID(subject), destination)
            await run_in_threadpool(self._page.record.retry_dead, key, self._page.clock())
        except (Rejected, ValueError):
            return self._room.message(request, 404, "That is delivered by now, or waits already.")
        return RedirectResponse("/#undelivered", status_code=303)
