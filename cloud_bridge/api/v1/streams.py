"""How many streams of events are open, how often they look, and that they end when the bridge does."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from cloud_bridge.api.v1.problem import ApiError, Kind

MOST_EACH: Final = 5
MOST: Final = 200
WAIT_S: Final = 5


@dataclass(slots=True)
class Streams:
    """Streams by account, within one worker. `ending` is set once: then every stream ends by itself.

    `poll_s`: how often each looks into the store; `heartbeat_s`: how long it says nothing at most.
    """

    poll_s: float = 1.0
    heartbeat_s: float = 15.0
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    _open: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()

    def check(self, account: str) -> None:
        """Raise `ApiError` if there is no room for another stream of an account."""
        if self._open[account] >= MOST_EACH or self.count >= MOST:
            raise ApiError(Kind.TOO_MANY, headers={"Retry-After": str(WAIT_S)}, seconds=WAIT_S)

    @contextmanager
    def one_more(self, account: str) -> Iterator[None]:
        """Count a stream while it is open; `ApiError` if the account has too many, or all together."""
        self.check(account)
        self._open[account] += 1
        try:
            yield
        finally:
            self._open[account] -= 1

    async def rest(self) -> None:
        """Wait until it is time to look again, or to end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ending.wait(), self.poll_s)
