"""What the person in front of a page sees and may do: everything (a link), or what the policies say."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloud_bridge.access.engine import Known
from cloud_bridge.access.guard import Guard
from cloud_bridge.access.model import ON_PATIENTS, Account, Action, DataType, Question, Subject

_BY_LINK: Final = frozenset({Action.READ, Action.ACKNOWLEDGE, Action.TRIAGE, Action.RETRY_DELIVERY})


class Sight(Protocol):
    """How a page asks. It is made for one request and forgotten: the next one asks anew."""

    @property
    def opened(self) -> Mapping[str, dt.datetime]:
        """Patients that were opened in an emergency, and until when."""
        ...

    def may(self, action: Action, patient: str | None = None, data: DataType | None = None) -> bool:
        """Tell whether something is to be offered; nothing is on record of it."""
        ...

    def among(self, action: Action, patients: Sequence[str], data: DataType) -> frozenset[str]:
        """Return of which patients something is to be offered; nothing is on record of it."""
        ...

    def sees(self, action: Action, patient: str | None = None, data: DataType | None = None) -> bool:
        """Tell whether something is to be shown; that it is shown is on record."""
        ...

    def does(
        self, action: Action, patient: str | None = None, data: DataType | None = None, *, reason: str = ""
    ) -> bool:
        """Tell whether something may be done; that it was asked is on record, whatever the answer."""
        ...


@dataclass(frozen=True, slots=True)
class ByLink:
    """Whoever came in by a link works at the inbox and sees all of it; there are no accounts."""

    opened: Mapping[str, dt.datetime] = field(default_factory=dict)

    def may(self, action: Action, patient: str | None = None, data: DataType | None = None) -> bool:
        """See `Sight`."""
        del patient, data
        return action in _BY_LINK

    def among(self, action: Action, patients: Sequence[str], data: DataType) -> frozenset[str]:
        """See `Sight`."""
        return frozenset(patients if self.may(action, data=data) else ())

    def sees(self, action: Action, patient: str | None = None, data: DataType | None = None) -> bool:
        """See `Sight`."""
        return self.may(action, patient, data)

    def does(
        self, action: Action, patient: str | None = None, data: DataType | None = None, *, reason: str = ""
    ) -> bool:
        """See `Sight`."""
        del reason
        return self.may(action, patient, data)


@dataclass(frozen=True, slots=True)
class Guarded:
    """What an account sees, by the policies. Within a request each patient's consents are looked up once.

    What is done is decided by itself; what is shown, once for all that policies cannot tell apart. `token`
    names the token by which a program asks: it is on record with all that it asked.
    """

    guard: Guard
    account: Account
    opened: Mapping[str, dt.datetime]
    token: str = ""
    _subjects: dict[str, Subject] = field(default_factory=dict)
    _known: Known = field(default_factory=dict)

    def may(self, action: Action, patient: str | None = None, data: DataType | None = None) -> bool:
        """See `Sight`. A reason is taken to be given later."""
        reason = "a reason to come" if action is Action.BREAK_GLASS else ""
        return self.guard.would_allow(self._question(action, patient, data, reason), self._known)

    def among(self, action: Action, patients: Sequence[str], data: DataType) -> frozenset[str]:
        """See `Sight`."""
        new = [one for one in patients if one not in self._subjects]
        self._subjects.update(self.guard.subjects(new))
        return frozenset(one for one in patients if self.may(action, one, data))

    def sees(self, action: Action, patient: str | None = None, data: DataType | None = None) -> bool:
        """See `Sight`."""
        return self.guard.shows(self._question(action, patient, data, ""), self._known)

    def does(
        self, action: Action, patient: str | None = None, data: DataType | None = None, *, reason: str = ""
    ) -> bool:
        """See `Sight`."""
        return self.guard.answers(self._question(action, patient, data, reason))

    def _question(self, action: Action, patient: str | None, data: DataType | None, reason: str) -> Question:
        subject = self._subject(patient or "") if action in ON_PATIENTS else None
        broken = action is Action.READ and patient in self.opened
        by_token = bool(self.token)
        said = "; ".join(part for part in (reason, f"token {self.token}" if by_token else "") if part)
        return Question(
            self.account,
            action,
            subject,
            data,
            said,
            second_factor=not by_token,
            glass_broken=broken,
            by_token=by_token,
        )

    def _subject(self, patient: str) -> Subject:
        if patient not in self._subjects:
            self._subjects[patient] = self.guard.subject(patient)
        return self._subjects[patient]
