"""Server-sent events: that something changed, to whoever may see it. Driven from the store.

Each change of an alert is a row of its history, whichever worker wrote it; a stream looks after the last one
it told of. It says which alert, its state and its tag, and nothing else; what it is about is asked for anew.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Final

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from cloud_bridge.api.v1.alerts import visible
from cloud_bridge.api.v1.answers import tag_of
from cloud_bridge.api.v1.asked import EventQuery
from cloud_bridge.api.v1.door import Caller, Watches, who_asks
from cloud_bridge.api.v1.problem import ApiError
from cloud_bridge.api.v1.shapes import Changed
from cloud_bridge.store.listings import Change

AT_ONCE: Final = 100
SETTLES: Final = dt.timedelta(seconds=5)
"""No transaction that writes a history takes as long."""
CAUGHT_UP: Final = ": that is all so far\n\n"
_HEARTBEAT: Final = ": still here\n\n"
_END: Final = "event: end\ndata: {}\n\n"
_MEDIA: Final = "text/event-stream"

Last = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern="^[0-9]{1,9}$",
        description="The id of the last event that was seen; a browser sends it by itself.",
        examples=["17"],
    ),
]


def register(api: FastAPI, add: Callable[..., None]) -> None:
    """Add the route."""
    example = 'id: 17\nevent: alert\ndata: {"alert_id":"…","state":"open","tag":"\\"2\\""}\n\n'
    content = {_MEDIA: {"schema": {"type": "string"}, "example": example}}
    said = {"description": "Events until it ends.", "content": content}
    more = {"response_class": StreamingResponse, "responses": {200: said}}
    add(api, "GET", "/events", events, None, "Hear that alerts changed", **more)


async def events(
    who: Watches, request: Request, asked: Annotated[EventQuery, Query()], last: Last = None
) -> StreamingResponse:
    """Hear of each change of an alert that you may see, as server-sent events, from now on.

    Each `alert` event names the alert, its state and its tag. After a break, `Last-Event-ID` (or `after`)
    goes on where it stopped. Lines that begin with a colon mean that the line is up. `end` means that your
    session or account ended: sign in again.
    """
    who.desk.streams.check(who.account.name)
    if last is not None:
        position = int(last)
    elif asked.after is not None:
        position = asked.after
    else:
        position = await run_in_threadpool(who.desk.listings.position)
    return StreamingResponse(_stream(who, request, position), media_type=_MEDIA)


async def _stream(who: Caller, request: Request, position: int) -> AsyncIterator[str]:
    desk, streams, loop = who.desk, who.desk.streams, asyncio.get_running_loop()
    try:
        with streams.one_more(who.account.name):
            said, caught_up = loop.time(), False
            yield "retry: 3000\n\n"
            while not streams.ending.is_set():
                now = await who_asks(desk, request, acts=False)
                if now is None or now.account.name != who.account.name:
                    yield _END
                    return
                found, position, full = await run_in_threadpool(_news, now, position)
                if not (full or caught_up):
                    found, caught_up = [*found, CAUGHT_UP], True
                elif not found and loop.time() - said >= streams.heartbeat_s:
                    found = [_HEARTBEAT]
                for one in found:
                    said = loop.time()
                    yield one
                if not full:
                    await streams.rest()
    except ApiError:
        return  # several came at once, and this one was the one too many


def _news(who: Caller, position: int) -> tuple[list[str], int, bool]:
    """Return the events after a position, the position after them, and whether there may be more already."""
    now = who.desk.room.page.clock()
    found = settled(who.desk.listings.changes(position, AT_ONCE), position, now)
    latest = {one.alert.alert_id: one for one in found}
    # By position: a reader that comes back asks for what is after the last one it heard.
    ordered = sorted(latest.values(), key=lambda one: one.position)
    shown = [_event(one) for one in ordered if visible(who, one.alert)]
    return shown, found[-1].position if found else position, len(found) == AT_ONCE


def settled(found: Sequence[Change], position: int, now: dt.datetime) -> list[Change]:
    """Return the changes that nothing can come before any more.

    Numbers are given out before a transaction ends: a lower one may still come, until that was too long ago.
    """
    known: list[Change] = []
    for one in found:
        if one.position != position + 1 and now - one.at < SETTLES:
            break
        known.append(one)
        position = one.position
    return known


def _event(one: Change) -> str:
    alert = one.alert
    data = Changed(alert_id=alert.alert_id, state=alert.state, tag=tag_of(alert.revision))
    return f"id: {one.position}\nevent: alert\ndata: {data.model_dump_json()}\n\n"
