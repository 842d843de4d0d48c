"""What every rule of readings shares: order, repetition and refusal are dealt with here, once.

A rule says which quantities it looks at, how it sees one reading, and what it finds in them. It is handed
each reading once, ordered by when it was measured (those without a time last), and only what rules may stand
on.
"""

import datetime as dt
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from cloud_bridge.rules.base import (
    Finding,
    Reading,
    Settings,
    Severity,
    Standing,
    finding_id,
    subject_of,
)
from cloud_bridge.rules.episodes import LAST, Taken
from cloud_bridge.rules.parameters import Parameters
from cloud_bridge.rules.refusals import refusal
from wire_format.nomenclature import Quantity

P = TypeVar("P", bound=Parameters)
T = TypeVar("T", bound=Taken)
AUTOMATIC: Final = LAST
"""Stands for "when the newest reading of the evidence was taken"."""


class Rule(ABC, Generic[P]):
    """One rule of the catalogue, with the parameters of one programme.

    `everybody`: it protects whoever is measured, in whatever programme they are, and asks "who was it?" of
    an unassigned reading. `per_programme`: each programme of a patient has its own word in it; of other rules
    the first programme that has them decides. `depth`: how long before the moment of a finding a reading may
    lie that it depends on. `lasting`: what it finds goes on until something comes. `problem`: what its
    findings are episodes of: while an item of it is live, more fold into it; "": each is an item of its own.
    """

    id: ClassVar[str]
    parameters: ClassVar[type[Parameters]]
    everybody: ClassVar[bool] = False
    per_programme: ClassVar[bool] = False
    lasting: ClassVar[bool] = False
    problem: ClassVar[str] = ""
    depth: ClassVar[dt.timedelta] = dt.timedelta()

    def __init__(self, own: P, programme: str, version: str) -> None:
        self._own = own
        self.programme = programme
        self.version = version

    @classmethod
    def problem_of(cls, finding: Finding) -> str:
        """Return the problem that a finding of this rule is an episode of: `problem`, where there is one."""
        del finding
        return cls.problem

    def reach(self, settings: Settings) -> dt.timedelta:
        """Return `depth`, or nothing where these settings make the rule look at no more than a session."""
        own, _ = self.personal(settings)
        return self.depth if own.enabled else dt.timedelta()

    def personal(self, settings: Settings) -> tuple[P, tuple[UUID, ...]]:
        """Return a patient's parameters, and the ids of the statements that changed them."""
        said = settings.of_rule(self.id)
        own = {name: json.loads(s.value) for name, s in said.items()}
        stated = {name: value for name, value in own.items() if value is not None}
        if not stated:
            return self._own, ()
        ids = tuple(said[name].statement_id for name in sorted(stated))
        return self._own.adjusted(stated), ids


@dataclass(frozen=True, slots=True)
class Case(Generic[P, T]):
    """What a rule is asked about: parameters as they hold for this patient, and the moment."""

    rule: Rule[P]
    own: P
    statements: tuple[UUID, ...]
    settings: Settings
    now: dt.datetime

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which the patient's days are counted."""
        return ZoneInfo(self.settings.zone)

    def local(self, one: Taken) -> dt.datetime:
        """Return when a reading was taken, on the patient's wall clock."""
        return local(one.when, self.zone)

    def finding(  # noqa: PLR0913 - a finding has these parts
        self,
        stood_on: Sequence[T],
        text: str,
        values: Mapping[str, str],
        *,
        severity: Severity | None = None,
        standing: Standing = Standing.CONFIRMED,
        kind: str = "",
        came_true: dt.datetime | None = AUTOMATIC,
    ) -> Finding:
        """Return a finding. `kind` tells apart what one rule may find of one trigger; "" for its main one."""
        rule, first = self.rule, stood_on[0].reading
        subject = subject_of(first)
        about = [s for one in stood_on for s in one.reading.statements]
        return Finding(
            finding_id=finding_id(subject, f"{rule.id}:{kind}" if kind else rule.id, first.id),
            rule=rule.id,
            version=rule.version,
            subject=subject,
            severity=severity or self.own.severity,
            standing=standing,
            evidence=tuple(one.id for one in stood_on),
            statements=tuple(dict.fromkeys([*about, *self.statements])),
            since=stood_on[0].at or first.measurement.time.received_at,
            reason=tuple(sorted({"text": text, **values}.items())),
            programme=rule.programme,
            queue=self.own.queue,
            came_true=newest(stood_on) if came_true is AUTOMATIC else came_true,
        )


class ReadingRule(Rule[P], Generic[P, T]):
    """A rule over readings. Subclasses implement `_see`, `_find` and, if time alone changes it, `_wake`."""

    quantities: ClassVar[frozenset[Quantity]]

    def findings(
        self, readings: Sequence[Reading], settings: Settings, now: dt.datetime
    ) -> frozenset[Finding]:
        """Return what holds for one subject's readings, in any order, at `now` (UTC)."""
        return self.look(readings, settings, now)[0]

    def wakes(self, readings: Sequence[Reading], settings: Settings, now: dt.datetime) -> dt.datetime | None:
        """Return the first moment after `now` at which the findings may differ by time alone."""
        return self.look(readings, settings, now)[1]

    def look(
        self, readings: Sequence[Reading], settings: Settings, now: dt.datetime
    ) -> tuple[frozenset[Finding], dt.datetime | None]:
        """Return both, looking at the readings once."""
        case = self._case(settings, now)
        if not case.own.enabled:
            return frozenset(), None
        seen = self._seen(readings)
        return frozenset(self._find(case, seen)), self._wake(case, seen)

    def _case(self, settings: Settings, now: dt.datetime) -> Case[P, T]:
        own, statements = self.personal(settings)
        return Case(self, own, statements, settings, now)

    def _seen(self, readings: Iterable[Reading]) -> list[T]:
        found = {}
        for reading in readings:
            ours = reading.measurement.quantity in self.quantities
            somebodys = self.everybody or reading.patient is not None
            if ours and somebodys and refusal(reading) is None:
                one = self._see(reading)
                if one is not None:
                    found[reading.id] = one
        return sorted(found.values(), key=lambda one: (one.at or LAST, one.id))

    @abstractmethod
    def _see(self, reading: Reading) -> T | None:
        """Return one reading as this rule needs it; None if it has nothing for it."""

    @abstractmethod
    def _find(self, case: Case[P, T], seen: list[T]) -> Iterable[Finding]:
        """Return what is found."""

    def _wake(self, case: Case[P, T], seen: list[T]) -> dt.datetime | None:
        """See `wakes`."""
        del case, seen
        return None


def dated(seen: Iterable[T]) -> list[T]:
    """Return what a sequence may be made of: it has a time, and somebody is known to own it."""
    return [one for one in seen if one.at is not None and one.reading.patient is not None]


def newest(stood_on: Sequence[Taken]) -> dt.datetime | None:
    """Return the last moment at which the last reading may have been taken; None if nobody knows."""
    measured = stood_on[-1].reading.measured
    if measured is None:
        return None
    uncertain = dt.timedelta(milliseconds=measured.uncertainty_ms)
    return measured.utc + uncertain if LAST - measured.utc > uncertain else LAST - dt.timedelta(seconds=1)


def local(at: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return a moment on the wall clock of a zone; at the ends of the calendar, of UTC."""
    try:
        return at.astimezone(zone)
    except OverflowError:
        return at
