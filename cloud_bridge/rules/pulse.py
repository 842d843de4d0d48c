"""PULSE and PULSE-IRREGULAR: the pulse that cuffs and oximeters report beside what they measure at rest."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal

from pydantic import Field

from cloud_bridge.rules.base import Finding, Reading, Settings, Standing
from cloud_bridge.rules.episodes import Taken, merged, next_session, runs, sessions
from cloud_bridge.rules.parameters import SessionParameters
from cloud_bridge.rules.rule import Case, P, ReadingRule, dated
from wire_format.measurement import BloodPressureContext
from wire_format.nomenclature import Quantity, Term


class Pulse(Taken):
    """A pulse rate per minute, and whether the device called it irregular (None: it does not say)."""

    __slots__ = ("irregular", "rate")

    def __init__(self, reading: Reading, rate: Decimal, *, irregular: bool | None) -> None:
        super().__init__(reading)
        self.rate, self.irregular = rate, irregular


class PulseRule(ReadingRule[P, Pulse]):
    """A rule over sessions of pulses."""

    quantities = frozenset({Quantity.BLOOD_PRESSURE, Quantity.PULSE_OXIMETRY})

    def _see(self, reading: Reading) -> Pulse | None:
        rate = reading.measurement.value(Term.PULSE_RATE)
        context = reading.measurement.context
        irregular = context.irregular_pulse if isinstance(context, BloodPressureContext) else None
        return None if rate is None else Pulse(reading, rate, irregular=irregular)

    def _wake(self, case: Case[P, Pulse], seen: list[Pulse]) -> dt.datetime | None:
        own = case.own
        gap = own.gap if isinstance(own, SessionParameters) else dt.timedelta()
        return next_session(dated(seen), gap, case.now)


class RateParameters(SessionParameters):
    """Outside of [low, high]; or, with `above_baseline`, so much above the mean of the days before.

    The baseline is the mean of daily means over `baseline_days` days before the day itself, of which at least
    `baseline_minimum` must have a value.
    """

    low: Decimal = Field(gt=0)
    high: Decimal = Field(gt=0)
    above_baseline: Decimal | None = Field(default=None, gt=0)
    baseline_days: int = Field(default=14, ge=1, le=28)
    baseline_minimum: int = Field(default=7, ge=1)


class RateRule(PulseRule[RateParameters]):
    """PULSE: the mean of a session is too low or too high, or far above the patient's own baseline."""

    id = "PULSE"
    problem = "pulse"
    parameters = RateParameters
    depth = dt.timedelta(days=28)

    def reach(self, settings: Settings) -> dt.timedelta:
        """Return how far the baseline reaches; without one there is nothing to look back for."""
        own, _ = self.personal(settings)
        return super().reach(settings) if own.above_baseline is not None else dt.timedelta()

    def _find(self, case: Case[RateParameters, Pulse], seen: list[Pulse]) -> Iterable[Finding]:
        own = case.own
        counted = sessions(dated(seen), own.gap, case.now)
        for text, holds in (
            ("low", lambda session: _mean(session) < own.low),
            ("high", lambda session: _mean(session) > own.high),
        ):
            for run in runs(counted, holds):
                stood_on = [p for session in run for p in session]
                values = _rates(run[-1], own.low if text == "low" else own.high)
                yield case.finding(stood_on, text, values, standing=_standing(stood_on))
        if own.above_baseline is not None:
            yield from self._above_baseline(case, counted, own.above_baseline)

    def _above_baseline(
        self, case: Case[RateParameters, Pulse], counted: list[list[Pulse]], margin: Decimal
    ) -> Iterable[Finding]:
        high: list[list[Pulse]] = []
        said: dict[object, dict[str, str]] = {}
        days = _by_day(case, counted)
        for session in counted:
            before = _days_before(days, case.local(session[0]).date(), case.own)
            if len(before) < case.own.baseline_minimum:
                continue
            baseline = sum((_mean(day) for day in before), Decimal()) / len(before)
            if _mean(session) >= baseline + margin:
                high.append([*(p for day in before for p in day), *session])
                said[session[-1].id] = {
                    **_rates(session, margin),
                    "baseline": str(baseline.quantize(Decimal(1))),
                }
        for stood_on in merged(high):
            yield case.finding(stood_on, "baseline", said[stood_on[-1].id], kind="baseline")


class IrregularParameters(SessionParameters):
    """`flagged` of the last `of_sessions` sessions have a reading that the device calls irregular."""

    flagged: int = Field(ge=1)
    of_sessions: int = Field(ge=1)


class IrregularRule(PulseRule[IrregularParameters]):
    """PULSE-IRREGULAR: the device's own flag, in enough of the last sessions."""

    id = "PULSE-IRREGULAR"
    problem = "irregular pulse"
    parameters = IrregularParameters

    def _find(self, case: Case[IrregularParameters, Pulse], seen: list[Pulse]) -> Iterable[Finding]:
        own = case.own
        told = [p for p in dated(seen) if p.irregular is not None]
        counted = sessions(told, own.gap, case.now)
        flagged: list[list[Pulse]] = []
        said: dict[object, int] = {}
        for index in range(len(counted)):
            last = counted[max(0, index + 1 - own.of_sessions) : index + 1]
            count = sum(any(p.irregular for p in session) for session in last)
            if count >= own.flagged:
                flagged.append([p for session in last for p in session])
                said[flagged[-1][-1].id] = count
        for stood_on in merged(flagged):
            count = said[stood_on[-1].id]
            yield case.finding(stood_on, "", {"count": str(count), "of": str(own.of_sessions)})

    def _wake(self, case: Case[IrregularParameters, Pulse], seen: list[Pulse]) -> dt.datetime | None:
        return super()._wake(case, [p for p in seen if p.irregular is not None])


def _by_day(case: Case[RateParameters, Pulse], counted: list[list[Pulse]]) -> dict[dt.date, list[Pulse]]:
    days: dict[dt.date, list[Pulse]] = defaultdict(list)
    for session in counted:
        days[case.local(session[0]).date()] += session
    return days


def _days_before(days: dict[dt.date, list[Pulse]], date: dt.date, own: RateParameters) -> list[list[Pulse]]:
    longest = dt.timedelta(days=own.baseline_days)
    return [readings for day, readings in days.items() if dt.timedelta() < date - day <= longest]


def _mean(pulses: Sequence[Pulse]) -> Decimal:
    return sum((p.rate for p in pulses), Decimal()) / len(pulses)


def _standing(stood_on: Sequence[Pulse]) -> Standing:
    return Standing.CONFIRMED if len(stood_on) > 1 else Standing.UNCONFIRMED


def _rates(session: Sequence[Pulse], limit: Decimal) -> dict[str, str]:
    return {"pulse": str(_mean(session).quantize(Decimal(1))), "limit": str(limit)}
