"""Passwords and second factors of local accounts: argon2id, and one-time codes by time (RFC 6238).

Pure: what is stored comes in, what is to be stored goes out.
"""

import datetime as dt
import secrets
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wire_format.errors import Rejected

LEAST_LENGTH: Final = 12
MOST_LENGTH: Final = 256
TRIES: Final = 5
LOCKED_FOR: Final = dt.timedelta(minutes=15)
STEP_S: Final = 30
_DRIFT: Final = 1
"""Steps of 30 s that a phone's clock may be off, each way."""
_HASHER: Final = PasswordHasher()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is stored of an account. `last_step` is that of the last one-time code: none works twice."""

    password_hash: str
    secret: str
    last_step: int = -1
    failures: int = 0
    locked_until: dt.datetime | None = None


def new_credentials(password: str) -> Credentials:
    """Return credentials for a password, with a new secret for one-time codes. Raises `Rejected`."""
    if not LEAST_LENGTH <= len(password) <= MOST_LENGTH:
        raise Rejected(f"A password has {LEAST_LENGTH} to {MOST_LENGTH} characters: choose another one.")
    return Credentials(_HASHER.hash(password), pyotp.random_base32())


def no_password() -> Credentials:
    """Return credentials that no password fits: of an account that a hospital's provider vouches for."""
    return Credentials("", pyotp.random_base32())


def provisioning(name: str, credentials: Credentials) -> str:
    """Return the address that an authenticator app reads (otpauth://)."""
    return pyotp.TOTP(credentials.secret).provisioning_uri(name=name, issuer_name="Kiteline")


def sign_in(
    credentials: Credentials | None, password: str, code: str, now: dt.datetime
) -> tuple[bool, Credentials | None]:
    """Tell whether somebody may come in, and what is to be stored of the attempt.

    Which of the two was wrong is not said. After `TRIES` failures nobody comes in for `LOCKED_FOR`, also not
    with the right words.
    """
    known = credentials is not None
    stored = credentials.password_hash if credentials else ""
    right_password = _matches(stored or _nobodys(), password) and bool(stored)
    if credentials is None:
        return False, None
    step = _step_of(credentials, code, now)
    if credentials.locked_until is not None and now < credentials.locked_until:
        return False, credentials
    if known and right_password and step is not None:
        return True, replace(credentials, last_step=step, failures=0, locked_until=None)
    failures = credentials.failures + 1
    locked = now + LOCKED_FOR if failures >= TRIES else None
    return False, replace(credentials, failures=0 if locked else failures, locked_until=locked)


@cache
def _nobodys() -> str:
    """Return a hash to compare for names that do not exist or have no password: they take as long as others.

    Made when it is first asked for: it takes a fifth of a second, which a command need not wait for.
    """
    return _HASHER.hash(secrets.token_hex(16))


def _matches(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password[:MOST_LENGTH])
    except (VerificationError, InvalidHashError):
        return False


def _step_of(credentials: Credentials, code: str, now: dt.datetime) -> int | None:
    """Return the time step that a code belongs to; None if it is wrong, or was used."""
    current = int(now.timestamp()) // STEP_S
    totp = pyotp.TOTP(credentials.secret)
    for step in range(current - _DRIFT, current + _DRIFT + 1):
        expected = totp.at(step * STEP_S)
        if secrets.compare_digest(expected.encode(), code.strip().encode()) and step > credentials.last_step:
            return step
    return None
