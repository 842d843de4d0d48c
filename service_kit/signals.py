"""Ending: SIGTERM and SIGINT end a process as its own decision, with everything put away."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def until_signalled(work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """Run `work` until it ends, and return its result; None if a signal cancelled it: that is no failure."""
    running = asyncio.create_task(work)
    with _ended_by_signals(running):
        try:
            return await running
        except asyncio.CancelledError:
            if not running.cancelled():
                raise
            return None


@contextmanager
def _ended_by_signals(task: asyncio.Task[Any]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    told = False

    def end() -> None:
        # A second signal (a terminal's, then its shell's) must not break off what the first one puts away.
        nonlocal told
        if not told:
            told = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
