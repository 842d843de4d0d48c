"""Tokens by which programs ask in the name of an account (docs/adr/0025). Pure.

A token is 256 random bits: nobody guesses it, so what is stored is a plain SHA-256 of it and no slow hash.
"""

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from wire_format.errors import Rejected

PREFIX: Final = "kiteline_"
"""So that a scanner of repositories and logs knows one when it sees it."""
MOST_DAYS: Final = 366


@dataclass(frozen=True, slots=True)
class Token:
    """One token as it is kept. `used_at` is exact to the hour.

    It ends when its account is given new credentials: `stamp` is that of its day.
    """

    token_id: str
    account: str
    created_at: dt.datetime
    expires_at: dt.datetime
    stamp: str
    revoked_at: dt.datetime | None = None
    used_at: dt.datetime | None = None

    def holds(self, stamp: str, now: dt.datetime) -> bool:
        """Tell whether it opens anything, while the account's credentials have this stamp."""
        return self.revoked_at is None and now < self.expires_at and bool(stamp) and stamp == self.stamp


def issue(account: str, stamp: str, days: int, now: dt.datetime) -> tuple[str, Token]:
    """Return a new token's text, which nobody sees again, and what is kept of it. Raises `Rejected`."""
    if not 1 <= days <= MOST_DAYS:
        raise Rejected(f"A token lasts 1 to {MOST_DAYS} days: write --days so.")
    text = PREFIX + secrets.token_urlsafe(32)
    return text, Token(secrets.token_hex(4), account, now, now + dt.timedelta(days=days), stamp)


def digest(text: str) -> bytes:
    """Return what a token is found by."""
    return hashlib.sha256(text.encode()).digest()
