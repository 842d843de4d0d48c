"""The chain of the audit log, and the way in: what is altered is found, what is guessed stays outside."""

import datetime as dt
from dataclasses import replace

import pyotp
import pytest

from cloud_bridge.access.audit import BEGINNING, Entry, broken_at, entry
from cloud_bridge.access.matrix import question
from cloud_bridge.access.model import Action, Answer, DataType, Role
from cloud_bridge.access.passwords import (
    LOCKED_FOR,
    TRIES,
    Credentials,
    new_credentials,
    provisioning,
    sign_in,
)
from wire_format.errors import Rejected

pytestmark = pytest.mark.no_cover  # about access, which has no floor

NOW = dt.datetime(2026, 11, 24, 8, tzinfo=dt.UTC)
PASSWORD = "a long enough password"  # noqa: S105 - an example


def chain(count: int) -> list[tuple[Entry, bytes]]:
    found: list[tuple[Entry, bytes]] = []
    before = BEGINNING
    for number in range(1, count + 1):
        asked = question(Role.NURSE, Action.READ, DataType.GLUCOSE, team=True, consent=True, own=False)
        one = entry(
            number,
            before,
            NOW + dt.timedelta(seconds=number),
            asked,
            Answer(allowed=True, policies=("team-reads",)),
        )
        before = one.digest
        found.append((one, before))
    return found


def test_a_whole_chain_holds() -> None:
    whole = chain(5)
    assert broken_at([]) is None
    assert broken_at(whole) is None
    assert broken_at(whole, whole[-1][1]) is None
    assert broken_at(whole, whole[2][1]) is None
    assert len({digest for _, digest in whole}) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"account": "somebody else"},
        {"role": "auditor"},
        {"action": Action.ACKNOWLEDGE},
        {"patient": "q"},
        {"patient": None},
        {"data": None},
        {"allowed": False},
        {"policies": ()},
        {"reason": ""},
        {"at": NOW},
        {"number": 7},
        {"before": BEGINNING},
    ],
)
def test_every_edit_is_found(change: dict[str, object]) -> None:
    whole = chain(5)
    edited = replace(whole[2][0], **change)  # type: ignore[arg-type]  # fields by name
    assert broken_at([*whole[:2], (edited, whole[2][1]), *whole[3:]]) == 3
    if edited.number == 3 and edited.before == whole[1][1]:
        # Whoever also writes the hash anew breaks the next link.
        assert broken_at([*whole[:2], (edited, edited.digest), *whole[3:]]) == 4


def test_cuts_and_swaps_are_found() -> None:
    whole = chain(5)
    assert broken_at(whole[1:]) == 1
    assert broken_at([*whole[:2], *whole[3:]]) == 3
    assert broken_at([whole[0], whole[2], whole[1], *whole[3:]]) == 2
    assert broken_at(whole[:3], whole[-1][1]) == 4
    assert broken_at([], whole[0][1]) == 1


def code(credentials: Credentials, at: dt.datetime = NOW) -> str:
    return pyotp.TOTP(credentials.secret).at(at)


def test_the_right_words_open_once() -> None:
    credentials = new_credentials(PASSWORD)
    inside, after = sign_in(credentials, PASSWORD, code(credentials), NOW)
    assert inside
    assert after is not None
    assert sign_in(after, PASSWORD, code(credentials), NOW)[0] is False
    later = NOW + dt.timedelta(seconds=31)
    assert sign_in(after, PASSWORD, code(credentials, later), later)[0] is True
    assert "otpauth://totp/Kiteline:nurse-1" in provisioning("nurse-1", credentials)
    assert PASSWORD not in credentials.password_hash


@pytest.mark.parametrize(("seconds", "inside"), [(-61, False), (-30, True), (30, True), (61, False)])
def test_a_phones_clock_may_be_a_little_off(seconds: int, inside: bool) -> None:
    credentials = new_credentials(PASSWORD)
    given = code(credentials, NOW + dt.timedelta(seconds=seconds))
    assert sign_in(credentials, PASSWORD, given, NOW)[0] is inside


def test_guessing_locks_the_door_for_a_while() -> None:
    one: Credentials | None = new_credentials(PASSWORD)
    for _ in range(TRIES):
        inside, one = sign_in(one, "guess", "000000", NOW)
        assert not inside
    assert one is not None
    assert one.locked_until == NOW + LOCKED_FOR
    assert sign_in(one, PASSWORD, code(one), NOW)[0] is False
    later = NOW + LOCKED_FOR
    inside, after = sign_in(one, PASSWORD, code(one, later), later)
    assert inside
    assert after is not None
    assert (after.failures, after.locked_until) == (0, None)


def test_a_name_that_does_not_exist_is_no_different() -> None:
    assert sign_in(None, PASSWORD, "123456", NOW) == (False, None)


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_a_password_that_is_none_is_refused(password: str) -> None:
    with pytest.raises(Rejected, match="12 to 256"):
        new_credentials(password)


def test_a_hash_that_was_damaged_opens_nothing() -> None:
    damaged = replace(new_credentials(PASSWORD), password_hash="$argon2id$x")  # noqa: S106 - not a password
    assert sign_in(damaged, PASSWORD, code(damaged), NOW)[0] is False
