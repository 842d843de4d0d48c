"""BP-SEVERE, BP-URGENT-CN, BP-LOW, BP-CONSECUTIVE and BP-THIRD: single readings and sessions of them."""

import datetime as dt
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeVar

from pydantic import Field

from cloud_bridge.rules.base import Finding, Reading, Severity, Standing
from cloud_bridge.rules.episodes import clusters, next_session, runs, sessions
from cloud_bridge.rules.parameters import Parameters, PressureLimit, SessionParameters
from cloud_bridge.rules.pressure import (
    ABOVE_TARGET,
    BLOOD_PRESSURE,
    Pressure,
    digits,
    limits,
    mean,
    pressure,
    shown,
)
from cloud_bridge.rules.rule import Case, P, ReadingRule, dated
from wire_format.units import convert


class PressureRule(ReadingRule[P, Pressure]):
    """A rule over blood pressures."""

    quantities = BLOOD_PRESSURE

    def _see(self, reading: Reading) -> Pressure | None:
        return pressure(reading)


class SevereParameters(Parameters):
    """A reading above either limit is severe; a second one in time confirms it."""

    systolic: PressureLimit
    diastolic: PressureLimit
    confirm_within_minutes: int = Field(ge=1)


class SevereRule(PressureRule[SevereParameters]):
    """BP-SEVERE: one severe reading opens an unconfirmed finding, a second one in time confirms it."""

    id = "BP-SEVERE"
    problem = "high pressure"
    parameters = SevereParameters
    everybody = True

    def _find(self, case: Case[SevereParameters, Pressure], seen: list[Pressure]) -> Iterable[Finding]:
        own = case.own
        window = dt.timedelta(minutes=own.confirm_within_minutes)
        begun = None
        for index, one in enumerate(seen):
            if one.at is not None and begun is not None and one.at - begun <= window:
                continue  # part of the episode before
            if one.above(own.systolic, own.diastolic):
                begun = one.at
                yield self._episode(case, one, _within(seen[index + 1 :], begun, window))

    def _episode(
        self, case: Case[SevereParameters, Pressure], first: Pressure, rest: list[Pressure]
    ) -> Finding:
        own = case.own
        severe = [p for p in rest if p.above(own.systolic, own.diastolic)]
        standing, stood_on = Standing.UNCONFIRMED, [first, *severe]
        # Of somebody unknown, another reading may be another person's: it neither confirms nor calms.
        known = first.reading.patient is not None
        if known and severe:
            standing = Standing.CONFIRMED
        elif known and rest:
            standing, stood_on = Standing.DOWNGRADED, [first, *rest]
        values = {
            **digits(first),
            **limits(first.unit, own.systolic, own.diastolic),
            "minutes": str(own.confirm_within_minutes),
            "home": first.reading.measurement.provenance.gateway,
        }
        return case.finding(
            stood_on,
            standing.value if known else "unassigned",
            values,
            severity=Severity.ROUTINE if standing is Standing.DOWNGRADED else own.severity,
            standing=standing,
        )


class RunParameters(SessionParameters):
    """`sessions` in a row, each by its mean, make the finding."""

    systolic: PressureLimit
    diastolic: PressureLimit
    sessions: int = Field(default=1, ge=1)


class SessionRule(PressureRule[P]):
    """A rule over sessions: what time alone changes is that a session of one reading comes to count."""

    def _wake(self, case: Case[P, Pressure], seen: list[Pressure]) -> dt.datetime | None:
        own = case.own
        gap = own.gap if isinstance(own, SessionParameters) else dt.timedelta()
        return next_session(dated(seen), gap, case.now)


R = TypeVar("R", bound=RunParameters)


class RunRule(SessionRule[R]):
    """A run of neighbouring sessions of which each one holds is one finding."""

    @abstractmethod
    def _holds(self, own: R, session: Sequence[Pressure]) -> bool:
        """Whether a session is part of a run."""

    def _find(self, case: Case[R, Pressure], seen: list[Pressure]) -> Iterable[Finding]:
        own = case.own
        counted = sessions(dated(seen), own.gap, case.now)
        for run in runs(counted, lambda session: self._holds(own, session)):
            if len(run) >= own.sessions:
                yield self._run(case, run)

    def _run(self, case: Case[R, Pressure], run: list[list[Pressure]]) -> Finding:
        average, own = mean(run[-1]), case.own
        repeated = any(len(session) > 1 for session in run) or len(run) > 1
        return case.finding(
            [p for session in run for p in session],
            "",
            {**shown(average), **limits(average.unit, own.systolic, own.diastolic), "count": str(len(run))},
            standing=Standing.CONFIRMED if repeated else Standing.UNCONFIRMED,
        )


class ConsecutiveRule(RunRule[RunParameters]):
    """BP-CONSECUTIVE: N sessions in a row whose mean is at or above the patient's target."""

    id = "BP-CONSECUTIVE"
    problem = ABOVE_TARGET
    parameters = RunParameters

    def _holds(self, own: RunParameters, session: Sequence[Pressure]) -> bool:
        return mean(session).reaches(own.systolic, own.diastolic)


class LowRule(RunRule[RunParameters]):
    """BP-LOW: a session whose mean is below either limit."""

    id = "BP-LOW"
    problem = "low pressure"
    parameters = RunParameters

    def _holds(self, own: RunParameters, session: Sequence[Pressure]) -> bool:
        return mean(session).below(own.systolic, own.diastolic)


class UrgentParameters(RunParameters):
    """A session with a reading above the severe limits is another rule's: one problem, one finding."""

    severe_systolic: PressureLimit
    severe_diastolic: PressureLimit


class UrgentRule(RunRule[UrgentParameters]):
    """BP-URGENT-CN: a session whose mean reaches either limit, and that BP-SEVERE does not speak of."""

    id = "BP-URGENT-CN"
    problem = "high pressure"
    parameters = UrgentParameters

    def _holds(self, own: UrgentParameters, session: Sequence[Pressure]) -> bool:
        if any(p.above(own.severe_systolic, own.severe_diastolic) for p in session):
            return False
        return mean(session).reaches(own.systolic, own.diastolic)


class ThirdParameters(SessionParameters):
    """Two readings of a session that differ by more than the limit ask for a third one."""

    difference: PressureLimit


class ThirdRule(SessionRule[ThirdParameters]):
    """BP-THIRD: the first two readings of a session differ too much; over when a third one came."""

    id = "BP-THIRD"
    parameters = ThirdParameters

    def _find(self, case: Case[ThirdParameters, Pressure], seen: list[Pressure]) -> Iterable[Finding]:
        own = case.own
        for session in clusters(dated(seen), own.gap):
            if len(session) > 1 and _differ(session[0], session[1], own.difference):
                first, second = session[:2]
                values = {
                    **digits(first),
                    "again": f"{second.systolic}/{second.diastolic}",
                    **limits(first.unit, own.difference, own.difference),
                    "limit": str(own.difference.in_unit(first.unit)),
                }
                standing = Standing.UNCONFIRMED if len(session) == 2 else Standing.RESOLVED  # noqa: PLR2004 - a third one came
                yield case.finding(session, "", values, standing=standing)


def _differ(first: Pressure, second: Pressure, limit: PressureLimit) -> bool:
    """Whether either value differs by more than the limit, in the unit of the first."""
    unit = first.unit
    systolic = abs(first.systolic - convert(second.systolic, second.unit, unit))
    diastolic = abs(first.diastolic - convert(second.diastolic, second.unit, unit))
    return max(systolic, diastolic) > limit.in_unit(unit)


def _within(later: Sequence[Pressure], start: dt.datetime | None, window: dt.timedelta) -> list[Pressure]:
    if start is None:
        return []  # without a time nothing can be said to come soon after it
    return [p for p in later if p.at is not None and p.at - start <= window]
