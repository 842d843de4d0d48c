"""Intake loop: takes the inbox through ingest, and judges again when a subject's time has come.

One message that breaks ingest does not hold up the others: it stays in the inbox, is said aloud, and is
tried again later and later.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloud_bridge.ingest import Ingest
from cloud_bridge.store.base import InboxMessage
from service_kit.log import Log, scene
from wire_format.errors import KitelineError, Unreachable

BATCH: Final = 50
IDLE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 3600.0


class Inbox(Protocol):
    """What the loop asks of the store."""

    def waiting(self, limit: int) -> list[InboxMessage]:
        """Return the oldest messages."""
        ...

    def timers_due(self, now: dt.datetime) -> list[str]:
        """Return the subjects whose timer has run out."""
        ...


@dataclass(slots=True)
class _Failing:
    times: int
    next_at: float


@dataclass(slots=True)
class IntakeLoop:
    """One worker. `stored` is called after each batch that changed something."""

    inbox: Inbox
    ingest: Ingest
    clock: Callable[[], dt.datetime]
    stored: Callable[[], None]
    log: Log
    looked_at: float = field(default_factory=time.monotonic)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _failing: dict[int, _Failing] = field(default_factory=dict)
    _unreachable: bool = False

    def wake(self) -> None:
        """Look now: something arrived."""
        self._wake.set()

    async def run(self) -> None:
        """Take what waits, for ever."""
        while True:
            self._wake.clear()
            if await self._round():
                self.stored()
                continue
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> bool:
        """Take one batch; return whether anything was done."""
        try:
            done = await asyncio.to_thread(self._batch)
        except Unreachable as error:
            if not self._unreachable:
                self.log.error("store_unreachable", reason=str(error))  # noqa: TRY400 - a full disk is no bug
            self._unreachable = True
            return False
        self.looked_at = time.monotonic()
        self._unreachable = False
        return done > 0

    def _batch(self) -> int:
        now = time.monotonic()
        held = {i for i, one in self._failing.items() if one.next_at > now}
        taken = 0
        for message in self._ready(held):
            taken += self._take(message)
        due = self.inbox.timers_due(self.clock())
        self.ingest.judge_again(due)
        return taken + len(due)

    def _ready(self, held: set[int]) -> Sequence[InboxMessage]:
        return [m for m in self.inbox.waiting(BATCH + len(held)) if m.id not in held]

    def _take(self, message: InboxMessage) -> bool:
        try:
            self.ingest.take(message)
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - one message that we cannot digest must not stop the line
            self._put_off(message, error)
            return False
        self._failing.pop(message.id, None)
        return True

    def _put_off(self, message: InboxMessage, error: Exception) -> None:
        times = self._failing[message.id].times + 1 if message.id in self._failing else 1
        pause = min(2.0**times, LONGEST_PAUSE_S)
        self._failing[message.id] = _Failing(times, time.monotonic() + pause)
        reason = str(error) if isinstance(error, KitelineError) else scene(error)
        self.log.error("ingest_failed", reason=reason, attempts=times)
