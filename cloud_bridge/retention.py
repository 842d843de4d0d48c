"""What is kept for a while only: HL7 v2 messages as they came. What was understood of them stays."""

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Final

from cloud_bridge.store.hl7_messages import BATCH
from service_kit.log import Log
from wire_format.errors import Unreachable

KEPT: Final = dt.timedelta(days=30)
"""Long enough to look into what a sender says it sent; after that nobody needs the bytes."""
EVERY_S: Final = 3600.0


async def forget_messages(
    forget: Callable[[dt.datetime], int],
    clock: Callable[[], dt.datetime],
    log: Log,
    every_s: float = EVERY_S,
) -> None:
    """Delete what is older than `KEPT`, now and then once an hour, until cancelled."""
    while True:
        try:
            count = await _forgotten(forget, clock() - KEPT)
        except Unreachable as error:
            log.warning("messages_not_forgotten", error=type(error).__name__)
        else:
            if count:
                log.info("messages_forgotten", count=count)
        await asyncio.sleep(every_s)


async def _forgotten(forget: Callable[[dt.datetime], int], before: dt.datetime) -> int:
    count = done = await asyncio.to_thread(forget, before)
    while done == BATCH:
        done = await asyncio.to_thread(forget, before)
        count += done
    return count
