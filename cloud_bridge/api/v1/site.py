"""What belongs to no patient: who asks, dead letters, the chained record, the installed programmes."""

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from cloud_bridge.access.model import Action
from cloud_bridge.api.v1.answers import answer
from cloud_bridge.api.v1.asked import DeadLetterQuery, EntryQuery, after_letter, letter_place
from cloud_bridge.api.v1.door import Changes, Reads
from cloud_bridge.api.v1.problem import ApiError, Kind
from cloud_bridge.api.v1.shapes import (
    DeadLetterKey,
    DeadLetterPage,
    DeadLetterShown,
    Done,
    EntryPage,
    EntryShown,
    Me,
    ProgrammeList,
    ProgrammeShown,
)
from cloud_bridge.rules.programme import PROGRAMMES, TECHNICAL, programme
from cloud_bridge.store.base import DeliveryKey
from wire_format.errors import Rejected


def register(api: FastAPI, add: Callable[..., None]) -> None:
    """Add the routes."""
    add(api, "GET", "/me", me, Me, "Say who I am")
    add(api, "GET", "/programmes", programmes, ProgrammeList, "List the installed programmes")
    add(api, "GET", "/dead-letters", dead_letters, DeadLetterPage, "List dead letters")
    add(api, "POST", "/dead-letters/retry", retry, Done, "Deliver a dead letter again")
    add(api, "GET", "/audit", audit, EntryPage, "List the record of who read and did what")


def me(who: Reads, request: Request) -> Response:
    """Say who asks, and how long this way in lasts."""
    account, session, token = who.account, who.session, who.token
    return answer(
        request,
        Me(
            account=account.name,
            role=account.role,
            organization=account.organization,
            patients=sorted(account.patients),
            by="session" if session is not None else "token",
            token=None if token is None else token.token_id,
            until=who.until,
            csrf=None if session is None else session.csrf,
        ),
    )


def programmes(who: Reads, request: Request) -> Response:
    """List the installed programmes with their rules and times."""
    del who
    items = [ProgrammeShown.of(programme(name)) for name in (*PROGRAMMES, TECHNICAL)]
    return answer(request, ProgrammeList(items=items))


def dead_letters(who: Reads, request: Request, asked: Annotated[DeadLetterQuery, Query()]) -> Response:
    """List what no destination accepted, the oldest first."""
    who.must(who.sight.does(Action.RETRY_DELIVERY))
    found = who.desk.listings.dead_letters(after_letter(asked.cursor), asked.limit + 1)
    page = found[: asked.limit]
    more = letter_place(page[-1][0], page[-1][1].key) if len(found) > asked.limit else None
    items = [DeadLetterShown.of(since, one) for since, one in page]
    return answer(request, DeadLetterPage(items=items, next=more), more=more)


def retry(who: Changes, request: Request, which: DeadLetterKey) -> Response:
    """Deliver a dead letter again, after what was wrong is mended."""
    who.must(who.sight.does(Action.RETRY_DELIVERY))
    page = who.desk.room.page
    try:
        who.desk.alerts.retry_dead(DeliveryKey(which.kind, which.subject, which.destination), page.clock())
    except Rejected as error:
        raise ApiError(Kind.GONE) from error
    return answer(request, Done(done=True))


def audit(who: Reads, request: Request, asked: Annotated[EntryQuery, Query()]) -> Response:
    """List the record, the newest first: each entry names the hash of the one before."""
    who.must(who.sight.does(Action.READ_AUDIT))
    before = None if asked.cursor is None else int(asked.cursor)
    found = who.desk.accounts.newest(asked.limit + 1, asked.patient, asked.action, before=before)
    items = [EntryShown.of(one) for one in found[: asked.limit]]
    more = str(items[-1].number) if len(found) > asked.limit else None
    return answer(request, EntryPage(items=items, next=more), more=more)
