"""The guard: asks the policies about each act, and writes down what was asked and answered."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloud_bridge.access.audit import Entry
from cloud_bridge.access.engine import Engine
from cloud_bridge.access.model import ON_PATIENTS, Account, Action, Answer, DataType, Question, Subject

SAME_READ: Final = dt.timedelta(minutes=10)
"""A page renews itself: what one account reads again of one patient within this time is one read."""


class AccessStore(Protocol):
    """What the guard asks of the store."""

    def account(self, name: str) -> Account | None:
        """Return an account as it is now; None if there is none."""
        ...

    def subject(self, patient: str, now: dt.datetime) -> Subject:
        """Return what decisions about a patient stand on."""
        ...

    def record(self, question: Question, answer: Answer, now: dt.datetime) -> Entry:
        """Append a decision to the chain."""
        ...


@dataclass(slots=True)
class Guard:
    """Decides, with the account and the consents as they are at that moment."""

    engine: Engine
    store: AccessStore
    clock: Callable[[], dt.datetime]
    _reads: dict[tuple[str, str, DataType | None], dt.datetime] = field(default_factory=dict)

    def allows(  # noqa: PLR0913 - all that a decision depends on
        self,
        name: str,
        action: Action,
        patient: str | None = None,
        data: DataType | None = None,
        *,
        reason: str = "",
        second_factor: bool = True,
    ) -> bool:
        """Tell whether an account may do something; the answer is on record before it is given."""
        now = self.clock()
        account = self.store.account(name)
        if account is None:
            return False
        subject = self.store.subject(patient or "", now) if action in ON_PATIENTS else None
        question = Question(account, action, subject, data, reason, second_factor)
        answer = self.engine.decide(question)
        if not (answer.allowed and action is Action.READ and self._read_lately(name, patient, data, now)):
            self.store.record(question, answer, now)
        return answer.allowed

    def _read_lately(self, name: str, patient: str | None, data: DataType | None, now: dt.datetime) -> bool:
        """Tell whether this read is on record already, and remember it."""
        self._reads = {key: at for key, at in self._reads.items() if now - at < SAME_READ}
        key = (name, patient or "", data)
        known = key in self._reads
        self._reads.setdefault(key, now)
        return known
