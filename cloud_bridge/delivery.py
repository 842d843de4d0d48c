"""Delivery: claims rows of the delivery outbox and hands them to connectors, until each said 2xx.

What cannot be reached is tried again for ever, later and later; what is refused becomes a dead letter that
people see. Delivering twice creates nothing, so a kill between 2xx and our own row harms nothing.

Where a consent is needed, it is looked up on the snapshot that an order is made of, and no attempt outlives
that look by more than `UNDER_WAY_S`: a withdrawal stops what is under way within that time.
"""

import asyncio
import datetime as dt
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from cloud_bridge.connectors.base import Connector
from cloud_bridge.steps import Step, StepObserver, nobody
from cloud_bridge.store.base import Among, ClaimedDelivery, ConsentGoneError, Deliveries
from service_kit.log import Log, scene
from wire_format.errors import KitelineError, Misconfigured, Rejected, Unreachable

BATCH: Final = 20
AT_ONCE: Final = 4
IDLE_S: Final = 1.0
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 600.0
UNDER_WAY_S: Final = 4.5
"""A withdrawal stops everything within 5 s. A receiver that needs a consent must confirm within this time."""


@dataclass(slots=True)
class DeliveryLoop:
    """One worker. Any number may run beside each other: a row is claimed by one."""

    deliveries: Deliveries
    connectors: Mapping[str, Connector]
    clock: Callable[[], dt.datetime]
    observer: StepObserver = nobody
    log: Log = field(kw_only=True)
    _wakes: list[asyncio.Event] = field(default_factory=list)
    _failing: set[str] = field(default_factory=set)
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    def wake(self) -> None:
        """Look now: something is to be delivered."""
        for one in self._wakes:
            one.set()

    async def run(self) -> None:
        """Deliver what is due, for ever: to each destination by itself, so that none holds up another."""
        async with asyncio.TaskGroup() as tasks:
            for destination in self.connectors:
                tasks.create_task(self._serve(Among(frozenset({destination}))))
            tasks.create_task(self._serve(Among(frozenset(self.connectors), others=True)))

    async def _serve(self, among: Among) -> None:
        wake = asyncio.Event()
        self._wakes.append(wake)
        while True:
            wake.clear()
            if await self.round(among):
                continue
            try:
                async with asyncio.timeout(IDLE_S):
                    await wake.wait()
            except TimeoutError:
                continue

    async def round(self, among: Among | None = None) -> int:
        """Claim and deliver one batch; return how many rows that was."""
        try:
            claimed = await asyncio.to_thread(self.deliveries.claim_deliveries, self.clock(), BATCH, among)
        except Unreachable as error:
            self._say("store", error)
            return 0
        at_once = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for one in claimed:
                tasks.create_task(self._one(one, at_once))
        return len(claimed)

    async def _one(self, claimed: ClaimedDelivery, at_once: asyncio.Semaphore) -> None:
        async with self._turn(claimed), at_once:
            facts = {
                "kind": claimed.key.kind,
                "subject": claimed.key.subject,
                "destination": claimed.key.destination,
            }
            self.observer(Step.DELIVERY_CLAIMED, facts)
            try:
                await self._deliver(claimed)
                self.observer(Step.DELIVERY_CONFIRMED, facts)
                await asyncio.to_thread(self.deliveries.mark_delivered, claimed, self.clock())
            except ConsentGoneError:
                await self._let_go(claimed)
            except Rejected as error:
                await self._failed(claimed, error, None)
            except (Unreachable, Misconfigured) as error:
                await self._failed(claimed, error, self._next(claimed))
            except Exception as error:  # noqa: BLE001 - one order that a connector stumbles over never stops the rest
                await self._failed(claimed, error, self._next(claimed))
            else:
                self.observer(Step.DELIVERED, facts)
                self._works(claimed.key.destination)

    async def _deliver(self, claimed: ClaimedDelivery) -> None:
        connector = self.connectors.get(claimed.key.destination)
        if connector is None:
            raise Misconfigured(
                f"No connector is configured for {claimed.key.destination!r}: write its section."
            )
        if claimed.consent is None:
            await self._hand_over(connector, claimed)
            return
        try:
            async with asyncio.timeout(UNDER_WAY_S):
                await self._hand_over(connector, claimed)
        except TimeoutError as error:
            raise Unreachable(
                f"The receiver did not confirm within {UNDER_WAY_S} s, as it must where a consent is needed: "
                "it is tried again."
            ) from error

    def _turn(self, claimed: ClaimedDelivery) -> AbstractAsyncContextManager[object]:
        """Let one at a time go where time is counted: none waits behind another within the connector."""
        if claimed.consent is None:
            return nullcontext()
        return self._turns.setdefault(claimed.key.destination, asyncio.Lock())

    async def _hand_over(self, connector: Connector, claimed: ClaimedDelivery) -> None:
        order = await asyncio.to_thread(self.deliveries.load, claimed, self.clock())
        if order is not None:
            await connector.deliver(order)

    async def _let_go(self, claimed: ClaimedDelivery) -> None:
        try:
            await asyncio.to_thread(self.deliveries.let_go, claimed)
        except Unreachable as failure:
            self._say("store", failure)

    async def _failed(
        self, claimed: ClaimedDelivery, error: Exception, next_attempt_at: dt.datetime | None
    ) -> None:
        reason = str(error) if isinstance(error, KitelineError) else scene(error)
        if next_attempt_at is None:
            self.log.error("dead_letter", kind=claimed.key.kind, reason=reason)
        else:
            self._say(claimed.key.destination, error)
        try:
            await asyncio.to_thread(self.deliveries.mark_failed, claimed, reason, next_attempt_at)
        except Unreachable as failure:
            # The claim runs out by itself; then the row is due again.
            self._say("store", failure)

    def _next(self, claimed: ClaimedDelivery) -> dt.datetime:
        longest = min(FIRST_PAUSE_S * 2.0 ** min(claimed.attempts, 16), LONGEST_PAUSE_S)
        return self.clock() + dt.timedelta(seconds=random.uniform(longest / 2, longest))  # noqa: S311 - jitter, no secret

    def _say(self, where: str, error: Exception) -> None:
        """Say a failure once, until it works again."""
        if where not in self._failing:
            self._failing.add(where)
            reason = str(error) if isinstance(error, KitelineError) else ""
            self.log.error("delivery_failing", destination=where, error=type(error).__name__, reason=reason)

    def _works(self, *where: str) -> None:
        for one in (*where, "store"):
            if one in self._failing:
                self._failing.discard(one)
                self.log.info("delivery_works_again", destination=one)
