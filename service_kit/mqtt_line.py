"""The MQTT 5 client of both sides. Its network thread is ours, is watched, and only calls into the loop.

Sessions are kept (clean_start=False), every reason code is looked at, and what was refused or lost is tried
again with a back-off and jitter, so that a thousand homes do not return in the same second.
"""

import asyncio
import os
import random
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from service_kit.log import Log
from wire_format.errors import Misconfigured

MAX_QUEUED: Final = 256
_GOODBYE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how it knows us. TLS is used as soon as `ca` is given."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    keepalive_s: int = 30
    session_expiry_s: int = 30 * 86_400
    longest_pause_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Letter:
    """What is published in our name: our status, and our last will."""

    topic: str
    payload: bytes


Filters = tuple[tuple[str, int], ...]
"""What is subscribed to: each a filter of topics and its QoS."""

Notice = Callable[[str, bytes, bool], None]
"""Takes topic and bytes of what may be missed, and whether the broker had it lying there (retained)."""

Acknowledge = Callable[[], None]
"""Tells the broker that a message may be forgotten; of a connection that is gone, it does nothing."""


class LineEvents(Protocol):
    """Who is told what happens on the line. Called on the event loop's thread."""

    def line_up(self, *, session_present: bool) -> None:
        """Know that the broker accepted us."""
        ...

    def line_down(self) -> None:
        """Know that the connection is gone."""
        ...

    def message(self, topic: str, payload: bytes, acknowledge: Acknowledge) -> None:
        """Take a message; whoever has made it durable calls `acknowledge`. Until then the broker keeps it."""
        ...

    def answered(self, ticket: int, refusal: str | None) -> None:
        """Know the broker's answer to a publish; None: it took it, which proves nothing."""
        ...


class MqttLine:
    """One connection to one broker, kept up until `run` is cancelled."""

    def __init__(  # noqa: PLR0913 - a line has these ends
        self,
        broker: Broker,
        client_id: str,
        *,
        subscriptions: Sequence[str],
        will: Callable[[], Letter] | None,
        events: LineEvents,
        log: Log,
        receive_maximum: int = 64,
        notices: tuple[str, Notice] | None = None,
    ) -> None:
        """`will` is asked anew for each connection; `notices` are a filter of QoS 0, which no queue keeps."""
        self.up = False
        self._broker = broker
        self._filters: Filters = tuple((topic, 1) for topic in subscriptions)
        if notices is not None:
            self._filters += ((notices[0], 0),)
        self._receive_maximum = receive_maximum
        self._events = events
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._attempts = 0
        self._connections = 0
        self._said: str | None = None
        self._asked: dict[int, Filters] = {}
        self._refused: str | None = None
        self._refusals = 0
        self._tickets: dict[int, int] = {}
        self._next_ticket = 0
        self._will, self._notices = will, notices
        self._answered_all = asyncio.Event()
        self._client = self._make_client(client_id)

    async def run(self) -> None:
        """Hold the line; a network thread that ends although it should not is started again.

        When it is cancelled it parts with the broker first: of a process that ends before that, the broker
        says the last will, as of one that was lost.
        """
        self._loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        try:
            while True:
                ended.clear()
                thread = threading.Thread(target=self._network, args=(ended,), name="mqtt", daemon=True)
                thread.start()
                await ended.wait()
                self._log.error("mqtt_thread_ended")
                await asyncio.sleep(1)
        finally:
            self._stopping.set()
            await self._part(ended)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Hand over a message (QoS 1); return the ticket of its answer, None if it was not taken."""
        if not self.up:
            return None
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            return None
        self._next_ticket += 1
        self._tickets[info.mid] = self._next_ticket
        return self._next_ticket

    async def say_goodbye(self, letter: Letter) -> None:
        """Publish a last retained message and give it a moment to leave."""
        if self.publish(letter.topic, letter.payload, retain=True) is None:
            return
        self._answered_all.clear()
        await _within(_GOODBYE_S, self._answered_all.wait())

    async def _part(self, ended: asyncio.Event) -> None:
        """Send DISCONNECT, and hold the connection until the broker has closed it.

        Closed by us while messages of the broker are unread it would be reset, and a broker that writes then
        never reads that we parted.
        """
        held = self._held()
        self._client.disconnect()
        await _within(_GOODBYE_S, ended.wait())
        if held is not None:
            await _within(_GOODBYE_S, _read_out(held))
            held.close()

    def _held(self) -> socket.socket | None:
        """Return the connection as one more file, which the client does not close; None if there is none."""
        try:
            connection = self._client.socket()
            return None if connection is None else socket.socket(fileno=os.dup(connection.fileno()))
        except OSError:  # the network thread closed it in between
            return None

    # --- the network thread ---

    def _network(self, ended: asyncio.Event) -> None:
        try:
            while not self._stopping.is_set():
                self._connect_and_stay()
                self._stopping.wait(self._pause())
        finally:
            self._on_loop(ended.set)

    def _connect_and_stay(self) -> None:
        if self._will is not None:
            will = self._will()
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no type here
        properties.SessionExpiryInterval = self._broker.session_expiry_s
        properties.ReceiveMaximum = self._receive_maximum
        try:
            self._client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=self._broker.keepalive_s,
                clean_start=False,
                properties=properties,
            )
            self._client.loop_forever()
        except (OSError, ValueError) as error:
            # ValueError is what the client raises for a broker that talks nonsense (a captive portal).
            self._on_loop(self._down, f"{type(error).__name__}: {error}")
        else:
            self._on_loop(self._down, "the connection ended")

    def _pause(self) -> float:
        self._attempts += 1
        return _jittered(self._attempts, self._broker.longest_pause_s)

    def _on_connect(
        self, _c: Client, _data: object, flags: ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if reason.is_failure:
            self._on_loop(self._down, f"the broker refused the connection: {reason}")
            return
        self._attempts = 0
        self._on_loop(self._up, flags.session_present)

    def _on_disconnect(
        self, _c: Client, _data: object, _f: DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        self._on_loop(self._down, str(reason))

    def _on_subscribe(
        self, _c: Client, _data: object, mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        self._on_loop(self._subscribed, mid, [str(one) if one.is_failure else None for one in reasons])

    def _on_publish(
        self, _c: Client, _data: object, mid: int, reason: ReasonCode, _p: Properties | None
    ) -> None:
        self._on_loop(self._answered, mid, str(reason) if reason.is_failure else None)

    def _on_message(self, _c: Client, _data: object, message: MQTTMessage) -> None:
        self._on_loop(self._deliver, message.topic, bytes(message.payload), message.mid, message.qos)

    def _on_notice(self, _c: Client, _data: object, message: MQTTMessage) -> None:
        if self._notices is not None:
            self._on_loop(self._notices[1], message.topic, bytes(message.payload), message.retain)

    def _on_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        """Go on in the event loop's thread. An exception here would end the network thread unseen."""
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(callback, *arguments)
            except RuntimeError:
                return  # the loop closed in between: the process ends

    # --- the event loop's thread ---

    def _up(self, session_present: bool) -> None:  # noqa: FBT001 - a callback's argument
        self.up, self._said = True, None
        self._connections += 1
        self._log.info("broker_connected")
        self._asked.clear()
        self._refusals = 0
        self._subscribe(self._filters, self._connections)
        self._events.line_up(session_present=session_present)

    def _down(self, reason: str) -> None:
        told = self._said is not None and (self.up or reason == self._said)
        if not told and not self._stopping.is_set():
            self._log.warning("broker_lost", reason=reason)
            self._said = reason
        if self.up:
            self.up = False
            self._tickets.clear()
            self._answered_all.set()
            self._events.line_down()

    def _subscribe(self, filters: Filters, connection: int) -> None:
        """Ask for messages. Of a connection that is gone, do nothing: the next one asks for all."""
        if self._stopping.is_set() or not self.up or connection != self._connections:
            return
        _, mid = self._client.subscribe(list(filters))
        if mid is not None:
            self._asked[mid] = filters

    def _subscribed(self, mid: int, refusals: list[str | None]) -> None:
        """Look at the broker's answer; what it refused is asked again: its rules may be mended by then."""
        answers = list(zip(self._asked.pop(mid, ()), refusals, strict=False))
        refused = tuple(one for one, reason in answers if reason is not None)
        self._say_refusal(next((reason for _, reason in answers if reason is not None), None))
        if refused and self._loop is not None:
            self._refusals += 1
            pause = _jittered(self._refusals, self._broker.longest_pause_s)
            self._loop.call_later(pause, self._subscribe, refused, self._connections)

    def _say_refusal(self, reason: str | None) -> None:
        if reason == self._refused:
            return
        self._refused = reason
        if reason is None:
            self._log.info("subscription_accepted_again")
        else:
            self._log.error("subscription_refused", reason=reason)

    def _answered(self, mid: int, refusal: str | None) -> None:
        ticket = self._tickets.pop(mid, None)
        if ticket is not None:
            self._events.answered(ticket, refusal)
        if not self._tickets:
            self._answered_all.set()

    def _deliver(self, topic: str, payload: bytes, mid: int, qos: int) -> None:
        connection = self._connections

        def acknowledge() -> None:
            # Another connection may use this packet identifier for another message.
            if self.up and connection == self._connections:
                self._client.ack(mid, qos)

        self._events.message(topic, payload, acknowledge)

    # --- set-up ---

    def _make_client(self, client_id: str) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_queued_messages_set(MAX_QUEUED)
        client.max_inflight_messages_set(64)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        self._set_tls(client)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        if self._notices is not None:
            client.message_callback_add(self._notices[0], self._on_notice)
        return client

    def _set_tls(self, client: Client) -> None:
        broker = self._broker
        if broker.ca is None:
            return
        try:
            client.tls_set(str(broker.ca), _text(broker.certificate), _text(broker.key))
        except (OSError, ssl.SSLError, ValueError) as error:
            raise Misconfigured(
                f"The TLS files of the broker cannot be used ({error}): check [broker] in the configuration."
            ) from error


async def _within(seconds: float, what: Awaitable[object]) -> None:
    """Wait for something, and no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await what


async def _read_out(connection: socket.socket) -> None:
    """Read until the other side has closed."""
    connection.settimeout(0)
    with suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(connection, 4096):
            continue


def _jittered(attempt: int, longest_s: float) -> float:
    """Return the seconds to wait after the first, second ... failure: up to half a second, then twice it."""
    longest = min(2.0 ** min(attempt - 1, 16) / 2, longest_s)
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, no secret


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
