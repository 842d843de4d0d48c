"""HL7 v2 over MLLP, with a receiver that another implementation runs, in clear and over mutual TLS."""

import asyncio
import datetime as dt
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.mllp import start_hl7_server

from cloud_bridge.connectors.hl7_map import Routing
from cloud_bridge.connectors.hl7v2 import Hl7V2Connector, Peer
from cloud_bridge.delivery import DeliveryLoop
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_orders import alert_order, order
from tests.doubles.bridge_readings import blood_pressure, reading
from tests.doubles.receivers import acknowledgement


class Engine:
    """An interface engine: parses, files by control id, acknowledges."""

    def __init__(self) -> None:
        self.filed: dict[str, hl7.Message] = {}
        self.connections = 0
        self._serving: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: Any, writer: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            while True:
                message = await reader.readmessage()
                self.filed[str(message["MSH.F10"])] = message
                writer.writemessage(message.create_ack("AA"))
                await writer.drain()
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    async def stop(self) -> None:
        await asyncio.wait(self._serving, timeout=2)


@asynccontextmanager
async def engine(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Engine, int]]:
    one = Engine()
    server = await start_hl7_server(one.serve, "127.0.0.1", 0, encoding="utf-8", ssl=tls)
    try:
        yield one, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if one.connections:
            await one.stop()
        await server.wait_closed()


async def test_readings_and_alerts_are_filed_once_on_one_connection() -> None:
    async with engine() as (one, port):
        async with Hl7V2Connector(Peer("127.0.0.1", port), Routing("APP", "FAC", "T")) as connector:
            for _ in range(2):
                await asyncio.gather(
                    *(connector.deliver(order(reading(str(120 + n), minutes=n))) for n in range(20)),
                    connector.deliver(alert_order()),
                )
        assert len(one.filed) == 21
        assert one.connections == 1
        kinds = {str(m.segment("MSH")[9]) for m in one.filed.values()}
        assert kinds == {"ORU^R01^ORU_R01", "ORU^R40^ORU_R40"}


async def test_texts_of_any_language_arrive() -> None:
    async with engine() as (one, port):
        async with Hl7V2Connector(Peer("127.0.0.1", port), Routing("", "")) as connector:
            await connector.deliver(replace(alert_order(), reason="血压严重升高 | 复测"))
        (message,) = one.filed.values()
        said = message.unescape(str(message["OBX.F5"]))
        assert said.startswith("血压严重升高 | 复测")


# --- a receiver that misbehaves ---


class Moody:
    """A raw socket: `moods` are what it does with the next frames, one after the other; then it behaves.

    `heard` counts every whole frame by its control id (MSH-10), whatever was answered.
    """

    def __init__(self, *moods: str) -> None:
        self.moods = list(moods)
        self.heard: Counter[str] = Counter()
        self.before = "none-before"
        self.connections = 0
        self._again = asyncio.Event()
        self._serving: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        self._again.set()
        self._again = asyncio.Event()
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # gone, or stopped by `stop`
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        mood = self.moods.pop(0) if (begun := await reader.readexactly(30)) and self.moods else "AA"
        if mood == "closes_in_our_frame":
            return False
        frame = begun + await reader.readuntil(b"\x1c\r")
        control_id = frame.split(b"|")[9].decode()
        self.heard[control_id] += 1
        await self._answer(mood, control_id, writer)
        self.before = control_id
        return mood not in {"closes_in_its_own", "answers_after_the_reconnect"}

    async def _answer(self, mood: str, control_id: str, writer: asyncio.StreamWriter) -> None:
        ack = acknowledgement("AA", control_id)
        match mood:
            case "AE" | "AR":
                ack = acknowledgement(mood, control_id)
            case "silent":
                return
            case "names_another":
                ack = acknowledgement("AA", "another")
            case "answers_after_the_reconnect":
                await self._again.wait()
            case "closes_in_its_own":
                ack = ack[: len(ack) // 2]
            case "two_in_one_packet":
                ack += acknowledgement("AA", self.before)
            case "twice_in_one_packet":
                ack *= 2
            case "noise_before":
                ack = b"\r\n\x00 hello \x0bMSH|^~\\&|cut" + ack + b"\n"
        parts = [ack[i : i + 1] for i in range(len(ack))] if mood == "byte_by_byte" else [ack]
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    async def stop(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


@asynccontextmanager
async def moody(*moods: str) -> AsyncIterator[tuple[Moody, int]]:
    one = Moody(*moods)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    try:
        yield one, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await one.stop()
        await server.wait_closed()


def measured_day(folder: Path) -> BridgeDesk:
    """Five readings and the alert of one of them wait for the interface engine."""
    desk = BridgeDesk(folder, destinations=("hl7v2",))
    home = SealingHome()
    for minute, systolic in enumerate(("192", "121", "118", "125", "119")):
        desk.receive(home, home.seal(told(blood_pressure(systolic, minutes=20 * minute))))
    return desk


async def deliver_all(desk: BridgeDesk, port: int) -> int:
    """Deliver until nothing waits; what became a dead letter is tried again. Return how many of those."""
    dead = 0
    peer = Peer("127.0.0.1", port, timeout_s=0.3)
    async with Hl7V2Connector(peer, Routing("APP", "FAC", "T"), clock=lambda: desk.now) as connector:
        loop = DeliveryLoop(desk.store.deliveries, {"hl7v2": connector}, lambda: desk.now, log=silent())
        for _ in range(20):
            await loop.round()
            for letter in desk.store.alerts.dead_letters():
                dead += 1
                desk.store.alerts.retry_dead(letter.key, desk.now)
            if not desk.store.deliveries.waiting():
                break
            desk.now += dt.timedelta(minutes=11)
    return dead


@pytest.mark.parametrize(
    ("mood", "again", "dead"),
    [
        ("AE", 1, 1),
        ("AR", 1, 0),
        ("silent", 1, 0),
        ("names_another", 1, 0),
        ("answers_after_the_reconnect", 1, 0),
        ("closes_in_our_frame", 0, 0),  # it never had it
        ("closes_in_its_own", 1, 0),
        ("byte_by_byte", 0, 0),
        ("two_in_one_packet", 1, 0),  # what is left over is no answer to the next one
        ("twice_in_one_packet", 1, 0),
        ("noise_before", 0, 0),
    ],
)
async def test_nothing_is_lost_and_what_comes_again_has_the_same_control_id(
    tmp_path: Path, mood: str, again: int, dead: int
) -> None:
    (tmp_path / "calm").mkdir()
    calm = measured_day(tmp_path / "calm")
    async with engine() as (one, port):
        assert await deliver_all(calm, port) == 0
        expected = set(one.filed)
    desk = measured_day(tmp_path)
    async with moody("AA", mood, "AA", mood) as (receiver, port):
        # The alert first; then readings, of which the first and the third meet the mood.
        assert await deliver_all(desk, port) == dead * 2
        assert set(receiver.heard) == expected
        assert sorted(receiver.heard.values()) == sorted([1 + again] * 2 + [1] * (len(expected) - 2))
    rows = desk.table("delivery")
    assert len(rows) == len(expected) == 6
    assert all(row["delivered"] == row["wanted"] and not row["dead"] for row in rows)
    calm.close()
    desk.close()


async def test_an_acknowledgement_in_two_packets_is_one_wherever_it_is_cut() -> None:
    message = order(reading("142"))
    cuts: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while frame := await reader.readuntil(b"\x1c\r"):
                ack = acknowledgement("AA", frame.split(b"|")[9].decode())
                cut = len(cuts)
                cuts.append(len(ack))
                for part in (ack[:cut], ack[cut:]):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.001)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Hl7V2Connector(Peer("127.0.0.1", port, 5), Routing("APP", "FAC", "T")) as connector:
        await connector.deliver(message)
        for _ in range(cuts[0]):
            await connector.deliver(message)
    assert len(cuts) == cuts[0] + 1
    server.close()
    await server.wait_closed()
