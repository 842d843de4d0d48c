"""Says the head of the record of access in the log, which lies elsewhere: that finds a cut at its end."""

import asyncio
from collections.abc import Callable
from typing import Final

from service_kit.log import Log
from wire_format.errors import Unreachable

EVERY_S: Final = 3600.0


async def say_heads(head: Callable[[], tuple[int, bytes]], log: Log, every_s: float = EVERY_S) -> None:
    """Say number and hash of the last entry, now and then once an hour, until cancelled."""
    while True:
        try:
            number, digest = await asyncio.to_thread(head)
        except Unreachable as error:
            log.warning("audit_head_unknown", error=type(error).__name__)
        else:
            log.info("audit_head", count=number, digest=digest.hex())
        await asyncio.sleep(every_s)
