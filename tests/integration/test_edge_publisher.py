"""The publisher against a real broker, with a hospital that opens and receipts."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from edge_agent.clock import GatewayClock, vouched
from edge_agent.outbox import Outbox
from edge_agent.publisher import STATUS_S, Gateway, Publisher, acknowledgements
from edge_agent.retransmission import Pace, Schedule
from edge_agent.sink import GatewayVoice, OutboxSink, Sealer
from edge_agent.steps import Step
from service_kit.log import silent
from service_kit.mqtt_line import Broker, Letter, MqttLine
from tests.doubles.edge_hospital import GATEWAY, SITE, Hospital, eventually, topic
from tests.doubles.edge_readings import BOOT, CUFF, bridge_keys, gateway_keys, pressure
from virtual_home.processes import Program
from virtual_home.servers import broker
from wire_format.downlink import ResendFrom, SeenByCareTeam
from wire_format.keys import BridgeKeys
from wire_format.measurement import Measurement
from wire_format.receipt import Verdict, issue, sign_receipt
from wire_format.statements import GatewayEvent, GatewayEventKind
from wire_format.status import Presence, decode_status
from wire_format.topics import Channel

CLOCK = GatewayClock(BOOT, uncertainty=vouched(5))


@dataclass
class Home:
    outbox: Outbox
    publisher: Publisher
    sink: OutboxSink
    steps: list[Step]

    def measure(self, systolic: int) -> None:
        self.sink.commit([pressure(systolic)])
        self.publisher.wake()


@asynccontextmanager
async def home(folder: Path, port: int, pace: Pace | None = None) -> AsyncIterator[Home]:
    steps: list[Step] = []
    box = Outbox(folder, GATEWAY)
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
    gateway = Gateway(SITE, GATEWAY, "0.1.0", gateway_keys(), bridge_keys().public)
    publisher = Publisher(
        gateway,
        box,
        Schedule(pace or Pace()),
        GatewayVoice(box, sealer, CLOCK),
        CLOCK,
        silent(),
        time.monotonic,
        lambda step, _: steps.append(step),
    )
    line = MqttLine(
        Broker("127.0.0.1", port, keepalive_s=5, longest_pause_s=0.2),
        f"{SITE}-{GATEWAY}",
        subscriptions=[topic(Channel.RECEIPT), topic(Channel.DOWN)],
        will=lambda: Letter(topic(Channel.STATUS), gateway.status(Presence.LOST, CLOCK.now().utc)),
        events=publisher,
        log=silent(),
    )
    publisher.line = line
    tasks = [asyncio.create_task(line.run()), asyncio.create_task(publisher.run())]
    try:
        yield Home(box, publisher, OutboxSink(box, sealer, CLOCK, CUFF.device_id, ()), steps)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        box.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Program, int]]:
    program, port = broker(tmp_path / "broker")
    await program.start()
    yield program, port
    await program.stop()


@pytest.fixture
async def hospital(server: tuple[Program, int]) -> AsyncIterator[Hospital]:
    one = Hospital(server[1])
    yield one
    one.close()


def systolics(hospital: Hospital) -> list[int]:
    return [int(i.components[0].value or 0) for i in hospital.items() if isinstance(i, Measurement)]


async def test_a_reading_is_published_and_settled_by_its_receipt(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    async with home(tmp_path / "state", server[1]) as one:
        one.measure(120)
        one.measure(121)
        await hospital.until(lambda: one.outbox.counts().settled == 2)
        assert hospital.items()[0] == pressure(120)
        assert systolics(hospital) == [120, 121]
        assert one.outbox.unsettled() == []
        await hospital.until(lambda: Step.PUBACK in one.steps)
        assert decode_status(hospital.statuses[-1]).presence is Presence.ONLINE
        order = [Step.PUBLISHING, Step.PUBLISHED, Step.RECEIPT_RECEIVED, Step.RECEIPT_VERIFIED]
        positions = [one.steps.index(step) for step in [*order, Step.RECEIPT_SETTLED]]
        assert positions == sorted(positions)


async def test_it_says_again_that_it_is_there(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    async with home(tmp_path / "state", server[1]) as one:
        await hospital.until(lambda: len(hospital.statuses) == 1)
        for passed in (STATUS_S - 60, STATUS_S + 60, STATUS_S + 120):
            one.publisher.monotonic = lambda passed=passed: time.monotonic() + passed  # type: ignore[misc]  # as it is now
            one.publisher.wake()
            one.measure(120)
            await hospital.until(lambda: one.outbox.counts().waiting == 0)
        await hospital.until(lambda: len(hospital.statuses) == 2)
        said = [decode_status(status) for status in hospital.statuses]
        assert [one.presence for one in said] == [Presence.ONLINE] * 2
        assert said[0].since < said[1].since


async def test_without_a_receipt_the_same_bytes_come_again(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    hospital.receipting = False
    async with home(tmp_path / "state", server[1], Pace(first_s=0.05, longest_s=0.1)) as one:
        one.measure(120)
        await hospital.until(lambda: len(hospital.arrived) >= 3)
        assert len({arrived.digest for arrived in hospital.arrived}) == 1
        assert one.outbox.counts().waiting == 1
        hospital.receipt(hospital.arrived[:1])
        await hospital.until(lambda: one.outbox.counts().waiting == 0)


async def test_receipts_of_strangers_settle_nothing(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    hospital.receipting = False
    async with home(tmp_path / "state", server[1]) as one:
        one.measure(120)
        await hospital.until(lambda: len(hospital.arrived) == 1)
        header = hospital.arrived[0].header
        right = [(1, Verdict.STORED, hospital.arrived[0].digest)]
        now = dt.datetime.now(dt.UTC)
        forged = issue(GATEWAY, header.outbox_id, right, now)[0]
        elsewhere = issue("gw-2", header.outbox_id, right, now)[0]
        other_bytes = issue(GATEWAY, header.outbox_id, [(1, Verdict.STORED, bytes(32))], now)[0]
        hospital.send(Channel.RECEIPT, sign_receipt(forged, BridgeKeys.generate().receipts))
        hospital.send(Channel.RECEIPT, sign_receipt(elsewhere, bridge_keys().receipts))
        hospital.send(Channel.RECEIPT, sign_receipt(other_bytes, bridge_keys().receipts))
        hospital.send(Channel.RECEIPT, b"not a receipt")
        await hospital.until(lambda: one.steps.count(Step.RECEIPT_RECEIVED) == 4)
        assert one.outbox.counts().waiting == 1
        hospital.send(Channel.RECEIPT, sign_receipt(forged, bridge_keys().receipts))
        await hospital.until(lambda: one.outbox.counts().waiting == 0)


async def test_a_fork_begins_another_outbox(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    hospital.receipting = False
    async with home(tmp_path / "state", server[1]) as one:
        old = one.outbox.outbox_id
        one.measure(120)
        await hospital.until(lambda: len(hospital.arrived) == 1)
        hospital.receipt(hospital.arrived[:1], Verdict.FORKED)
        await hospital.until(lambda: len(hospital.arrived) == 2)
        header = hospital.arrived[1].header
        assert (header.outbox_id, header.sequence) == (one.outbox.outbox_id, 1)
        assert header.outbox_id != old
        told = hospital.items(header.outbox_id)[0]
        assert isinstance(told, GatewayEvent)
        assert told.kind is GatewayEventKind.OUTBOX_OPENED


async def test_the_home_hears_that_the_care_team_saw_it_once(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    seen = SeenByCareTeam(alert_id=uuid4(), role="nurse", at=dt.datetime.now(dt.UTC))
    async with home(tmp_path / "state", server[1]) as one:
        await hospital.until(lambda: bool(hospital.statuses))
        for _ in range(2):
            hospital.say(seen, 5)
        hospital.say(seen, 6, dt.datetime.now(dt.UTC) - dt.timedelta(days=8))
        await hospital.until(lambda: one.steps.count(Step.DOWNLINK_RECEIVED) == 3)
        assert one.steps.count(Step.DOWNLINK_STORED) == 1
        assert acknowledgements(one.outbox) == [(seen.alert_id, seen.at)]


async def test_a_restored_hospital_gets_everything_again_and_old_receipts_do_not_count(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    async with home(tmp_path / "state", server[1]) as one:
        for systolic in (120, 121, 122):
            one.measure(systolic)
        await hospital.until(lambda: one.outbox.counts().settled == 3)
        first = list(hospital.arrived)
        hospital.receipting = False
        old = issue(
            GATEWAY,
            one.outbox.outbox_id,
            [(2, Verdict.STORED, first[1].digest)],
            dt.datetime.now(dt.UTC) - dt.timedelta(hours=1),
        )[0]
        hospital.say(ResendFrom(outbox_id=one.outbox.outbox_id, sequence=2), 1)
        await hospital.until(lambda: len(hospital.arrived) == 5)
        assert [a.digest for a in hospital.arrived[3:]] == [a.digest for a in first[1:]]
        received = one.steps.count(Step.RECEIPT_RECEIVED)
        hospital.send(Channel.RECEIPT, sign_receipt(old, bridge_keys().receipts))
        await hospital.until(lambda: one.steps.count(Step.RECEIPT_RECEIVED) > received)
        assert one.outbox.counts().waiting == 2
        hospital.receipt(first[1:])
        await hospital.until(lambda: one.outbox.counts().waiting == 0)


async def test_a_broker_that_dies_and_forgets_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    program, port = broker(folder)
    await program.start()
    async with home(tmp_path / "state", port) as one:
        one.measure(120)
        await eventually(lambda: Step.PUBACK in one.steps)
        await program.kill()
        (folder / "mosquitto.db").unlink(missing_ok=True)
        one.measure(121)
        await program.start()
        hospital = Hospital(port)
        try:
            await hospital.until(lambda: one.outbox.counts().settled == 2)
            assert set(systolics(hospital)) == {120, 121}
        finally:
            hospital.close()
    await program.stop()


async def test_the_broker_speaks_for_a_home_that_is_gone(
    tmp_path: Path, server: tuple[Program, int], hospital: Hospital
) -> None:
    async with home(tmp_path / "state", server[1]) as one:
        await hospital.until(lambda: bool(hospital.statuses))
        line = one.publisher.line
        assert isinstance(line, MqttLine)
        farewell = Letter(topic(Channel.STATUS), one.publisher.status(Presence.OFFLINE))
        await line.say_goodbye(farewell)
        await hospital.until(lambda: len(hospital.statuses) >= 2)
    told = [decode_status(status).presence for status in hospital.statuses]
    assert told[:2] == [Presence.ONLINE, Presence.OFFLINE]
