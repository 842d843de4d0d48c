"""Server-sent events over a real server: what is told to whom, after which break, and when it ends."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from cloud_bridge.access.model import DataType
from cloud_bridge.access.passwords import new_credentials
from cloud_bridge.alerts import Act, Actor, Alert, Move
from cloud_bridge.api.session import IDLE
from cloud_bridge.api.v1.events import AT_ONCE, CAUGHT_UP, SETTLES, settled
from cloud_bridge.api.v1.streams import MOST_EACH, Streams
from cloud_bridge.store.listings import Change
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.page_visitor import PASSWORD, enter_as, fill_a_day, filled_desk, token
from tests.doubles.served_page import served, staff

SOON = 10.0


@dataclass
class Stream:
    """An open stream, read line by line."""

    lines: AsyncIterator[str]

    async def until(self, wanted: str) -> list[str]:
        """The lines up to one that is waited for."""
        found: list[str] = []
        async with asyncio.timeout(SOON):
            async for line in self.lines:
                found.append(line)
                if line == wanted:
                    return found
        raise AssertionError(f"it ended before {wanted!r}: {found}")

    async def event(self) -> tuple[int, dict[str, str]]:
        """The next event: its id, and what it says."""
        lines = await self.until("event: alert")
        return int(lines[-2].removeprefix("id: ")), json.loads(
            (await anext(self.lines)).removeprefix("data: ")
        )

    async def rest(self) -> list[str]:
        """All that comes until it ends."""
        async with asyncio.timeout(SOON):
            return [line async for line in self.lines if line]


@asynccontextmanager
async def listening(
    address: str, headers: Mapping[str, str], *, caught_up: bool = True, query: str = ""
) -> AsyncIterator[Stream]:
    async with (
        httpx.AsyncClient(timeout=SOON) as http,
        http.stream("GET", f"{address}/api/v1/events{query}", headers=dict(headers)) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        stream = Stream(aiter(answer.aiter_lines()))
        if caught_up:
            await stream.until(CAUGHT_UP.strip())
        yield stream


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    desk = filled_desk(tmp_path, fill_a_day)
    staff(desk)
    yield desk
    desk.close()


def bearer(desk: BridgeDesk, name: str = "n1") -> dict[str, str]:
    return {"authorization": f"Bearer {token(desk, name)}"}


def of(desk: BridgeDesk, subject: str) -> Alert:
    return next(a for a in desk.store.alerts.open_alerts() if a.finding.subject.startswith(subject))


async def begin(desk: BridgeDesk, alert: UUID) -> None:
    """Somebody works on it: at another worker, on the command line, wherever."""
    act = Act(Move.BEGIN, Actor.PERSON, desk.now, "n9")
    await asyncio.to_thread(desk.store.alerts.move, alert, act)


async def test_only_that_something_changed_is_told_and_only_to_whom_it_may_be(desk: BridgeDesk) -> None:
    desk.store.access.withdraw_consent("patient-2", "nurse", DataType.ALERTS, by="p", now=desk.now)
    seen, hidden = of(desk, "patient-1"), of(desk, "patient-2")
    with served(desk) as address:
        async with (
            listening(address, bearer(desk)) as nurse,
            listening(address, bearer(desk, "a1")) as auditor,
        ):
            await begin(desk, hidden.alert_id)
            await begin(desk, seen.alert_id)
            number, event = await nurse.event()
            tag = f'"{seen.revision + 1}"'
            assert event == {"alert_id": str(seen.alert_id), "state": "in_progress", "tag": tag}
            assert number == await asyncio.to_thread(desk.store.listings.position)
            assert "event: alert" not in await auditor.until(": still here")
        reads = [(e.account, e.patient) for e, _ in desk.store.access.entries() if e.action == "read"]
        assert reads == [("n1", "patient-1")]


async def test_after_a_break_nothing_is_missed_and_nothing_told_twice(desk: BridgeDesk) -> None:
    nurse = bearer(desk)
    with served(desk) as address:
        async with listening(address, nurse) as before:
            await begin(desk, of(desk, "patient-1").alert_id)
            number, _ = await before.event()
        missed = of(desk, "patient-2").alert_id
        await begin(desk, missed)
        async with listening(address, {**nurse, "last-event-id": str(number)}, caught_up=False) as after:
            lines = await after.until(CAUGHT_UP.strip())
            assert [line for line in lines if line.startswith("id: ")] == [f"id: {number + 1}"]
            assert str(missed) in "".join(lines)
        async with listening(address, nurse, caught_up=False, query="?after=0") as whole:
            told = "".join(await whole.until(CAUGHT_UP.strip())).count("event: alert")
        assert told == len(desk.store.alerts.open_alerts())  # each alert once, as it is now


async def test_what_one_worker_does_the_other_one_tells(desk: BridgeDesk) -> None:
    headers = {**bearer(desk), "if-match": "*"}
    with served(desk) as first, served(desk) as second:
        async with listening(second, headers) as stream, httpx.AsyncClient() as http:
            alert = of(desk, "patient-1").alert_id
            answer = await http.post(f"{first}/api/v1/alerts/{alert}/begin", headers=headers)
            assert answer.status_code == 200
            _, event = await stream.event()
            assert (event["alert_id"], event["tag"]) == (str(alert), answer.json()["tag"])


async def test_it_ends_when_the_account_is_off_or_the_token(desk: BridgeDesk) -> None:
    with served(desk) as address:
        async with listening(address, bearer(desk)) as stream:
            desk.store.access.set_active("n1", active=False, now=desk.now)
            assert (await stream.rest())[-2:] == ["event: end", "data: {}"]
        async with listening(address, bearer(desk, "a1")) as stream:
            newest = desk.store.tokens.tokens("a1")[0]
            desk.store.tokens.revoke(newest.token_id, desk.now)
            assert (await stream.rest())[-2:] == ["event: end", "data: {}"]


async def test_whoever_may_ask_no_more_hears_no_more_within_a_look(desk: BridgeDesk) -> None:
    """By a token that ran out, by signing out, by new credentials: the end comes, and nothing before it."""
    assert Streams().poll_s <= 1  # how often a stream looks whether its reader may still ask

    def expires() -> None:
        desk.now += dt.timedelta(days=30)

    def is_given_another_password() -> None:
        desk.store.access.set_credentials("n1", new_credentials(PASSWORD), desk.now)

    alert = of(desk, "patient-1").alert_id
    with served(desk) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            await enter_as(http, desk, "n1")
            cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}
            csrf = (await http.get("/api/v1/me")).json()["csrf"]
            async with listening(address, cookie) as stream:
                await http.post("/sign-out", data={"csrf": csrf})
                await begin(desk, alert)
                assert await stream.rest() == ["event: end", "data: {}"]
        for ends, move in ((expires, Move.ESCALATE), (is_given_another_password, Move.BEGIN)):
            async with listening(address, bearer(desk)) as stream:
                ends()
                act = Act(move, Actor.PERSON, desk.now, "n9")
                await asyncio.to_thread(desk.store.alerts.move, alert, act)
                lines = await stream.rest()
            assert (lines[-2:], "event: alert" in lines) == (["event: end", "data: {}"], False)


async def test_watching_keeps_no_session_alive(desk: BridgeDesk) -> None:
    with served(desk) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            await enter_as(http, desk, "n1")
            cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}
            desk.now += IDLE / 2
            async with listening(address, cookie) as stream:
                desk.now += IDLE / 2
                assert (await stream.rest())[-2:] == ["event: end", "data: {}"]
            assert (await http.get("/api/v1/events")).status_code == 401


async def test_an_account_has_so_many_streams_and_a_closed_one_counts_no_more(desk: BridgeDesk) -> None:
    nurse = bearer(desk)
    with served(desk) as address:
        async with AsyncExitStack() as stack, httpx.AsyncClient(base_url=address) as http:
            for _ in range(MOST_EACH):
                await stack.enter_async_context(listening(address, nurse))
            refused = await http.get("/api/v1/events", headers=nurse)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
            async with listening(address, bearer(desk, "a1")):
                pass  # somebody else's are counted apart
        async with asyncio.timeout(SOON):
            while True:
                try:
                    async with listening(address, nurse):
                        break
                except AssertionError:
                    await asyncio.sleep(0.05)


async def test_open_streams_do_not_hold_the_bridge_up(desk: BridgeDesk) -> None:
    nurse = bearer(desk)
    async with AsyncExitStack() as stack:
        with served(desk) as address:
            stream = await stack.enter_async_context(listening(address, nurse))
            told = asyncio.create_task(stream.rest())
            await asyncio.sleep(0)
        assert await told is not None  # it ended with the server, without an error


def test_a_lower_number_that_may_still_come_is_waited_for(desk: BridgeDesk) -> None:
    alert = of(desk, "patient-1")
    now = desk.now

    def change(position: int, ago: dt.timedelta) -> Change:
        return Change(position, now - ago, alert)

    young, old = dt.timedelta(0), SETTLES
    for given, position, expected in (
        ([change(4, young), change(5, young)], 3, [4, 5]),
        ([change(4, young), change(6, young)], 3, [4]),
        ([change(6, young)], 3, []),
        ([change(6, old), change(7, young)], 3, [6, 7]),
        ([], 3, []),
    ):
        assert [one.position for one in settled(given, position, now)] == expected
    assert len(desk.store.listings.changes(0, 2)) == 2 < AT_ONCE
