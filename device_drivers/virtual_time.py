"""An event loop whose clock jumps to the next timer when nothing else is to be done: patience is free.

For recorded sessions only: a driver's waits of seconds and minutes are over at once, in their order.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen")
        ready = super().select(0)
        if not ready:
            self.skipped += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Selector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return super().time() + self._skipping.skipped


def virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in virtual time; a wait that nothing can end is an `AssertionError`."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        # Not `run`: to be ready for ctrl-C takes longer there than most sessions do.
        return runner.get_loop().run_until_complete(work)
