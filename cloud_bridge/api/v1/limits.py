"""How much one account may ask: requests a minute, streams at once, bytes of a body."""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_bridge.api.v1.problem import ApiError, Kind

MAX_BODY: Final = 16_384
MAX_KEYS: Final = 1000
_MINUTE: Final = dt.timedelta(minutes=1)


@dataclass(slots=True)
class Rate:
    """Counts requests of each account within a minute. Each worker counts by itself."""

    clock: Callable[[], dt.datetime]
    per_minute: int
    _since: dt.datetime | None = None
    _taken: Counter[str] = field(default_factory=Counter)

    def take(self, who: str) -> None:
        """Count one request; `ApiError` if there were too many within this minute."""
        now = self.clock()
        if self._since is None or now - self._since >= _MINUTE:
            self._since, self._taken = now, Counter()
        full = len(self._taken) >= MAX_KEYS and who not in self._taken
        if full or self._taken[who] >= self.per_minute:
            left = max(1, int((self._since + _MINUTE - now).total_seconds()))
            raise ApiError(Kind.TOO_MANY, headers={"Retry-After": str(left)}, seconds=left)
        self._taken[who] += 1


@dataclass(slots=True)
class Bounded:
    """Refuses bodies that are larger than any that a route takes, before they are read."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes of a request as they come."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise ApiError(Kind.TOO_LARGE, most=MAX_BODY)
            return message

        await self.app(scope, counted, send)
