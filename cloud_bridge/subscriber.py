"""Subscriber: the one consumer of a broker. Bytes are committed to the inbox, then acknowledged, in batches.

It also hands receipts and messages to the broker, and says what the broker answered.
"""

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloud_bridge.steps import Step, StepObserver, nobody
from service_kit.log import Log
from service_kit.mqtt_line import Acknowledge
from wire_format.errors import Unreachable

BATCH: Final = 200
"""Also the broker's Receive Maximum: what is on its way and not yet acknowledged."""

RETRY_S: Final = 1.0


class Inbox(Protocol):
    """What the subscriber asks of the store."""

    def accept_all(self, messages: list[tuple[str, bytes]], now: dt.datetime) -> None:
        """Commit messages (topic, bytes) to the inbox; durable when this returns."""
        ...


class Line(Protocol):
    """What the subscriber asks of the MQTT client."""

    up: bool

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Hand over a message; None if it was not taken."""
        ...


@dataclass(frozen=True, slots=True)
class _Arrived:
    topic: str
    data: bytes
    acknowledge: Acknowledge


@dataclass(slots=True)
class Subscriber:
    """Both ways between broker and store. It is the `LineEvents` of its line."""

    inbox: Inbox
    clock: Callable[[], dt.datetime]
    log: Log
    arrived: Callable[[], None]
    line_came_up: Callable[[], None]
    observer: StepObserver = nobody
    line: Line | None = None
    _waiting: asyncio.Queue[_Arrived] = field(default_factory=asyncio.Queue)
    _answers: dict[int, asyncio.Future[bool]] = field(default_factory=dict)
    _refusal: str | None = None

    async def run(self) -> None:
        """Commit what arrives, for ever. What cannot be committed now is tried again, unacknowledged."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._commit(batch)
            self.observer(Step.INBOX_COMMITTED, {"count": len(batch)})
            for one in batch:
                one.acknowledge()
            self.observer(Step.ACKNOWLEDGED, {"count": len(batch)})
            self.arrived()

    async def _commit(self, batch: list[_Arrived]) -> None:
        messages = [(one.topic, one.data) for one in batch]
        failed = False
        while True:
            try:
                await asyncio.to_thread(self.inbox.accept_all, messages, self.clock())
            except Unreachable as error:
                if not failed:
                    self.log.error("inbox_not_written", reason=str(error))  # noqa: TRY400 - a full disk is no bug
                failed = True
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Hand a message over; return whether the broker took it."""
        if self.line is None:
            return False
        ticket = self.line.publish(topic, payload)
        if ticket is None:
            return False
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        return await answer

    # --- LineEvents ---

    def line_up(self, *, session_present: bool) -> None:
        """Go on; a broker that lost our session lost nothing of ours: homes send again without receipt."""
        if not session_present:
            self.log.warning("broker_session_new")
        self.line_came_up()

    def line_down(self) -> None:
        """Answer those who wait: the broker did not say that it has their message."""
        for ticket in tuple(self._answers):
            self._settle(ticket, taken=False)

    def message(self, topic: str, payload: bytes, acknowledge: Acknowledge) -> None:
        """Queue what a home sent for the inbox."""
        self.observer(Step.ARRIVED, {})
        self._waiting.put_nowait(_Arrived(topic, payload, acknowledge))

    def answered(self, ticket: int, refusal: str | None) -> None:
        """Pass the broker's answer on; a refusal is said once."""
        self._settle(ticket, taken=refusal is None)
        if refusal != self._refusal:
            self._refusal = refusal
            if refusal is not None:
                self.log.error("broker_refuses_messages", reason=refusal)

    def _settle(self, ticket: int, *, taken: bool) -> None:
        """Tell whoever waits for this; a task that was told to end does not wait any more."""
        answer = self._answers.pop(ticket, None)
        if answer is not None and not answer.done():
            answer.set_result(taken)
