"""The record of who read and did what, as a chain: each entry holds the hash of the one before. Pure.

An edit, a cut in the middle or a swap breaks the chain. A cut at the end is found by whoever kept a later
head: the bridge says its head in the log, which lies elsewhere.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cloud_bridge.access.model import Account, Action, Answer, DataType, Question
from wire_format.base import plain
from wire_format.canonical import encode

BEGINNING: Final = bytes(32)
"""What the first entry has in place of a hash before it."""


DESTINATION: Final = "destination"
"""What stands in place of a role where a follow-up system, and no account, is kept from data or told it."""
SOURCE: Final = "source"
"""What stands there where a hospital's system, and no account, says something."""
NOBODY: Final = "nobody"
"""What stands there where somebody tried to sign in under a name that is no account's."""

COMMAND_LINE: Final = ("command-line",)
"""What let it happen in place of a policy: whoever may run commands on the bridge's machine may do this."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One question that was asked and its answer, without any value of a patient."""

    number: int
    at: dt.datetime
    account: str
    role: str
    action: Action
    patient: str | None
    data: DataType | None
    allowed: bool
    policies: tuple[str, ...]
    reason: str
    before: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 over the deterministic encoding of everything above."""
        parts = [
            self.number,
            self.at,
            self.account,
            self.role,
            self.action,
            self.patient,
            self.data,
            self.allowed,
            self.policies,
            self.reason,
            self.before,
        ]
        return hashlib.sha256(encode([plain(part) for part in parts])).digest()


def entry(number: int, before: bytes, at: dt.datetime, question: Question, answer: Answer) -> Entry:
    """Return the entry of a decision."""
    return Entry(
        number=number,
        at=at,
        account=question.account.name,
        role=question.account.role.value,
        action=question.action,
        patient=question.subject.patient if question.subject is not None else None,
        data=question.data,
        allowed=answer.allowed,
        policies=answer.policies,
        reason=question.reason,
        before=before,
    )


def stated(  # noqa: PLR0913, PLR0917 - an entry has these parts
    number: int,
    before: bytes,
    at: dt.datetime,
    who: tuple[str, str],
    action: Action,
    reason: str,
    *,
    patient: str | None = None,
    allowed: bool = True,
    policies: tuple[str, ...] = (),
) -> Entry:
    """Return the entry of what no policy was asked about; `who`: a name, and a role or what stands for it."""
    account, role = who
    return Entry(number, at, account, role, action, patient, None, allowed, policies, reason, before)


def refusal(number: int, before: bytes, at: dt.datetime, account: Account | None, reason: str) -> Entry:
    """Return the entry of a sign-in that failed; `account` None: of nobody whom we know.

    What was typed as a name is not kept then: it may be a password in the wrong field.
    """
    who = ("", NOBODY) if account is None else (account.name, account.role.value)
    return stated(number, before, at, who, Action.SIGN_IN, reason, allowed=False)


def managed(number: int, before: bytes, at: dt.datetime, whose: tuple[str, str], reason: str) -> Entry:
    """Return the entry of what a command did to an account; `whose`: its name and role."""
    return stated(number, before, at, whose, Action.MANAGE_ACCOUNTS, reason, policies=COMMAND_LINE)


def review_of(number: int, remark: str) -> str:
    """Return how the chain says that somebody looked into an entry: the review is an entry of its own."""
    return f"{number}: {remark}"


def reviews(entries: Iterable[Entry]) -> dict[int, Entry]:
    """Return by number which entries were looked into, with the newest review of each."""
    found: dict[int, Entry] = {}
    for one in entries:
        number = one.reason.partition(":")[0]
        if one.action is Action.REVIEW and one.allowed and number.isdecimal():
            found[int(number)] = one
    return found


def broken_at(entries: Iterable[tuple[Entry, bytes]], head: bytes | None = None) -> int | None:
    """Return the number of the first entry that is not as it was written; None if all are.

    `entries` come in the order of their numbers, each with the hash that stands beside it. With `head`, a
    hash that was seen before, that entry must be among them.
    """
    before, expected = BEGINNING, 1
    seen = head is None or head == BEGINNING
    for one, digest in entries:
        if one.number != expected or one.before != before or one.digest != digest:
            return expected
        seen = seen or digest == head
        before, expected = digest, expected + 1
    return None if seen else expected
