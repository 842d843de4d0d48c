"""A patient's own page: who read what of theirs, and what they agreed to, each ended by one act."""

from typing import Annotated, Final

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.model import Action, DataType
from cloud_bridge.api.room import Room, Visit
from cloud_bridge.console.language import Language
from cloud_bridge.console.people import Accounts, Own, consents, digests, lines

NEWEST: Final = 200
MAX_PATIENT: Final = 64
SEEN: Final = (Action.READ, Action.BREAK_GLASS, Action.ACKNOWLEDGE)


class Mine:
    """The routes."""

    def __init__(self, room: Room, accounts: Accounts) -> None:
        self._room = room
        self._accounts = accounts

    def register(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get("/mine")(self.show)
        app.post("/mine/withdraw")(self.withdraw)

    async def show(self, request: Request) -> Response:
        """Show who read what, of those whom the account speaks for and nobody else."""
        visit = await self._room.visit(request)
        if visit is None:
            return self._room.outside(request)
        found = await run_in_threadpool(self._own, visit, self._room.words(request))
        if not found:
            return self._room.denied(request)
        return self._room.render(request, "mine.html", visit, people=found, csrf=visit.session.csrf)

    def _own(self, visit: Visit, words: Language) -> list[Own]:
        patients = sorted(visit.account.patients) if visit.account is not None else []
        allowed = [one for one in patients if visit.sight.does(Action.SEE_READERS, one, DataType.ALERTS)]
        return [self._of(visit, one, words) for one in allowed]

    def _of(self, visit: Visit, patient: str, words: Language) -> Own:
        page, accounts = self._room.page, self._accounts
        known = page.record.known_as(patient)
        given = accounts.consents(patient)
        texts = accounts.contents(digests(given))
        read = accounts.newest(NEWEST, patient, SEEN, yes_only=True)
        return Own(
            patient=patient,
            title=words.say("Patient {number}", number=known.value if known else patient),
            lines=lines(read, words, page.zone),
            consents=consents(given, texts, words, page.zone, page.clock()),
            may_withdraw=visit.sight.may(Action.CONSENT, patient),
        )

    async def withdraw(
        self,
        request: Request,
        csrf: Annotated[str, Form()] = "",
        patient: Annotated[str, Form()] = "",
        to: Annotated[str, Form()] = "",
        data: Annotated[str, Form()] = "",
    ) -> Response:
        """End a consent. From now on nobody of these reads any of it."""
        visit = await self._room.form(request, csrf)
        if isinstance(visit, Response):
            return visit
        if visit.account is None or len(patient) > MAX_PATIENT or not (patient + to).isprintable():
            return self._room.denied(request)
        if not await run_in_threadpool(visit.sight.does, Action.CONSENT, patient):
            return self._room.denied(request)
        try:
            kind = DataType(data)
        except ValueError:
            return self._room.message(request, 404, "There is no such consent any more.")
        by, now = visit.account.name, self._room.page.clock()

        def end() -> int:
            return self._accounts.withdraw_consent(patient, to, kind, by=by, now=now)

        if not await run_in_threadpool(end):
            return self._room.message(request, 404, "There is no such consent any more.")
        return RedirectResponse("/mine#consents", status_code=303)
