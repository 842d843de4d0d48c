"""A patient's own page: who read what of theirs, and what they agreed to, each ended by one act."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.model import Action, DataType
from cloud_bridge.api.room import Room, Visit
from cloud_bridge.console.language import Language
from cloud_bridge.console.people import Accounts, Own, asked, consents, digests, lines
from wire_format.errors import Rejected

NEWEST: Final = 200
MAX_PATIENT: Final = 64
SEEN: Final = (Action.READ, Action.BREAK_GLASS, Action.ACKNOWLEDGE)


class _NotGivenError(Exception):
    """Why nothing was recorded, as an answer of the page."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True, slots=True)
class _Given:
    """A form as it came: whose, to whom, which kinds, until which day, and the hash of the text shown."""

    patient: str
    to: str
    data: frozenset[str]
    until: str
    text: str

    def kinds(self) -> list[DataType]:
        """Return what may be read, in a fixed order; raise `_NotGivenError` if that is nothing."""
        found = [kind for kind in DataType if kind.value in self.data]
        if not found or len(found) != len(self.data):
            raise _NotGivenError(400, "Nothing was recorded: choose what may be read, one kind or more.")
        return found

    def ends(self, zone: dt.tzinfo, now: dt.datetime) -> dt.datetime | None:
        """Return the end of the last day in the hospital's zone; None if there is no last day."""
        if not self.until:
            return None
        try:
            last = dt.date.fromisoformat(self.until)
            end = dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), zone).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            end = now
        if end <= now:
            raise _NotGivenError(400, "Nothing was recorded: choose today or a later day, or none.")
        return end


class Mine:
    """The routes."""

    def __init__(self, room: Room, accounts: Accounts) -> None:
        self._room = room
        self._accounts = accounts

    def register(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get("/mine")(self.show)
        app.post("/mine/give")(self.give)
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
            asked=asked(accounts.offer(patient), words),
        )

    async def give(  # noqa: PLR0913, PLR0917 - a form has these fields
        self,
        request: Request,
        csrf: Annotated[str, Form()] = "",
        patient: Annotated[str, Form()] = "",
        to: Annotated[str, Form()] = "",
        data: Annotated[Sequence[str], Form()] = (),
        until: Annotated[str, Form()] = "",
        text: Annotated[str, Form()] = "",
    ) -> Response:
        """Let somebody read some kinds of data. What is agreed to is the text that the form showed."""
        visit = await self._room.form(request, csrf)
        if isinstance(visit, Response):
            return visit
        if visit.account is None or len(patient) > MAX_PATIENT or not patient.isprintable():
            return self._room.denied(request)
        if not visit.sight.may(Action.CONSENT, patient):
            await run_in_threadpool(visit.sight.does, Action.CONSENT, patient)  # the no is on record
            return self._room.denied(request)
        form = _Given(patient, to, frozenset(data), until, text)
        try:
            await run_in_threadpool(self._give, visit, visit.account.name, form)
        except _NotGivenError as error:
            return self._room.message(request, error.status, error.sentence)
        except Rejected:  # under this version other words were agreed to before
            return self._room.message(request, 409, "The text is not as it was kept. Tell the hospital.")
        return RedirectResponse("/mine#consents", status_code=303)

    def _give(self, visit: Visit, by: str, form: _Given) -> None:
        store, now = self._accounts, self._room.page.clock()
        offer = store.offer(form.patient)
        if offer is None or form.text != offer.digest or form.to not in offer.recipients:
            raise _NotGivenError(
                409, "What you can agree to has changed. Open your page again and read it anew."
            )
        kinds, until = form.kinds(), form.ends(self._room.page.zone, now)
        to_them = [one for one in store.consents(form.patient) if one.to == form.to and one.holds(now)]
        held = {(one.data, one.valid_until, one.text_version) for one in to_them}
        for kind in kinds:
            if (kind, until, offer.version) in held:
                continue  # somebody pressed twice
            if not visit.sight.does(Action.CONSENT, form.patient, kind, reason=f"gave: {form.to}"):
                raise _NotGivenError(403, "Your account may not do that. Nothing was changed.")
            store.give_consent(
                form.patient,
                form.to,
                kind,
                text_version=offer.version,
                by=by,
                now=now,
                valid_until=until,
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
