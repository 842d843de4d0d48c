"""What a broker refuses is said: connection, subscription, message. Nothing refused counts as taken."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from service_kit.mqtt_line import Acknowledge, Broker, MqttLine
from tests.doubles.edge_hospital import eventually
from virtual_home.servers import broker

CONNACK = bytes.fromhex("2003000000")
REFUSED_SUBACK = bytes.fromhex("900400010087")
"""To the first subscription of a connection: not authorized."""


@dataclass
class Heard:
    """Whoever uses the line."""

    came_up: int = 0
    answers: dict[int, str | None] = field(default_factory=dict)

    def line_up(self, *, session_present: bool) -> None:
        del session_present
        self.came_up += 1

    def line_down(self) -> None:
        """Nothing waits here."""

    def message(self, topic: str, payload: bytes, acknowledge: Acknowledge) -> None:
        del topic, payload
        acknowledge()

    def answered(self, ticket: int, refusal: str | None) -> None:
        self.answers[ticket] = refusal


@asynccontextmanager
async def line(port: int) -> AsyncIterator[tuple[MqttLine, Heard, Callable[[str], list[str]]]]:
    """Yield a line, who uses it, and the reasons that it gave in an event of its log."""
    heard = Heard()
    said = structlog.testing.LogCapture()
    log = structlog.wrap_logger(
        logging.getLogger("unused"), processors=[said], wrapper_class=structlog.BoundLogger
    )
    one = MqttLine(
        Broker("127.0.0.1", port, longest_pause_s=0.2),
        "home",
        subscriptions=["kiteline/1/ward/gw-1/receipt"],
        will=None,
        events=heard,
        log=log,
    )
    running = asyncio.create_task(one.run())
    try:
        yield one, heard, lambda event: [e["reason"] for e in said.entries if e["event"] == event]
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_refused_connection_is_said_once_and_tried_again(tmp_path: Path) -> None:
    server, port = broker(tmp_path / "broker")
    config = tmp_path / "broker" / "mosquitto.conf"
    config.write_text(config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    await server.start()
    try:
        async with line(port) as (one, heard, reasons):
            await eventually(lambda: bool(reasons("broker_lost")))
            assert reasons("broker_lost")[0] == "the broker refused the connection: Not authorized"
            assert one.publish("kiteline/1/ward/gw-1/up", b"x") is None
            assert (one.up, heard.came_up) == (False, 0)
            log = tmp_path / "broker" / "broker.log"
            await eventually(lambda: log.read_text().count("not authorised") > 2)
    finally:
        await server.stop()


async def test_a_message_that_the_broker_refuses_is_not_taken(tmp_path: Path) -> None:
    server, port = broker(tmp_path / "broker")
    allowed = tmp_path / "broker" / "acl"
    allowed.write_text("topic readwrite kiteline/1/ward/gw-1/#\n")
    config = tmp_path / "broker" / "mosquitto.conf"
    config.write_text(config.read_text() + f"acl_file {allowed}\n")
    await server.start()
    try:
        async with line(port) as (one, heard, _):
            await eventually(lambda: one.up)
            mine = one.publish("kiteline/1/ward/gw-1/up", b"x")
            others = one.publish("kiteline/1/ward/gw-2/up", b"x")
            assert mine is not None
            assert others is not None
            await eventually(lambda: len(heard.answers) == 2)
            assert heard.answers == {mine: None, others: "Not authorized"}
    finally:
        await server.stop()


async def test_a_line_that_we_end_is_not_lost(tmp_path: Path) -> None:
    server, port = broker(tmp_path / "broker")
    await server.start()
    try:
        async with line(port) as (one, _, reasons):
            await eventually(lambda: one.up)
        await eventually(lambda: all(thread.name != "mqtt" for thread in threading.enumerate()))
        assert (one.up, reasons("broker_lost")) == (False, [])
    finally:
        await server.stop()


async def test_a_refused_subscription_is_said() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONNACK + REFUSED_SUBACK)
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        line(server.sockets[0].getsockname()[1]) as (_, _, reasons),
    ):
        await eventually(lambda: bool(reasons("subscription_refused")))
        assert reasons("subscription_refused") == ["Not authorized"]
