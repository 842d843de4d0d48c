"""Tells homes whom to seal to beside the hospital, as soon as a consent is given or withdrawn."""

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from service_kit.log import Log
from wire_format.errors import Unreachable

LOOKS_S: Final = 5.0
"""A consent is written by other processes too: the store is looked at, not waited for."""


class Homes(Protocol):
    """What is asked of the store."""

    def tell_homes(self, now: dt.datetime) -> int:
        """Queue what homes are to be told now; return to how many."""
        ...


@dataclass(slots=True)
class SharingLoop:
    """Looks now and then; what is queued is sent by `Replies`."""

    homes: Homes
    clock: Callable[[], dt.datetime]
    queued: Callable[[], None]
    log: Log
    looks_s: float = LOOKS_S
    _failing: bool = False

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            try:
                if count := await asyncio.to_thread(self.homes.tell_homes, self.clock()):
                    self.log.info("homes_told_recipients", count=count)
                    self.queued()
                self._failing = False
            except Unreachable as error:
                if not self._failing:
                    self.log.error("recipients_wait", reason=str(error))  # noqa: TRY400 - a full disk is no bug
                self._failing = True
            await asyncio.sleep(self.looks_s)
