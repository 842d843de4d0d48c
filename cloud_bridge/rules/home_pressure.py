"""BP-HOME and BP-PROTOCOL: what the 7-day protocol says, whenever it was kept, and when it was asked for."""

import datetime as dt
from collections.abc import Iterable

from pydantic import Field

from cloud_bridge.rules.base import Finding, Standing, finding_id
from cloud_bridge.rules.blood_pressure import PressureRule
from cloud_bridge.rules.episodes import merged
from cloud_bridge.rules.pressure import ABOVE_TARGET, Mean, Pressure, limits, shown
from cloud_bridge.rules.protocol import (
    MeasuredDay,
    ProtocolParameters,
    ending_on,
    measured_days,
    protocol_mean,
)
from cloud_bridge.rules.rule import Case, dated
from wire_format.nomenclature import Unit


class HomeRule(PressureRule[ProtocolParameters]):
    """BP-HOME: the mean of a protocol that was kept is at or above the limit.

    The period may end on any measured day; periods that share a day are one finding, of the last mean.
    """

    id = "BP-HOME"
    problem = ABOVE_TARGET
    parameters = ProtocolParameters
    depth = dt.timedelta(days=7)

    def _find(self, case: Case[ProtocolParameters, Pressure], seen: list[Pressure]) -> Iterable[Finding]:
        own, days = case.own, measured_days(dated(seen), case.own, case.local)
        high: list[list[Pressure]] = []
        means: dict[object, tuple[Mean, int]] = {}
        for day in days:
            period = ending_on(days, day.date, own)
            average = protocol_mean(period, own)
            if average is not None and average.reaches(own.systolic, own.diastolic):
                readings = [p for one in period for p in one.readings]
                high.append(readings)
                means[readings[-1].id] = average, len(period)
        for stood_on in merged(high):
            average, count = means[stood_on[-1].id]
            yield case.finding(stood_on, "", _values(average, own, count))


class OrderedParameters(ProtocolParameters):
    """`begins` is the day from which a protocol was asked for; without it nobody asked."""

    begins: dt.date | None = Field(default=None, ge=dt.date(2000, 1, 1), le=dt.date(2999, 12, 31))


class OrderedRule(PressureRule[OrderedParameters]):
    """BP-PROTOCOL: a protocol that was asked for came to its end: its mean, or that it was not kept."""

    id = "BP-PROTOCOL"
    parameters = OrderedParameters
    depth = dt.timedelta(days=7)

    def _find(self, case: Case[OrderedParameters, Pressure], seen: list[Pressure]) -> Iterable[Finding]:
        own = case.own
        if own.begins is None:
            return
        days = self._days(case, seen)
        ends = _midnight(case, own.begins + dt.timedelta(days=own.days))
        if len(days) < own.days and case.now < ends:
            return
        average = protocol_mean(days, own)
        stood_on = [p for day in days for p in day.readings]
        came_true = stood_on[-1].at if len(days) >= own.days else ends
        if average is not None:
            yield case.finding(stood_on, "done", _values(average, own, len(days)), came_true=came_true)
        elif stood_on:
            yield case.finding(
                stood_on, "short", _few(own, len(days)), standing=Standing.UNCONFIRMED, came_true=came_true
            )
        else:
            yield self._nothing(case, own, ends)

    def _days(self, case: Case[OrderedParameters, Pressure], seen: list[Pressure]) -> list[MeasuredDay]:
        own, kept = case.own, measured_days(dated(seen), case.own, case.local)
        last = (own.begins or dt.date.min) + dt.timedelta(days=own.days - 1)
        return ending_on(kept, last, own)

    def _nothing(
        self, case: Case[OrderedParameters, Pressure], own: OrderedParameters, ends: dt.datetime
    ) -> Finding:
        """Return the finding that stands on the order alone: no day of it was kept."""
        subject, order = case.settings.subject, case.settings.of_rule(self.id)["begins"]
        return Finding(
            finding_id=finding_id(subject, self.id, order.statement_id),
            rule=self.id,
            version=self.version,
            subject=subject,
            severity=own.severity,
            standing=Standing.UNCONFIRMED,
            evidence=(),
            statements=case.statements,
            since=order.stated_at,
            reason=tuple(sorted({"text": "short", **_few(own, 0)}.items())),
            programme=self.programme,
            queue=own.queue,
            came_true=ends,
        )

    def _wake(self, case: Case[OrderedParameters, Pressure], seen: list[Pressure]) -> dt.datetime | None:
        own = case.own
        if own.begins is None:
            return None
        del seen
        ends = _midnight(case, own.begins + dt.timedelta(days=own.days))
        return ends if ends > case.now else None


def _midnight(case: Case[OrderedParameters, Pressure], date: dt.date) -> dt.datetime:
    local = dt.datetime.combine(date, dt.time(), tzinfo=case.zone)
    return local.astimezone(dt.UTC)


def _values(average: Mean, own: ProtocolParameters, days: int) -> dict[str, str]:
    return {**shown(average), **limits(average.unit, own.systolic, own.diastolic), "days": str(days)}


def _few(own: ProtocolParameters, days: int) -> dict[str, str]:
    return {**limits(Unit.MMHG, own.systolic, own.diastolic), "days": str(days), "asked": str(own.days)}
