"""Replies: what goes back to homes. Receipts that are due, signed; messages, sealed when they were queued.

Each is a row until the broker has it. A kill in between publishes it again, which harms nothing.
"""

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from cloud_bridge.steps import Step, StepObserver, nobody
from cloud_bridge.store.base import DownlinkDue, ReceiptDue
from service_kit.log import Log
from wire_format.errors import Unreachable
from wire_format.keys import SigningKey
from wire_format.receipt import issue, sign_receipt
from wire_format.topics import Channel, Topic

BATCH: Final = 500
COALESCE_S: Final = 0.02
"""Receipts of envelopes that come together are sent together."""
RETRY_S: Final = 2.0
IDLE_S: Final = 30.0

Publish = Callable[[str, bytes], Awaitable[bool]]


class Outgoing(Protocol):
    """What replies ask of the store."""

    def receipts_due(self, limit: int) -> list[ReceiptDue]:
        """Return envelopes whose homes wait for a receipt."""
        ...

    def receipted(self, due: Sequence[ReceiptDue]) -> None:
        """Record that the broker has the receipts of these envelopes."""
        ...

    def messages_due(self, limit: int, now: dt.datetime) -> list[DownlinkDue]:
        """Return sealed messages that the broker does not have."""
        ...

    def message_published(self, due: DownlinkDue) -> None:
        """Record that the broker has a message."""
        ...


@dataclass(slots=True)
class Replies:
    """The loop that answers homes."""

    outgoing: Outgoing
    publish: Publish
    key: SigningKey
    clock: Callable[[], dt.datetime]
    log: Log
    observer: StepObserver = nobody
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _failing: bool = False

    def wake(self) -> None:
        """Look now: something is due, or the line came up."""
        self._wake.set()

    async def run(self) -> None:
        """Answer, for ever."""
        while True:
            self._wake.clear()
            await asyncio.sleep(COALESCE_S)
            all_out = await self._round()
            try:
                async with asyncio.timeout(IDLE_S if all_out else RETRY_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> bool:
        try:
            done = await self._receipts() and await self._messages()
        except Unreachable as error:
            if not self._failing:
                self.log.error("replies_wait", reason=str(error))  # noqa: TRY400 - a full disk is no bug
            self._failing = True
            return False
        self._failing = False
        return done

    async def _receipts(self) -> bool:
        while due := await asyncio.to_thread(self.outgoing.receipts_due, BATCH):
            groups: dict[tuple[str, str, UUID], list[ReceiptDue]] = defaultdict(list)
            for one in due:
                groups[one.site, one.gateway, one.outbox_id].append(one)
            for group in groups.values():
                if not await self._receipt(group):
                    return False
        return True

    async def _receipt(self, due: list[ReceiptDue]) -> bool:
        first = due[0]
        settled = [(one.sequence, one.verdict, one.digest) for one in due]
        topic = str(Topic(first.site, first.gateway, Channel.RECEIPT))
        for receipt in issue(first.gateway, first.outbox_id, settled, self.clock()):
            signed = sign_receipt(receipt, self.key)
            self.observer(Step.RECEIPT_SIGNED, {"count": len(due)})
            if not await self.publish(topic, signed):
                return False
        self.observer(Step.RECEIPT_PUBLISHED, {"count": len(due)})
        await asyncio.to_thread(self.outgoing.receipted, due)
        self.observer(Step.RECEIPT_DONE, {"count": len(due)})
        return True

    async def _messages(self) -> bool:
        while due := await asyncio.to_thread(self.outgoing.messages_due, BATCH, self.clock()):
            for one in due:
                if not await self.publish(str(Topic(one.site, one.gateway, Channel.DOWN)), one.data):
                    return False
                self.observer(Step.DOWNLINK_PUBLISHED, {})
                await asyncio.to_thread(self.outgoing.message_published, one)
                self.observer(Step.DOWNLINK_DONE, {})
        return True
