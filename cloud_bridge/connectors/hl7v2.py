"""HL7 v2 over MLLP: one message at a time, each answered by an acknowledgement with its own control id.

Parsing and the connection are `hl7`'s. What stands between blocks is passed over. An acknowledgement that
names another message is not ours: the connection is given up and the message is sent again, under the same
control id.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from hl7 import HL7Exception, parse
from hl7.mllp import open_hl7_connection

from cloud_bridge.connectors.base import (
    AlertOrder,
    Connector,
    Order,
    ReadingOrder,
    ReminderOrder,
    VisitOrder,
    WithdrawnReading,
)
from cloud_bridge.connectors.hl7_map import Message, Routing, alert_message, reading_messages, withdrawal
from wire_format.errors import Misconfigured, Rejected, Unreachable

LONGEST_ANSWER: Final = 64 * 1024
_START: Final = b"\x0b"
_END: Final = b"\x1c\r"
_NO_ANSWER: Final = (OSError, EOFError, TimeoutError, ValueError, HL7Exception, asyncio.LimitOverrunError)
_ACCEPTED: Final = frozenset({"AA", "CA"})
_IN_ERROR: Final = frozenset({"AE", "CE"})
_REFUSED: Final = frozenset({"AR", "CR"})


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Peer:
    """Where the receiver listens, and how long it may take. `tls` None: in clear."""

    host: str
    port: int
    timeout_s: float = 10
    tls: ssl.SSLContext | None = None


class Hl7V2Connector(Connector):
    """See `Connector`. Use as `async with`. Work orders are not read back: nothing in v2 does that here."""

    def __init__(
        self,
        peer: Peer,
        routing: Routing,
        *,
        name: str = "hl7v2",
        clock: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        self.name = name
        self._peer, self._routing, self._clock = peer, routing, clock
        self._streams: tuple[Any, Any] | None = None
        # MLLP has no way to tell two messages under way apart but their order: one at a time.
        self._one = asyncio.Lock()

    async def close(self) -> None:
        """See `Connector`."""
        await self._hang_up()

    async def deliver(self, order: Order) -> None:
        """See `Connector`."""
        now = self._clock()
        match order:
            case ReadingOrder():
                messages = reading_messages(order, self._routing, now)
            case AlertOrder():
                messages = [alert_message(order, self._routing, now)]
            case WithdrawnReading():
                messages = [withdrawal(order.measurement_id, 0, self._routing, now)]
            case VisitOrder() | ReminderOrder():
                messages = []  # IHE PCD-01 and PCD-04 have no message for either
        async with self._one:
            for message in messages:
                await self._send(message)

    async def _send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._peer.timeout_s):
                answer = await self._exchange(message)
        except _NO_ANSWER as error:
            await self._hang_up()
            raise Unreachable(
                f"The HL7 receiver {self._peer.host}:{self._peer.port} does not answer as it should "
                f"({type(error).__name__}): it is tried again."
            ) from error
        except asyncio.CancelledError:
            await self._hang_up()  # an answer that comes later must not meet the next message
            raise
        await self._judge(message, answer)

    async def _exchange(self, message: Message) -> Any:  # noqa: ANN401 - hl7's own message
        if self._streams is None:
            peer = self._peer
            self._streams = await open_hl7_connection(
                peer.host, peer.port, ssl=peer.tls, limit=LONGEST_ANSWER, encoding="utf-8"
            )
        reader, writer = self._streams
        writer.writeblock(message.text.encode())
        await writer.drain()
        # What stands outside of a block means nothing, and a block that begins anew was given up (MLLP).
        _, begun, block = (await reader.readuntil(_END)).removesuffix(_END).rpartition(_START)
        if not begun:
            raise ValueError("no start of a block")
        return parse(block.decode())

    async def _judge(self, message: Message, answer: Any) -> None:  # noqa: ANN401 - as above
        code, control_id = _field(answer, 1), _field(answer, 2)
        if control_id != message.control_id:
            await self._hang_up()
            raise Unreachable("The HL7 receiver acknowledged another message: this one is sent again.")
        if code in _ACCEPTED:
            return
        if code in _IN_ERROR:
            raise Rejected(
                f"The HL7 receiver cannot take this message ({code}): does it know the patient? "
                "Mend it there, then retry the dead letter."
            )
        if code in _REFUSED:
            raise Misconfigured(
                f"The HL7 receiver refuses messages of this kind ({code}): check [hl7v2], and its own rules."
            )
        await self._hang_up()
        raise Unreachable(
            "The HL7 receiver answered without an acknowledgement code: check what stands there."
        )

    async def _hang_up(self) -> None:
        if self._streams is None:
            return
        _, writer = self._streams
        self._streams = None
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


def _field(answer: Any, number: int) -> str | None:  # noqa: ANN401 - as above
    """Return a field of MSA; None if there is none."""
    try:
        return str(answer.segment("MSA")[number])
    except (KeyError, IndexError):
        return None
