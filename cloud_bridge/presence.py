"""Listens to what gateways say of their connection, and keeps the last of it. Nothing waits for it.

A status is signed by nobody. It may be missed, repeated and forged, and only chooses the words of a silence.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloud_bridge.store.base import Told
from service_kit.log import Log
from wire_format.errors import Rejected, Unreachable
from wire_format.status import decode_status
from wire_format.topics import parse

MOST_BYTES: Final = 4096
MOST_NAMES: Final = 10_000
"""How many gateways are kept in memory until they are written: anybody on the broker can invent names."""
RETRY_S: Final = 5.0


class Keeps(Protocol):
    """What is asked of the store."""

    def note(self, told: Sequence[Told], now: dt.datetime) -> None:
        """Keep what was said of enrolled gateways."""
        ...


@dataclass(slots=True)
class PresenceLoop:
    """Takes notices of the line, the newest of each gateway, and writes them in batches."""

    store: Keeps
    site: str
    clock: Callable[[], dt.datetime]
    log: Log
    _latest: dict[str, Told] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _odd: bool = False

    def notice(self, topic: str, payload: bytes, kept: bool) -> None:  # noqa: FBT001 - a callback's argument
        """Take what was said; `kept`: the broker had it lying there. What is no status is said once."""
        try:
            told = self._read(topic, payload, kept=kept)
        except Rejected as error:
            if not self._odd:
                self.log.warning("status_refused", reason=str(error))
            self._odd = True
            return
        if told.gateway in self._latest or len(self._latest) < MOST_NAMES:
            self._latest[told.gateway] = told
            self._wake.set()

    def _read(self, topic: str, payload: bytes, *, kept: bool) -> Told:
        where = parse(topic)
        if where.site != self.site or len(payload) > MOST_BYTES:
            raise Rejected("A status is too long, or of another site.")
        return Told(where.gateway, decode_status(payload), kept)

    async def run(self) -> None:
        """Write what was said, for ever. What cannot be written now is written later, unless more is said."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._latest = self._latest, {}
            try:
                await asyncio.to_thread(self.store.note, list(batch.values()), self.clock())
            except Unreachable as error:
                self.log.warning("status_not_written", reason=str(error))
                self._latest = {**batch, **self._latest}
                await asyncio.sleep(RETRY_S)
                self._wake.set()
