"""What a broker refuses is said: connection, subscription, message. Nothing refused counts as taken."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from service_kit.mqtt_line import Acknowledge, Broker, MqttLine
from tests.doubles.edge_hospital import eventually
from virtual_home.servers import ROOT, broker

CONNACK = bytes.fromhex("2003000000")
SUBSCRIBE, DISCONNECT, NOT_AUTHORIZED = 8, 14, 0x87
RECEIPT = "kiteline/1/ward/gw-1/receipt"
RULES = next(
    (
        found
        for libraries in (Path("/usr/lib"), ROOT / ".cache" / "mosquitto" / "usr" / "lib")
        for found in libraries.glob("*/mosquitto_dynamic_security.so")
    ),
    None,
)
"""The broker's plug-in whose rules can be changed while it runs."""
NO_SUBSCRIPTIONS = {
    "defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "subscribe": False},
    "roles": [
        {
            "rolename": "rules",
            "acls": [{"acltype": "publishClientSend", "topic": "$CONTROL/#", "allow": True}],
        }
    ],
    "groups": [{"groupname": "all", "roles": [{"rolename": "rules"}]}],
    "anonymousGroup": "all",
}
"""Nobody may subscribe; everybody may change the rules."""


@dataclass
class Heard:
    """Whoever uses the line."""

    came_up: int = 0
    answers: dict[int, str | None] = field(default_factory=dict)
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def line_up(self, *, session_present: bool) -> None:
        del session_present
        self.came_up += 1

    def line_down(self) -> None:
        """Nothing waits here."""

    def message(self, topic: str, payload: bytes, acknowledge: Acknowledge) -> None:
        self.messages.append((topic, payload))
        acknowledge()

    def answered(self, ticket: int, refusal: str | None) -> None:
        self.answers[ticket] = refusal


@asynccontextmanager
async def line(port: int, *more: str) -> AsyncIterator[tuple[MqttLine, Heard, Callable[[str], list[str]]]]:
    """Yield a line, who uses it, and the reasons that it gave in an event of its log."""
    heard = Heard()
    said = structlog.testing.LogCapture()
    log = structlog.wrap_logger(
        logging.getLogger("unused"), processors=[said], wrapper_class=structlog.BoundLogger
    )
    one = MqttLine(
        Broker("127.0.0.1", port, longest_pause_s=0.2),
        "home",
        subscriptions=[RECEIPT, *more],
        will=None,
        events=heard,
        log=log,
    )
    running = asyncio.create_task(one.run())
    try:
        yield one, heard, lambda event: [e.get("reason", "") for e in said.entries if e["event"] == event]
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


@asynccontextmanager
async def grudging(refusals: int) -> AsyncIterator[tuple[int, list[list[str]]]]:
    """A broker that refuses the first filter of so many subscriptions; yields its port, what was asked."""
    asked: list[list[str]] = []
    ended = asyncio.Event()

    async def packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind, length = await reader.readexactly(2)
        assert length < 128  # one byte of length is enough here
        return kind >> 4, await reader.readexactly(length)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONNACK)
        with suppress(asyncio.IncompleteReadError):
            kind = 0
            while kind != DISCONNECT:
                kind, body = await packet(reader)
                if kind == SUBSCRIBE:
                    filters = _filters(body)
                    answers = [NOT_AUTHORIZED if len(asked) < refusals else 1, *[1] * (len(filters) - 1)]
                    asked.append(filters)
                    writer.write(bytes([0x90, 3 + len(answers)]) + body[:2] + b"\0" + bytes(answers))
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked
        await ended.wait()


def _filters(body: bytes) -> list[str]:
    """What a SUBSCRIBE without properties asks for (MQTT 5, 3.8)."""
    found, rest = [], body[3:]
    while rest:
        end = 2 + int.from_bytes(rest[:2])
        found.append(rest[2:end].decode())
        rest = rest[end + 1 :]
    return found


async def test_what_was_refused_of_a_subscription_is_asked_for_again_and_said_once() -> None:
    async with grudging(3) as (port, asked), line(port, "a/down") as (one, heard, reasons):
        await eventually(lambda: bool(reasons("subscription_accepted_again")))
        assert asked == [[RECEIPT, "a/down"], [RECEIPT], [RECEIPT], [RECEIPT]]
        assert reasons("subscription_refused") == ["Not authorized"]
        await asyncio.sleep(0.5)  # longer than the longest pause: nothing is left to ask for
        assert len(asked) == 4
        assert (one.up, heard.came_up, reasons("broker_lost")) == (True, 1, [])


async def test_a_line_that_ends_asks_for_nothing_more() -> None:
    async with grudging(1_000) as (port, asked):
        async with line(port) as (_, _, reasons):
            await eventually(lambda: len(asked) > 1)
        count = len(asked)
        await asyncio.sleep(0.5)
        assert len(asked) == count
        assert reasons("subscription_refused") == ["Not authorized"]


@pytest.mark.skipif(
    RULES is None, reason="SKIPPED PART: the broker's plug-in for changing rules is not there"
)
async def test_a_subscription_is_taken_as_soon_as_the_brokers_rules_allow_it(tmp_path: Path) -> None:
    """An access file of mosquitto refuses messages alone; its dynamic rules refuse subscriptions too."""
    server, port = broker(tmp_path / "broker")
    (tmp_path / "rules.json").write_text(json.dumps(NO_SUBSCRIPTIONS))
    config = tmp_path / "broker" / "mosquitto.conf"
    rules = f"plugin {RULES}\nplugin_opt_config_file {tmp_path}/rules.json\n"
    config.write_text(config.read_text() + rules)
    await server.start()
    try:
        async with line(port) as (one, heard, reasons):
            await eventually(lambda: bool(reasons("subscription_refused")))
            one.publish(RECEIPT, b"before")
            allow = {"command": "setDefaultACLAccess", "acls": [{"acltype": "subscribe", "allow": True}]}
            one.publish("$CONTROL/dynamic-security/v1", json.dumps({"commands": [allow]}).encode())
            await eventually(lambda: bool(reasons("subscription_accepted_again")))
            one.publish(RECEIPT, b"after")
            await eventually(lambda: bool(heard.messages))
            assert heard.messages == [(RECEIPT, b"after")]
            assert (heard.came_up, reasons("broker_lost")) == (1, [])
    finally:
        await server.stop()
