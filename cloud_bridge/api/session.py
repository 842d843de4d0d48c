"""Sessions of the page: entered by a one-time link or by signing in, in memory, ended by time."""

import datetime as dt
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cloud_bridge.access.oidc import Identity
from cloud_bridge.access.oidc_logout import Logout

COOKIE: Final = "kiteline_session"
LASTS: Final = dt.timedelta(hours=12)
IDLE: Final = dt.timedelta(minutes=30)
"""How long somebody who signed in may do nothing. A page that renews itself does nothing."""
GLASS_LASTS: Final = dt.timedelta(minutes=60)
MAX_SESSIONS: Final = 100


@dataclass(slots=True)
class Session:
    """One browser that came in. `csrf` is what its forms carry; `name` is who last said to have seen one.

    `account` is who signed in, None for a link, and `stamp` changes with their credentials. `vouched` is who
    that is to the hospital's provider, if that brought them. `glass` says which patients were opened in an
    emergency, and until when.
    """

    csrf: str
    until: dt.datetime
    acted: dt.datetime
    account: str | None = None
    stamp: str = ""
    vouched: Identity | None = None
    name: str = ""
    glass: dict[str, dt.datetime] = field(default_factory=dict)

    def wrote(self, form_token: str) -> bool:
        """Tell whether a form came from a page of this session."""
        return hmac.compare_digest(self.csrf.encode(), form_token.encode())

    def holds(self, now: dt.datetime) -> bool:
        """Tell whether it goes on."""
        idle = self.account is not None and now - self.acted >= IDLE
        return now < self.until and not idle

    def opened(self, now: dt.datetime) -> dict[str, dt.datetime]:
        """Return which patients are open in an emergency at this moment."""
        return {patient: until for patient, until in self.glass.items() if now < until}


@dataclass(slots=True)
class Sessions:
    """All who are in."""

    redeem: Callable[[str], bool]
    clock: Callable[[], dt.datetime]
    _known: dict[str, Session] = field(default_factory=dict)

    def enter(self, token: str) -> str | None:
        """Return the key of a new session; None if the link was used before, or never given."""
        return self.begin(None) if token and self.redeem(token) else None

    def begin(self, account: str | None, stamp: str = "", vouched: Identity | None = None) -> str:
        """Return the key of a new session of an account (None: of whoever had a link)."""
        now = self.clock()
        self._known = {k: s for k, s in self._known.items() if s.holds(now)}
        while len(self._known) >= MAX_SESSIONS:
            self._known.pop(next(iter(self._known)))
        key = secrets.token_urlsafe(32)
        self._known[key] = Session(secrets.token_urlsafe(32), now + LASTS, now, account, stamp, vouched)
        return key

    def of(self, key: str | None, *, acts: bool = True) -> Session | None:
        """Return the session of a cookie, None if there is none or it ended. `acts`: a person asked."""
        found, now = self._known.get(key or ""), self.clock()
        if found is None or not found.holds(now):
            return None
        if acts:
            found.acted = now
        return found

    def end_of(self, one: Logout) -> int:
        """End the sessions that a provider ended; return how many.

        Of a session that the provider brought without saying its own, the subject alone is known.
        """
        mine = [key for key, session in self._known.items() if _is_ended(session.vouched, one)]
        for key in mine:
            del self._known[key]
        return len(mine)

    def end(self, key: str | None) -> None:
        """End a session, if there is one."""
        self._known.pop(key or "", None)


def _is_ended(who: Identity | None, one: Logout) -> bool:
    if who is None or who.issuer != one.issuer:
        return False
    if one.subject is not None and who.subject != one.subject:
        return False
    return one.sid is None or who.sid == one.sid or (who.sid is None and one.subject is not None)
