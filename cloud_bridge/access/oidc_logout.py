"""Being signed out by the hospital's provider: OpenID Connect Back-Channel Logout 1.0. Pure.

A logout token, keys and `now` come in; whose session ends comes out. What ends a session proves nobody, so a
token that is wrong in anything ends none.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from cloud_bridge.access.oidc import ALGORITHMS, MOST_SUBJECT, Identity, NotSignedIn, Relying, UnknownKey, Why

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LONGEST: Final = 16 * 1024
FRESH: Final = dt.timedelta(minutes=10)
"""How old a token may be, and so for how long its `jti` is remembered."""
MOST_REMEMBERED: Final = 10_000
_TYPES: Final = frozenset({"", "jwt", "logout+jwt", "application/logout+jwt"})


@dataclass(frozen=True, slots=True)
class Logout:
    """Whose sessions end: those of `sid`, without it all of `subject`. `jti` and `at` tell tokens apart."""

    issuer: str
    subject: str | None
    sid: str | None
    jti: str
    at: dt.datetime


def logout_of(token: str, keys: KeySet, relying: Relying, now: dt.datetime) -> Logout:
    """Return what a logout token says (section 2.6), if everything that it must hold does hold.

    Raises `UnknownKey` if the provider's keys should be fetched anew, `NotSignedIn` for all else.
    """
    if not token.isascii() or len(token) > LONGEST:
        raise _untrusted("it is none")
    try:
        read = jwt.decode(token, keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
        _registry(relying, now).validate(read.claims)
    except (InvalidKeyIdError, BadSignatureError) as error:
        raise UnknownKey("No key of the provider signed this logout token.") from error
    except (JoseError, ValueError, TypeError, AttributeError) as error:
        raise _untrusted(str(getattr(error, "claim", "") or "its form")) from error
    if str(read.header.get("typ", "")).lower() not in _TYPES:
        raise _untrusted("typ")
    return _said(read.claims, relying, now)


def _registry(relying: Relying, now: dt.datetime) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=relying.leeway_s,
        iss={"essential": True, "value": relying.issuer},
        aud={"essential": True, "value": relying.client_id},
        exp={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
    )


def _said(claims: Mapping[str, Any], relying: Relying, now: dt.datetime) -> Logout:
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise _untrusted("events")
    if "nonce" in claims:
        raise _untrusted("nonce: an ID token is none")
    if claims["iat"] < now.timestamp() - FRESH.total_seconds() - relying.leeway_s:
        raise _untrusted("iat: too old")
    at = dt.datetime.fromtimestamp(claims["iat"], dt.UTC)
    subject, sid = _word(claims, "sub"), _word(claims, "sid")
    jti = _word(claims, "jti")
    if jti is None or (subject is None and sid is None):
        raise _untrusted("neither sub nor sid")
    return Logout(relying.issuer, subject, sid, jti, at)


def _word(claims: Mapping[str, Any], name: str) -> str | None:
    word = claims.get(name)
    if word is None:
        return None
    if not isinstance(word, str) or not 0 < len(word) <= MOST_SUBJECT or not word.isprintable():
        raise _untrusted(name)
    return word


def _untrusted(what: str) -> NotSignedIn:
    return NotSignedIn(Why.UNTRUSTED, f"A logout token does not hold ({what}).")


@dataclass(slots=True)
class Logouts:
    """Logout tokens that were taken lately: none is taken twice, and who comes in late stays out."""

    _taken: dict[str, Logout] = field(default_factory=dict)

    def take(self, one: Logout, now: dt.datetime) -> None:
        """Remember a token; raise `NotSignedIn` if it was taken before, or too many were."""
        self._taken = {jti: old for jti, old in self._taken.items() if now - old.at <= 2 * FRESH}
        if one.jti in self._taken:
            raise _untrusted("jti: it was taken before")
        if len(self._taken) >= MOST_REMEMBERED:
            raise _untrusted("more than can be remembered")
        self._taken[one.jti] = one

    def ended(self, who: Identity) -> bool:
        """Tell whether a provider's session was ended: a sign-in by it that was under way comes too late."""
        mine = [old for old in self._taken.values() if old.sid is not None and old.sid == who.sid]
        return any(old.subject in {None, who.subject} for old in mine)
