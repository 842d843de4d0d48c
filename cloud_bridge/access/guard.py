"""The guard: asks the policies about each act, and writes down what was asked and answered."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloud_bridge.access.audit import Entry
from cloud_bridge.access.engine import Engine, Known
from cloud_bridge.access.model import ON_PATIENTS, Account, Action, Answer, DataType, Question, Subject

SAME_READ: Final = dt.timedelta(minutes=10)
"""A page renews itself: what one account reads again of one patient within this time is one read."""

_LONG_AGO: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_Look = tuple[str, Action, str, DataType | None, bool, str]


class AccessStore(Protocol):
    """What the guard asks of the store."""

    def account(self, name: str) -> Account | None:
        """Return an account as it is now; None if there is none."""
        ...

    def subject(self, patient: str, now: dt.datetime) -> Subject:
        """Return what decisions about a patient stand on."""
        ...

    def subjects(self, patients: Collection[str], now: dt.datetime) -> Mapping[str, Subject]:
        """Return the same of many patients at once."""
        ...

    def record(self, question: Question, answer: Answer, now: dt.datetime) -> Entry:
        """Append a decision to the chain."""
        ...

    def refused(self, account: Account | None, reason: str, now: dt.datetime) -> Entry:
        """Append a sign-in that failed to the chain; None: of nobody whom we know."""
        ...


@dataclass(slots=True)
class Guard:
    """Decides, with the account and the consents as they are at that moment."""

    engine: Engine
    store: AccessStore
    clock: Callable[[], dt.datetime]
    _reads: dict[_Look, dt.datetime] = field(default_factory=dict)
    _pruned: dt.datetime = _LONG_AGO

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
        account = self.store.account(name)
        if account is None:
            return False
        subject = self.subject(patient or "") if action in ON_PATIENTS else None
        return self.answers(Question(account, action, subject, data, reason, second_factor))

    def signs_in(self, account: Account, way: str) -> bool:
        """Tell whether somebody who proved who they are comes in; the answer is on record."""
        return self.answers(Question(account, Action.SIGN_IN, reason=way, second_factor=True))

    def not_in(self, account: Account | None, why: str) -> None:
        """Put on record that somebody did not prove who they are; None: under no name that we know."""
        self.store.refused(account, why, self.clock())

    def subject(self, patient: str) -> Subject:
        """Return what decisions about a patient stand on now."""
        return self.store.subject(patient, self.clock())

    def subjects(self, patients: Collection[str]) -> Mapping[str, Subject]:
        """Return what decisions about some patients stand on now."""
        return self.store.subjects(patients, self.clock())

    def would_allow(self, question: Question, known: Known) -> bool:
        """Tell what the answer would be, for what a page offers: nobody asked, so nothing is on record."""
        return self.engine.decide_once(question, known).allowed

    def answers(self, question: Question) -> bool:
        """Answer a question; the answer is on record before it is given."""
        now, answer = self.clock(), self.engine.decide(question)
        if not (answer.allowed and question.action is Action.READ and self._lately(question, now)):
            self._note(question, answer, now)
        return answer.allowed

    def shows(self, question: Question, known: Known) -> bool:
        """Answer what a page shows by itself: what it shows is on record; for the rest nobody asked."""
        now, answer = self.clock(), self.engine.decide_once(question, known)
        if answer.allowed and not self._lately(question, now):
            self._note(question, answer, now)
        return answer.allowed

    def _note(self, question: Question, answer: Answer, now: dt.datetime) -> None:
        self.store.record(question, answer, now)
        # Only now: what could not be recorded was not answered, and is asked for again.
        if answer.allowed:
            self._reads[_look(question)] = now

    def _lately(self, question: Question, now: dt.datetime) -> bool:
        """Tell whether this look is on record already."""
        if now - self._pruned >= SAME_READ:
            # A copy first: other requests write meanwhile.
            self._reads = {key: at for key, at in list(self._reads.items()) if now - at < SAME_READ}
            self._pruned = now
        before = self._reads.get(_look(question))
        return before is not None and now - before < SAME_READ


def _look(question: Question) -> _Look:
    """Return what makes two looks the same: of tokens each is somebody else."""
    patient = question.subject.patient if question.subject is not None else ""
    token = question.reason if question.by_token else ""
    return question.account.name, question.action, patient, question.data, question.glass_broken, token
