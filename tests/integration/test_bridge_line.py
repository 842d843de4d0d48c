"""The bridge between a real broker and a real store: nothing is acknowledged before it is durable."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud_bridge.connectors.base import CareContext, Identifier
from cloud_bridge.ingest import Ingest
from cloud_bridge.intake_loop import IntakeLoop
from cloud_bridge.replies import Replies
from cloud_bridge.steps import Step
from cloud_bridge.store.base import EnrolledGateway, InboxMessage
from cloud_bridge.store.sql import SqlStore
from cloud_bridge.subscriber import Subscriber
from service_kit.log import silent
from service_kit.mqtt_line import Broker, MqttLine
from tests.doubles.bridge_home import GATEWAY, SITE, ConnectedHome
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.edge_hospital import eventually
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from virtual_home.servers import broker
from wire_format.downlink import DownlinkHeader, Message, SeenByCareTeam, seal_downlink
from wire_format.errors import Unreachable
from wire_format.keys import SealKey
from wire_format.receipt import Verdict
from wire_format.statements import Assignment
from wire_format.topics import Channel, subscription

NOW = dt.datetime(2026, 11, 24, 8, 5, tzinfo=dt.UTC)
WHO = Identifier("https://hospital.example/id", "1")
CARE = CareContext(WHO, WHO, WHO, WHO, "en")


def sealer(message: Message, header: DownlinkHeader, recipient: SealKey) -> bytes:
    return seal_downlink(message, header, bridge_keys().messages, recipient)


@dataclass
class Running:
    """A bridge without pages and connectors, at work."""

    store: SqlStore
    steps: list[Step]
    replies: Replies
    inbox: "Inbox"


class Inbox:
    """The store's inbox; its disk can be full for a while."""

    def __init__(self, store: SqlStore) -> None:
        self.store, self.full, self.refusals = store, False, 0

    def accept_all(self, messages: list[tuple[str, bytes]], now: dt.datetime) -> None:
        if self.full:
            self.refusals += 1
            raise Unreachable("the disk is full")
        self.store.intake.accept_all(messages, now)


@asynccontextmanager
async def bridge(
    folder: Path, port: int, *, take: Callable[[InboxMessage], None] | None = None
) -> AsyncIterator[Running]:
    store = SqlStore(f"sqlite:///{folder}/bridge.sqlite", sealer, ())
    store.registry.enrol_gateway(EnrolledGateway(GATEWAY, SITE, gateway_keys().public, "0" * 16), NOW)
    store.registry.enrol_person(GATEWAY, "p-1", "patient-1", CARE)
    steps: list[Step] = []

    def observe(step: Step, _facts: object) -> None:
        steps.append(step)

    ingest = Ingest(store.intake, store.registry, bridge_keys().by_id, lambda: NOW, observe)
    if take is not None:
        honest = ingest.take

        def guarded(message: InboxMessage) -> None:
            take(message)
            honest(message)

        ingest.take = guarded  # type: ignore[method-assign]  # the bug that we imagine in ingest
    inbox = Inbox(store)
    ready: list[Replies] = []

    def wake() -> None:
        ready[0].wake()

    loop = IntakeLoop(store.intake, ingest, lambda: NOW, wake, silent())
    subscriber = Subscriber(inbox, lambda: NOW, silent(), loop.wake, wake, observe)
    key = bridge_keys().receipts
    replies = Replies(store.outgoing, subscriber.publish, key, lambda: NOW, silent(), observe)
    ready.append(replies)
    line = MqttLine(
        Broker("127.0.0.1", port, longest_pause_s=0.2),
        "bridge",
        subscriptions=[subscription(SITE, Channel.UP)],
        will=None,
        events=subscriber,
        log=silent(),
    )
    subscriber.line = line
    runs = (line.run(), subscriber.run(), loop.run(), replies.run())
    work = [asyncio.create_task(run) for run in runs]
    try:
        await eventually(lambda: line.up)
        yield Running(store, steps, replies, inbox)
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)
        store.close()


def reading(systolic: str, minutes: float) -> tuple[object, Assignment]:
    m = blood_pressure(systolic, minutes=minutes)
    return m, Assignment(
        statement_id=m.measurement_id,
        measurement_id=m.measurement_id,
        person="p-1",
        author=GATEWAY,
        stated_at=NOW,
        reason="the device's only user",
    )


async def test_what_is_stored_is_receipted_and_an_acknowledgement_comes_home(tmp_path: Path) -> None:
    server, port = broker(tmp_path / "broker")
    await server.start()
    home = ConnectedHome(port)
    try:
        async with bridge(tmp_path, port) as running:
            home.send(home.seal(reading("190", 1)))
            await eventually(lambda: len(home.receipts) == 1)
            (part,) = home.settled()
            assert (part.first, part.last, part.verdict) == (1, 1, Verdict.STORED)
            order = [Step.ARRIVED, Step.INBOX_COMMITTED, Step.ACKNOWLEDGED, Step.RECEIPT_PUBLISHED]
            # The home may have it before the broker's answer to us is heard.
            await eventually(lambda: order[-1] in running.steps)
            assert [running.steps.index(step) for step in order] == sorted(
                running.steps.index(step) for step in order
            )
            (alert,) = running.store.alerts.open_alerts()
            assert running.store.alerts.acknowledge(alert.alert_id, "nurse-1", NOW)
            running.replies.wake()
            await eventually(lambda: len(home.messages) == 1)
            message = home.messages[0].message
            assert isinstance(message, SeenByCareTeam)
            assert message.alert_id == alert.alert_id
            # The same again is receipted again, and nothing else happens.
            home.send(home.sealed[0])
            await eventually(lambda: len(home.receipts) == 2)
            assert running.store.counts()["measurements"] == 1
    finally:
        home.close()
        await server.stop()


async def test_a_full_disk_leaves_everything_with_the_broker(tmp_path: Path) -> None:
    server, port = broker(tmp_path / "broker")
    await server.start()
    home = ConnectedHome(port)
    try:
        async with bridge(tmp_path, port) as running:
            running.inbox.full = True
            home.send(home.seal(reading("130", 1)), home.seal(reading("131", 2)))
            await eventually(lambda: running.inbox.refusals > 0)
            assert Step.ACKNOWLEDGED not in running.steps
            assert running.store.counts()["envelopes"] == 0
        # That bridge is gone, without having acknowledged anything; the next one has a disk.
        async with bridge(tmp_path, port) as running:
            await eventually(lambda: home.receipted() == {1, 2})
            assert running.store.counts()["measurements"] == 2
    finally:
        home.close()
        await server.stop()


async def test_a_message_that_breaks_ingest_does_not_hold_up_the_others(tmp_path: Path) -> None:
    server, port = broker(tmp_path / "broker")
    await server.start()
    home = ConnectedHome(port)
    first = home.seal(reading("130", 1))
    broken = True

    def take(message: InboxMessage) -> None:
        if broken and message.data == first.data:
            raise ZeroDivisionError

    try:
        async with bridge(tmp_path, port, take=take) as running:
            home.send(first, home.seal(reading("131", 2)))
            await eventually(lambda: home.receipted() == {2})
            assert running.store.counts()["inbox"] == 1
            broken = False
            await eventually(lambda: home.receipted() == {1, 2})
            assert running.store.counts()["inbox"] == 0
    finally:
        home.close()
        await server.stop()


async def test_receipts_wait_for_the_broker(tmp_path: Path) -> None:
    server, port = broker(tmp_path / "broker")
    await server.start()
    home = ConnectedHome(port)
    try:
        async with bridge(tmp_path, port) as running:
            await server.stop()
            running.store.intake.accept(home.topic, home.seal(reading("130", 1)).data, NOW)
            await eventually(lambda: running.store.counts()["receipts_due"] == 1)
            await server.start()
            await eventually(lambda: len(home.receipts) == 1)
            await eventually(lambda: running.store.counts()["receipts_due"] == 0)
    finally:
        home.close()
        await server.stop()
