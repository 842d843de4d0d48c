"""The routes by which people move items: seen, worked on, resolved with an outcome, handed on."""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from uuid import UUID

from fastapi import FastAPI, Form, Response
from fastapi import Request as HttpRequest
from fastapi.responses import RedirectResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.model import Action, DataType
from cloud_bridge.alerts import MAX_NOTE, Act, Actor, Alert, Move, Outcome, Request
from cloud_bridge.api.room import Room, Visit
from cloud_bridge.console.life import asked_anew, first_one, item, resolved, shows
from cloud_bridge.console.pages import turned
from cloud_bridge.rules.base import HOME
from cloud_bridge.store.base import Taken
from wire_format.errors import Rejected

MAX_NAME: Final = 64
FIRST: Final = "first"
"""The first of several pages, as forms say it."""
RESOLVED_SINCE: Final = dt.timedelta(days=14)
_SENDS_TO: Final = {Move.RESOLVE: "/resolved", Move.ESCALATE: "/#waiting"}

Route = Callable[..., Awaitable[Response]]


class Pressed(BaseModel):
    """What the buttons of an item send. A field that is not there is empty: each step looks at its own."""

    csrf: str = ""
    name: str = ""
    outcome: str = ""
    note: str = ""
    back: str = ""
    asking: str = ""


class Life:
    """The routes. That one of two people was second is no error of theirs: they are told who was first."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._page = room.page

    def register(self, app: FastAPI) -> None:
        """Add the routes."""
        for move in (Move.ACKNOWLEDGE, Move.BEGIN, Move.RESOLVE, Move.ESCALATE):
            app.post(f"/alerts/{{alert_id}}/{move.value}")(self._route(move))
        app.get("/resolved")(self.show)
        app.get("/alerts/{alert_id}")(self.item)

    async def show(self, request: HttpRequest) -> Response:
        """Show what was resolved lately, with all that happened to it."""
        visit = await self._room.visit(request)
        if visit is None:
            return self._room.outside(request)
        page, words, now = self._page, self._room.words(request), self._page.clock()
        since = now - RESOLVED_SINCE
        shown = await run_in_threadpool(resolved, page.record, words, page.zone, since, visit.sight)
        return self._room.render(request, "resolved.html", visit, items=shown, days=RESOLVED_SINCE.days)

    async def item(self, request: HttpRequest, alert_id: str) -> Response:
        """Show one item with what may be done and all that happened. It never renews itself under a form."""
        visit = await self._room.visit(request)
        if visit is None:
            return self._room.outside(request)
        found = await self._found(alert_id)
        if found is None:
            return self._room.message(request, 404, "There is no such item any more. Open the inbox again.")
        if not await run_in_threadpool(shows, visit.sight, found.finding.subject):
            return self._room.denied(request)
        page, words = self._page, self._room.words(request)
        shown = await run_in_threadpool(item, page.record, words, page.zone, visit.sight, found)
        return self._room.render(request, "item.html", visit, item=shown)

    async def _found(self, alert_id: str) -> Alert | None:
        try:
            return await run_in_threadpool(self._page.record.alert, UUID(alert_id))
        except ValueError:
            return None

    def _route(self, move: Move) -> Route:
        async def route(request: HttpRequest, alert_id: str, form: Annotated[Pressed, Form()]) -> Response:
            visit = await self._room.form(request, form.csrf)
            if isinstance(visit, Response):
                return visit
            who = visit.account.name if visit.account is not None else " ".join(form.name.split())
            said = " ".join(form.note.split())
            if not who or len(who) > MAX_NAME or not who.isprintable():
                return self._room.message(
                    request, 422, "Nothing was changed: write your name or staff number first."
                )
            if len(said) > MAX_NOTE or not said.isprintable():
                return self._room.message(request, 422, "Nothing was changed: write a shorter remark.")
            if move is Move.RESOLVE and form.outcome not in set(Outcome):
                return self._room.message(request, 422, "Nothing was changed: say what came of it first.")
            came = Outcome(form.outcome) if move is Move.RESOLVE else None
            act = Act(move, Actor.PERSON, self._page.clock(), who, came, said, Request.parse(form.asking))
            return await self._answer(request, visit, alert_id, act, form.back)

        return route

    async def _answer(
        self, request: HttpRequest, visit: Visit, alert_id: str, act: Act, back: str
    ) -> Response:
        found = await self._found(alert_id)
        if found is None:
            return self._room.message(request, 404, "There is no such item any more. Open the inbox again.")
        if not await run_in_threadpool(_may_move, visit, found, act.move):
            return self._room.denied(request)
        try:
            taken = await run_in_threadpool(self._page.record.move, found.alert_id, act)
        except Rejected:
            if _is_stale(act, found):
                return self._anew(request, visit, found)
            return self._room.message(request, 422, "Nothing was changed: this item has no such step.")
        if visit.account is None:
            visit.session.name = act.by or ""
        if taken.held:
            self._page.acknowledged()
        elif _is_stale(act, taken.alert) or not _said_before(taken, act):
            return self._second(request, visit, act, taken.alert)
        return RedirectResponse(_sends_to(act.move, found, back), status_code=303)

    def _anew(self, request: HttpRequest, visit: Visit, alert: Alert) -> Response:
        sentence = asked_anew(alert, self._room.words(request))
        again = alert.alert_id
        return self._room.render(request, "message.html", visit, 409, text=sentence, again=again)

    def _second(self, request: HttpRequest, visit: Visit, act: Act, alert: Alert) -> Response:
        if _is_stale(act, alert):
            return self._anew(request, visit, alert)
        sentence = first_one(alert, self._room.words(request), self._page.zone)
        return self._room.render(request, "message.html", visit, 409, text=sentence)


def _sends_to(move: Move, alert: Alert, back: str) -> str:
    """Return where somebody goes on: on the page of the inbox that they were on, if there are several."""
    at = turned(back)
    if at is None and back != FIRST:
        return _SENDS_TO.get(move, "/#seen")
    where = "" if at is None else f"{at}&"
    return f"/?{where}done={alert.alert_id}"


def _is_stale(act: Act, alert: Alert) -> bool:
    """Tell whether somebody answers an asking that is over."""
    return act.request not in {None, alert.request}


def _said_before(taken: Taken, act: Act) -> bool:
    """Tell whether somebody said once more what they had said: a form that was sent twice."""
    return taken.alert.moved_by == act.by and act.move in {Move.ACKNOWLEDGE, Move.BEGIN}


def _may_move(visit: Visit, alert: Alert, move: Move) -> bool:
    reason = f"{move.value} {alert.alert_id}"
    if alert.finding.subject.startswith(HOME):
        return visit.sight.does(Action.TRIAGE, reason=reason)
    return visit.sight.does(Action.ACKNOWLEDGE, alert.finding.subject, DataType.ALERTS, reason=reason)
