"""Sessions of the page until people can sign in: entered by a one-time link, in memory, ended by time."""

import datetime as dt
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

COOKIE: Final = "kiteline_session"
LASTS: Final = dt.timedelta(hours=12)
MAX_SESSIONS: Final = 100


@dataclass(slots=True)
class Session:
    """One browser that came in. `csrf` is what its forms carry; `name` is who last said to have seen one."""

    csrf: str
    until: dt.datetime
    name: str = ""

    def wrote(self, form_token: str) -> bool:
        """Tell whether a form came from a page of this session."""
        return hmac.compare_digest(self.csrf.encode(), form_token.encode())


@dataclass(slots=True)
class Sessions:
    """All who are in."""

    redeem: Callable[[str], bool]
    clock: Callable[[], dt.datetime]
    _known: dict[str, Session] = field(default_factory=dict)

    def enter(self, token: str) -> str | None:
        """Return the key of a new session; None if the link was used before, or never given."""
        if not token or not self.redeem(token):
            return None
        now = self.clock()
        self._known = {k: s for k, s in self._known.items() if s.until > now}
        while len(self._known) >= MAX_SESSIONS:
            self._known.pop(next(iter(self._known)))
        key = secrets.token_urlsafe(32)
        self._known[key] = Session(secrets.token_urlsafe(32), now + LASTS)
        return key

    def of(self, key: str | None) -> Session | None:
        """Return the session of a cookie, None if there is none or it ended."""
        found = self._known.get(key or "")
        return found if found is not None and found.until > self.clock() else None
