"""The sink beside the record: its write path against VictoriaMetrics, its deletes by what they say."""

import asyncio
import datetime as dt
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from cloud_bridge.store.influx import InfluxSink, nanoseconds
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk, assigned, redated, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from tests.doubles.odd_server import http, odd_server
from virtual_home.processes import Program, accepts, free_port

PROGRAM = shutil.which("victoria-metrics")
NEEDS_IT = pytest.mark.skipif(PROGRAM is None, reason="SKIPPED PART: victoria-metrics is not installed")


@asynccontextmanager
async def time_series(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    program = Program(
        "victoria-metrics",
        [
            str(PROGRAM),
            f"-storageDataPath={folder}/data",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-retentionPeriod=100y",
            "-search.latencyOffset=0s",
        ],
        log=folder / "victoria-metrics.log",
        ready=lambda: accepts(port),
    )
    await program.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await program.stop()


def sink(desk: BridgeDesk, url: str) -> InfluxSink:
    return InfluxSink(desk.store.engine, url=url, organization="ward", bucket="b", token="t", log=silent())  # noqa: S106 - an example


async def exported(url: str) -> dict[str, dict[int, float]]:
    """Everything the engine has: name to time (ms) to value."""
    async with httpx.AsyncClient(base_url=url) as client:
        await client.get("/internal/force_flush")
        answer = await client.get("/api/v1/export", params={"match[]": '{__name__!=""}'})
    found: dict[str, dict[int, float]] = {}
    for line in answer.text.splitlines():
        series = json.loads(line)
        found.setdefault(series["metric"]["__name__"], {}).update(
            zip(series["timestamps"], series["values"], strict=True)
        )
    return found


@NEEDS_IT
async def test_what_is_stored_can_be_asked_as_a_time_series(tmp_path: Path) -> None:
    desk, home = BridgeDesk(tmp_path), SealingHome()
    for minute in range(3):
        desk.receive(home, home.seal(told(blood_pressure(str(130 + minute), minutes=minute))))
    desk.receive(home, home.seal([blood_pressure("150", minutes=9)]))  # nobody's
    desk.receive(home, home.seal(told(blood_pressure("160", minutes=None))))  # without a time
    async with time_series(tmp_path) as url:
        one = sink(desk, url)
        assert one.step() == 5
        assert one.step() == 0
        found = await exported(url)
        assert sorted(found["blood_pressure_systolic"].values()) == [130, 131, 132]
        at = {round((NOW + dt.timedelta(minutes=m)).timestamp() * 1000) for m in range(3)}
        assert set(found["blood_pressure_systolic"]) == at
        # Sent again from the beginning, it is the same.
        with desk.store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM sink_cursor")
        assert one.step() == 5
        assert await exported(url) == found
        one.close()
    desk.close()


async def test_a_reading_that_was_dated_again_is_deleted_where_it_was(tmp_path: Path) -> None:
    desk, home = BridgeDesk(tmp_path), SealingHome()
    m = blood_pressure("130")
    heard: list[bytes] = []
    async with odd_server(http("204 No Content"), heard=heard) as url:
        one = sink(desk, url.removesuffix("/fhir"))
        desk.receive(home, home.seal(told(m)))
        assert await asyncio.to_thread(one.step) == 1
        desk.receive(home, home.seal([redated(m, NOW - dt.timedelta(hours=1))]))
        assert await asyncio.to_thread(one.step) == 1
        one.close()
    wrote, deleted, wrote_again = heard
    assert b"/api/v2/write" in wrote
    assert b"/api/v2/delete" in deleted
    offset = m.measurement_id.int % 10**6
    assert f"2026-11-24T08:00:00.{offset:09d}Z".encode() in deleted
    hour_before = int((NOW - dt.timedelta(hours=1)).timestamp()) * 10**9 + offset
    assert str(hour_before).encode() in wrote_again
    assert [row["position"] for row in desk.table("sink_cursor")] == [2]
    desk.close()


@pytest.mark.parametrize("person", ["p-2", None])
async def test_a_reading_that_was_another_persons_is_not_left_with_them(
    tmp_path: Path, person: str | None
) -> None:
    desk, home = BridgeDesk(tmp_path), SealingHome()
    m = blood_pressure("130")
    heard: list[bytes] = []
    async with odd_server(http("204 No Content"), heard=heard) as url:
        one = sink(desk, url.removesuffix("/fhir"))
        desk.receive(home, home.seal(told(m)))
        assert await asyncio.to_thread(one.step) == 1
        desk.receive(home, home.seal([assigned(m, person, later=60)]))
        assert await asyncio.to_thread(one.step) == 1
        one.close()
    wrote, deleted, *wrote_again = heard
    assert b"patient=patient-1" in wrote
    offset = m.measurement_id.int % 10**6
    assert f"2026-11-24T08:00:00.{offset:09d}Z".encode() in deleted
    assert [b"patient=patient-2" in data for data in wrote_again] == ([True] if person else [])
    desk.close()


def test_equal_moments_of_two_readings_stay_apart() -> None:
    first, second = (blood_pressure(str(value)).measurement_id for value in (130, 131))
    assert nanoseconds(NOW, first) != nanoseconds(NOW, second)
    assert all(0 <= nanoseconds(NOW, i) - int(NOW.timestamp()) * 10**9 < 10**6 for i in (first, second))
    assert Decimal(nanoseconds(NOW, first)) // 10**6 == int(NOW.timestamp() * 1000)


async def test_a_sink_that_is_away_is_never_in_the_way(tmp_path: Path) -> None:
    desk, home = BridgeDesk(tmp_path), SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124"))))
    one = sink(desk, "http://127.0.0.1:1")
    with pytest.raises(Exception, match="Connection refused"):
        one.step()
    one.close()
    assert desk.table("sink_cursor") == []
    assert len(desk.store.outgoing.receipts_due(10)) == 1
    assert len(desk.store.alerts.open_alerts()) == 1
    desk.close()
