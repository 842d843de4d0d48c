"""Breaking the glass: one patient opened for an hour, with a reason, on record, reviewed afterwards."""

from typing import Annotated

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.model import Action
from cloud_bridge.api.room import Room, Visit
from cloud_bridge.api.session import GLASS_LASTS
from cloud_bridge.console.people import Accounts

MAX_REASON = 500


class Emergency:
    """The route."""

    def __init__(self, room: Room, accounts: Accounts) -> None:
        self._room = room
        self._accounts = accounts

    def register(self, app: FastAPI) -> None:
        """Add the route."""
        app.post("/break-glass")(self.open)

    async def open(
        self,
        request: Request,
        csrf: Annotated[str, Form()] = "",
        number: Annotated[str, Form()] = "",
        reason: Annotated[str, Form()] = "",
    ) -> Response:
        """Open the patient with exactly this hospital number to this session."""
        visit = await self._room.form(request, csrf)
        if isinstance(visit, Response):
            return visit
        why = " ".join(reason.split())
        if len(why) > MAX_REASON or not (number + why).isprintable():
            return self._room.message(
                request, 422, "Nothing was opened: write the number and a shorter reason."
            )
        allowed, patient = await run_in_threadpool(self._ask, visit, number.strip(), why)
        if not allowed:
            return self._room.message(
                request, 403, "Nothing was opened: it takes an account that may, and a reason in words."
            )
        if patient is None:
            return self._room.message(request, 404, "No patient has exactly this number. Nothing was opened.")
        visit.session.glass[patient] = self._room.page.clock() + GLASS_LASTS
        return RedirectResponse("/#emergency", status_code=303)

    def _ask(self, visit: Visit, number: str, why: str) -> tuple[bool, str | None]:
        """Return the answer, on record also for a number that is nobody's, and whose it is."""
        patient = self._accounts.patient_numbered(number)
        return visit.sight.does(Action.BREAK_GLASS, patient or "", reason=why), patient
