"""A real receiver that is slow, and a withdrawal in the middle: nothing leaves that was withdrawn."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from cloud_bridge.access.model import DataType
from cloud_bridge.connectors.webhook import WebhookConnector
from cloud_bridge.connectors.webhook_map import Sends
from cloud_bridge.delivery import DeliveryLoop
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.clinic import CLINIC, NEEDED, bring, clinic_server, give, held, withdraw


@asynccontextmanager
async def running(desk: BridgeDesk, url: str) -> AsyncIterator[DeliveryLoop]:
    def now() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    async with WebhookConnector(url, (bytes(32),), list(Sends), name="clinic", timeout_s=60) as connector:
        loop = DeliveryLoop(desk.store.deliveries, {CLINIC: connector}, now, log=silent())
        task = asyncio.create_task(loop.run())
        try:
            yield loop
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def wait_for(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(found):  # noqa: ASYNC110 - a store and a server are asked
            await asyncio.sleep(0.02)


async def test_a_withdrawal_in_the_middle_stops_a_slow_receiver_s_queue(tmp_path: Path) -> None:
    desk = BridgeDesk(tmp_path, destinations=(CLINIC,), consent_needed=NEEDED)
    give(desk, *DataType)
    bring(desk, *(blood_pressure("128", minutes=minute) for minute in range(12)))
    queued = desk.store.deliveries.waiting()
    heard: list[str] = []
    async with clinic_server(0.3, heard) as url, running(desk, url):
        await wait_for(lambda: len(heard) >= 2)
        await asyncio.to_thread(withdraw, desk, *DataType)
        then = len(heard)  # the withdrawal is committed
        await wait_for(lambda: desk.store.deliveries.waiting() == 0)
        assert len(heard) <= then + 1  # at most the one that was under way
        arrived = len(set(heard))
        assert sum(count for _, count in held(desk)) == queued - arrived
        assert arrived < queued
        await asyncio.to_thread(give, desk, *DataType)
        await wait_for(lambda: len(set(heard)) == queued)
        await wait_for(lambda: held(desk) == [] and desk.store.deliveries.waiting() == 0)
    assert len(heard) == queued  # each once
    assert desk.store.access.broken_at() is None
    desk.close()


@pytest.mark.timeout(60)
async def test_nothing_is_under_way_for_longer_than_is_promised(tmp_path: Path) -> None:
    desk = BridgeDesk(tmp_path, destinations=(CLINIC,), consent_needed=NEEDED)
    give(desk, *DataType)
    bring(desk, blood_pressure("128"))
    heard: list[str] = []

    def given_up() -> bool:
        return any(
            "did not confirm within 4.5 s" in (row["last_error"] or "") for row in desk.table("delivery")
        )

    async with clinic_server(3600, heard) as url, running(desk, url):
        await wait_for(lambda: len(heard) == 1)
        await asyncio.to_thread(withdraw, desk, *DataType)
        await wait_for(given_up)
        await wait_for(lambda: held(desk) == [("blood_pressure", 1)])
    assert len(heard) == 1
    desk.close()
