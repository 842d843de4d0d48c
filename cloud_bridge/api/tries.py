"""How often somebody at an address may fail to sign in: guesses are bounded, and so is what they write."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

TRIES: Final = 20
WITHIN: Final = dt.timedelta(minutes=5)
MAX_ADDRESSES: Final = 1000


@dataclass(slots=True)
class Tries:
    """Attempts by address that did not end well, within the last minutes."""

    clock: Callable[[], dt.datetime]
    _at: dict[str, list[dt.datetime]] = field(default_factory=dict)

    def take(self, address: str) -> bool:
        """Count an attempt before it is looked at; False if there were too many."""
        now = self.clock()
        lately = {who: [at for at in when if now - at < WITHIN] for who, when in self._at.items()}
        self._at = {who: when for who, when in lately.items() if when}
        mine = self._at.get(address, [])
        if len(mine) >= TRIES or (not mine and len(self._at) >= MAX_ADDRESSES):
            return False
        self._at[address] = [*mine, now]
        return True

    def give_back(self, address: str) -> None:
        """Forget an attempt that ended well."""
        if self._at.get(address):
            self._at[address].pop()
