"""Ending: SIGTERM and SIGINT end a process as its own decision, with everything put away."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or until a signal cancels it; that is no failure."""
    running = asyncio.create_task(work)
    with _ended_by_signals(running):
        try:
            await running
        except asyncio.CancelledError:
            if not running.cancelled():
                raise


@contextmanager
def _ended_by_signals(task: asyncio.Task[None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
