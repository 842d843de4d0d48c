"""The auditor's page: who read and did what, whether the chain is whole, and emergencies to look into."""

from typing import Annotated, Final

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.audit import review_of
from cloud_bridge.access.model import Action
from cloud_bridge.api.room import Room
from cloud_bridge.console.people import Accounts, emergencies, lines

NEWEST: Final = 200
MAX_REMARK: Final = 500


class Audit:
    """The routes."""

    def __init__(self, room: Room, accounts: Accounts) -> None:
        self._room = room
        self._accounts = accounts

    def register(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get("/audit")(self.show)
        app.post("/audit/review")(self.review)

    async def show(self, request: Request, patient: str = "") -> Response:
        """Show the newest entries, of one patient (by hospital number or by our own name) or of all."""
        visit = await self._room.visit(request)
        if visit is None:
            return self._room.outside(request)
        if not await run_in_threadpool(visit.sight.does, Action.READ_AUDIT):
            return self._room.denied(request)
        accounts, words, zone = self._accounts, self._room.words(request), self._room.page.zone
        asked = patient.strip() if patient.isprintable() else ""
        whose = await run_in_threadpool(accounts.patient_numbered, asked) if asked else None
        found = await run_in_threadpool(accounts.newest, NEWEST, (whose or asked) if asked else None)
        broken_at = await run_in_threadpool(accounts.broken_at)
        glass = await run_in_threadpool(accounts.emergencies, NEWEST)
        return self._room.render(
            request,
            "audit.html",
            visit,
            asked=asked,
            lines=lines(found, words, zone),
            broken_at=broken_at,
            emergencies=emergencies(glass, words, zone),
            may_review=visit.sight.may(Action.REVIEW),
        )

    async def review(
        self,
        request: Request,
        csrf: Annotated[str, Form()] = "",
        number: Annotated[str, Form()] = "",
        remark: Annotated[str, Form()] = "",
    ) -> Response:
        """Record what came of looking into an emergency."""
        visit = await self._room.form(request, csrf)
        if isinstance(visit, Response):
            return visit
        if not visit.sight.may(Action.REVIEW):
            await run_in_threadpool(visit.sight.does, Action.REVIEW)
            return self._room.denied(request)
        said = " ".join(remark.split())
        if not said or len(said) > MAX_REMARK or not said.isprintable():
            return self._room.message(request, 422, "Nothing was changed: write a remark first.")
        glass = await run_in_threadpool(self._accounts.emergencies, NEWEST)
        if number not in {str(one.number) for one, _ in glass}:
            return self._room.message(request, 404, "There is no such emergency.")
        await run_in_threadpool(visit.sight.does, Action.REVIEW, reason=review_of(int(number), said))
        return RedirectResponse("/audit#emergencies", status_code=303)
