"""What needs a consent waits for it, visibly; a withdrawal reaches what is queued, and what is under way."""

import asyncio
import datetime as dt
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from cloud_bridge.access.model import Action, DataType
from cloud_bridge.connectors.base import AlertOrder, Connector, ReadingOrder, WithdrawnReading
from cloud_bridge.connectors.webhook import WebhookConnector
from cloud_bridge.connectors.webhook_map import Sends
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.steps import Step
from cloud_bridge.store.base import ConsentGoneError
from cloud_bridge.store.consent_holds import HOLD_LASTS
from cloud_bridge.store.sql import SqlStore
from service_kit.key_files import write_private
from service_kit.log import silent
from tests.doubles.bridge_connector import ScriptedConnector
from tests.doubles.bridge_desk import BridgeDesk, assigned, sealer, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.edge_readings import bridge_keys
from wire_format.errors import Unreachable
from wire_format.measurement import Measurement

CLINIC, FHIR = "webhook:clinic", "fhir"
TO = "organization:clinic"
NEEDED = {CLINIC: TO}
SEVERE = blood_pressure("192", "124")
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path, destinations=(FHIR, CLINIC), consent_needed=NEEDED)
    yield made
    made.close()


def bring(desk: BridgeDesk, *measured: Measurement, outbox: int = 1) -> None:
    home = SealingHome(outbox=outbox)
    for one in measured:
        desk.receive(home, home.seal(told(one)))


def give(desk: BridgeDesk, *data: DataType, patient: str = "patient-1", **times: dt.datetime) -> None:
    for one in data:
        desk.store.access.give_consent(
            patient, TO, one, text_version="2026-1", by=patient, now=desk.now, **times
        )


def withdraw(
    desk: BridgeDesk, *data: DataType, patient: str = "patient-1", at: dt.datetime | None = None
) -> int:
    moment = at or desk.now
    return sum(desk.store.access.withdraw_consent(patient, TO, one, by=patient, now=moment) for one in data)


class Pair:
    """The hospital's own system, which needs no consent, and the clinic's, which does."""

    def __init__(self, desk: BridgeDesk, *failures: Exception) -> None:
        self.hospital, self.clinic = ScriptedConnector(), ScriptedConnector(*failures)
        connectors: dict[str, Connector] = {FHIR: self.hospital, CLINIC: self.clinic}
        self.loop = DeliveryLoop(desk.store.deliveries, connectors, lambda: desk.now, log=silent())

    async def deliver(self) -> None:
        """Deliver until nothing is due."""
        for _ in range(50):
            if not await self.loop.round():
                return
        raise AssertionError("something is due for ever")


def held(desk: BridgeDesk) -> list[tuple[str, int]]:
    return [(one.data, one.count) for one in desk.store.deliveries.held()]


def noted(desk: BridgeDesk) -> list[tuple[str, bool, str]]:
    entries = [one for one, _ in desk.store.access.entries("patient-1", Action.READ)]
    assert {(one.account, one.role) for one in entries} <= {(CLINIC, "destination")}
    assert desk.store.access.broken_at() is None
    return [(one.data or "", one.allowed, one.reason) for one in entries]


async def test_without_consent_it_is_held_and_with_it_let_go(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    bring(desk, SEVERE)
    await pair.deliver()
    assert len(pair.hospital.taken) == 2
    assert pair.clinic.taken == []
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]
    assert desk.store.deliveries.waiting() == 0
    assert desk.store.alerts.dead_letters() == []
    assert noted(desk) == [
        ("alerts", False, f"1 held back: {TO} has no consent"),
        ("blood_pressure", False, f"1 held back: {TO} has no consent"),
    ]
    give(desk, DataType.GLUCOSE)
    give(desk, DataType.BLOOD_PRESSURE, patient="patient-2")
    await pair.deliver()
    assert pair.clinic.taken == []
    give(desk, DataType.ALERTS)
    await pair.deliver()
    (alert,) = pair.clinic.taken
    assert isinstance(alert, AlertOrder)
    assert alert.readings == ()  # of the readings it stands on it may not be told
    give(desk, DataType.BLOOD_PRESSURE)
    await pair.deliver()
    (_, reading) = pair.clinic.taken
    assert isinstance(reading, ReadingOrder)
    assert held(desk) == []
    assert noted(desk)[2:] == [
        ("alerts", True, f"1 let go: {TO} has consent"),
        ("blood_pressure", True, f"1 let go: {TO} has consent"),
    ]


async def test_with_consent_to_both_an_alert_has_its_readings(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    (alert,) = pair.clinic.alerts
    assert len(alert.readings) == 1
    assert len(pair.clinic.taken) == 2
    assert noted(desk) == []


async def test_a_withdrawal_reaches_what_waits_to_be_tried_again(desk: BridgeDesk) -> None:
    pair = Pair(desk, *[Unreachable("away")] * 2)
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    assert desk.store.deliveries.waiting() == 2
    withdraw(desk, *DataType)
    await pair.deliver()  # at the same moment: the pause after a failure is not waited for
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]
    desk.now += HOUR
    await pair.deliver()
    assert pair.clinic.taken == []
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    await pair.deliver()
    assert len(pair.clinic.taken) == 2


async def test_a_withdrawal_counts_although_its_writer_s_clock_is_ahead(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    withdraw(desk, *DataType, at=desk.now + HOUR)
    bring(desk, SEVERE)
    await pair.deliver()
    assert pair.clinic.taken == []


async def test_what_was_sent_is_not_unsent_and_what_follows_is_held(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, *DataType)
    bring(desk, SEVERE)
    await pair.deliver()
    withdraw(desk, *DataType)
    bring(desk, blood_pressure("128", minutes=5), outbox=2)
    await pair.deliver()
    assert not [one for one in pair.clinic.taken if isinstance(one, WithdrawnReading)]
    assert len(pair.clinic.taken) == 2
    assert ("blood_pressure", 1) in held(desk)


async def test_a_consent_counts_from_its_beginning_to_its_end(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    bring(desk, SEVERE)
    await pair.deliver()
    times = {"valid_from": desk.now + HOUR, "valid_until": desk.now + 2 * HOUR}
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE, **times)
    await pair.deliver()
    assert pair.clinic.taken == []
    desk.now += HOUR
    await pair.deliver()
    assert len(pair.clinic.taken) == 2
    desk.now += HOUR
    bring(desk, blood_pressure("128", minutes=5), outbox=2)
    await pair.deliver()
    assert len(pair.clinic.taken) == 2


async def test_what_nobody_consents_to_becomes_a_dead_letter_in_the_end(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    bring(desk, SEVERE)
    await pair.deliver()
    desk.now += HOLD_LASTS - HOUR
    await pair.deliver()
    assert desk.store.alerts.dead_letters() == []
    desk.now += HOUR
    await pair.deliver()
    letters = desk.store.alerts.dead_letters()
    assert [one.key.destination for one in letters] == [CLINIC] * 2
    assert "organization:clinic had no consent to" in letters[0].last_error
    assert held(desk) == []
    for letter in letters:  # to try again is not to get round it
        desk.store.deliveries.retry_dead(letter.key, desk.now)
    await pair.deliver()
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]
    assert pair.clinic.taken == []


async def test_a_reading_that_is_somebody_elses_is_taken_back_and_held(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    home = SealingHome(outbox=2)
    desk.receive(home, home.seal([assigned(SEVERE, "p-2", later=60)]))
    await pair.deliver()
    first, second = pair.clinic.taken
    assert isinstance(first, ReadingOrder)
    assert second == WithdrawnReading(SEVERE.measurement_id)
    mine = [one for one in desk.store.deliveries.held() if one.patient == "patient-2"]
    assert [(one.data, one.count) for one in mine if one.data == "blood_pressure"] == [("blood_pressure", 1)]
    give(desk, DataType.BLOOD_PRESSURE, patient="patient-2")
    await pair.deliver()
    third = pair.clinic.taken[-1]
    assert isinstance(third, ReadingOrder)
    assert third.reading.patient == "patient-2"


async def test_a_reading_that_is_nobodys_is_taken_back_without_a_consent(desk: BridgeDesk) -> None:
    pair = Pair(desk)
    give(desk, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    await pair.deliver()
    withdraw(desk, *DataType)
    home = SealingHome(outbox=2)
    desk.receive(home, home.seal([assigned(SEVERE, None, later=60)]))
    await pair.deliver()
    assert WithdrawnReading(SEVERE.measurement_id) in pair.clinic.taken


async def test_a_withdrawal_between_claim_and_sending_stops_it(desk: BridgeDesk) -> None:
    give(desk, DataType.ALERTS, DataType.BLOOD_PRESSURE)
    bring(desk, SEVERE)
    clinic = ScriptedConnector()

    def observe(step: Step, _facts: object) -> None:
        if step is Step.DELIVERY_CLAIMED:
            withdraw(desk, *DataType)

    loop = DeliveryLoop(desk.store.deliveries, {CLINIC: clinic}, lambda: desk.now, observe, log=silent())
    for _ in range(4):
        await loop.round()
    assert clinic.taken == []
    assert held(desk) == [("alerts", 1), ("blood_pressure", 1)]


def test_an_order_is_made_only_of_what_its_claim_stood_on(desk: BridgeDesk) -> None:
    give(desk, DataType.ALERTS)
    bring(desk, SEVERE)
    claims = desk.store.deliveries.claim_deliveries(desk.now, 100)
    (claimed,) = [one for one in claims if one.key.destination == CLINIC]
    assert desk.store.deliveries.load(claimed, desk.now) is not None
    withdraw(desk, DataType.ALERTS)
    with pytest.raises(ConsentGoneError):
        desk.store.deliveries.load(claimed, desk.now)


async def test_a_destination_that_needs_none_any_more_gets_what_was_held(
    desk: BridgeDesk, tmp_path: Path
) -> None:
    bring(desk, SEVERE)
    await Pair(desk).deliver()
    again = SqlStore(f"sqlite:///{tmp_path}/bridge.sqlite", sealer, (FHIR, CLINIC), consent_needed=NEEDED)
    again.deliveries.needs_changed(desk.now)
    assert again.deliveries.claim_deliveries(desk.now, 10) == []
    again.close()
    other = {CLINIC: "organization:other"}
    again = SqlStore(f"sqlite:///{tmp_path}/bridge.sqlite", sealer, (FHIR, CLINIC), consent_needed=other)
    again.deliveries.needs_changed(desk.now)
    assert again.deliveries.claim_deliveries(desk.now, 10) == []
    assert {one.recipient for one in again.deliveries.held()} == {"organization:other"}
    again.close()
    again = SqlStore(f"sqlite:///{tmp_path}/bridge.sqlite", sealer, (FHIR, CLINIC))
    again.deliveries.needs_changed(desk.now)
    assert len(again.deliveries.claim_deliveries(desk.now, 10)) == 2
    again.close()


# --- a real receiver that is slow, and a withdrawal in the middle ---


@asynccontextmanager
async def clinic_server(pause_s: float, heard: list[str]) -> AsyncIterator[str]:
    """Take events, note each as it is heard, and answer late. Yield the URL."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length.split(b":")[1]))
                heard.append(json.loads(body)["id"])
                await asyncio.sleep(pause_s)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()


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


# --- what people see ---


def test_status_says_what_is_held_and_why(tmp_path: Path) -> None:
    write_private(tmp_path / "bridge.key", bridge_keys())
    config = tmp_path / "bridge.toml"
    config.write_text(f"""
site = "ward"
state = "{tmp_path}"
[keys]
bridge = "{tmp_path}/bridge.key"
[broker]
host = "127.0.0.1"
port = 1883
[[webhook]]
name = "clinic"
url = "https://clinic.example/hook"
secret_file = "secret"
sends = ["readings", "alerts"]
consent = "required"
recipient = "{TO}"
""")
    desk = BridgeDesk(tmp_path, destinations=(CLINIC,), consent_needed=NEEDED)
    bring(desk, SEVERE)
    assert desk.store.deliveries.claim_deliveries(desk.now, 20) == []
    desk.close()
    argv = [sys.executable, "-m", "cloud_bridge.cli", "status", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    status = json.loads(done.stdout)
    assert (status["destinations"], status["deliveries_waiting"]) == ([CLINIC], 0)
    assert [(one["patient"], one["count"], one["reason"]) for one in status["held_back"]] == [
        ("patient-1", 1, f"{TO} has no consent to alerts"),
        ("patient-1", 1, f"{TO} has no consent to blood_pressure"),
    ]
