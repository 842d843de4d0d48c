"""Who asks: a browser with the page's session, or a program with a token. Policies decide of both alike."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Annotated, Final, Protocol

from fastapi import Depends, Header, Request
from starlette.concurrency import run_in_threadpool

from cloud_bridge.access.model import Account, Action
from cloud_bridge.access.sight import Sight
from cloud_bridge.access.tokens import Token
from cloud_bridge.api.room import Room
from cloud_bridge.api.session import Session
from cloud_bridge.api.v1.limits import Rate
from cloud_bridge.api.v1.problem import ApiError, Kind
from cloud_bridge.api.v1.streams import Streams
from cloud_bridge.console.language import Language
from cloud_bridge.console.people import Accounts
from cloud_bridge.store.alerts import SqlAlerts
from cloud_bridge.store.listings import SqlListings

PER_MINUTE: Final = 600
CSRF_HEADER: Final = "Kiteline-CSRF"
_BEARER: Final = "bearer "
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="kiteline"'}


class Tokens(Protocol):
    """What the door asks of the store about tokens."""

    def find(self, text: str) -> Token | None:
        """Return what is kept of a token, whether or not it still holds."""
        ...

    def used(self, token: Token, now: dt.datetime) -> None:
        """Keep that it was used."""
        ...


@dataclass(frozen=True, slots=True)
class Programs:
    """What the interface for programs stands on beside what the page has."""

    alerts: SqlAlerts
    listings: SqlListings
    tokens: Tokens
    per_minute: int = PER_MINUTE
    streams: Streams = field(default_factory=Streams)


@dataclass(slots=True)
class Desk:
    """What the routes share."""

    room: Room
    accounts: Accounts
    alerts: SqlAlerts
    listings: SqlListings
    tokens: Tokens
    rate: Rate
    streams: Streams


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for one request: by `session` from a browser, by `token` from a program."""

    desk: Desk
    account: Account
    sight: Sight
    words: Language
    session: Session | None = None
    token: Token | None = None

    @property
    def until(self) -> dt.datetime:
        """When this way in ends at the latest."""
        if self.token is not None:
            return self.token.expires_at
        return self.session.until if self.session is not None else self.desk.room.page.clock()

    def must(self, allowed: bool) -> None:  # noqa: FBT001 - an answer that was just given
        """Raise `ApiError` after a no. What is not there is answered as what is not to be seen."""
        if not allowed:
            raise ApiError(Kind.NOT_ALLOWED)


async def admitted(request: Request) -> Caller:
    """Return who asks; `ApiError` if nobody known does, or asks too much."""
    return await _admitted(request, acts=True)


async def watching(request: Request) -> Caller:
    """Return who asks to be told; a page that watches by itself keeps no session alive."""
    return await _admitted(request, acts=False)


async def _admitted(request: Request, *, acts: bool) -> Caller:
    desk: Desk = request.app.state.desk
    found = await who_asks(desk, request, acts=acts)
    if found is None:
        desk.rate.take(request.client.host if request.client is not None else "")
        raise ApiError(Kind.NOT_SIGNED_IN, headers=_CHALLENGE)
    desk.rate.take(found.account.name)
    if not await run_in_threadpool(found.sight.sees, Action.USE_API):
        raise ApiError(Kind.NOT_ALLOWED)
    return found


async def who_asks(desk: Desk, request: Request, *, acts: bool = True) -> Caller | None:
    """Return who asks, as it is now; None if nobody known does. A program's token goes before a cookie."""
    words, said = desk.room.words(request), request.headers.get("authorization", "")
    if said:
        text = said[len(_BEARER) :].strip() if said.lower().startswith(_BEARER) else ""
        return await run_in_threadpool(_by_token, desk, text, words)
    visit = await desk.room.visit(request, acts=acts)
    if visit is None or visit.account is None:
        return None
    return Caller(desk, visit.account, visit.sight, words, session=visit.session)


def _by_token(desk: Desk, text: str, words: Language) -> Caller | None:
    now = desk.room.page.clock()
    token = desk.tokens.find(text)
    if token is None or not token.holds(desk.accounts.stamp(token.account), now):
        return None
    account = desk.accounts.account(token.account)
    if account is None or not account.active:
        return None
    desk.tokens.used(token, now)
    return Caller(desk, account, desk.room.sight(account, token.token_id), words, token=token)


async def changing(
    found: Annotated[Caller, Depends(admitted)],
    csrf: Annotated[
        str | None,
        Header(alias=CSRF_HEADER, description="From a browser's session: `csrf` of /me. Not with a token."),
    ] = None,
) -> Caller:
    """Return who changes something; a browser's session proves that a page of ours asks."""
    if found.session is not None and not found.session.wrote(csrf or ""):
        raise ApiError(Kind.FOREIGN_FORM)
    return found


Reads = Annotated[Caller, Depends(admitted)]
Watches = Annotated[Caller, Depends(watching)]
Changes = Annotated[Caller, Depends(changing)]
