"""SILENCE: a reading that is expected did not come, or comes ever more rarely.

What is expected is agreed: the programme says which quantity at least every so many days, and the day on
which the patient joined the programme is when it begins. Of a patient who joined none, nothing is expected.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from pydantic import Field

from cloud_bridge.rules.base import Finding, Membership, Reading, Settings, Severity, Standing, finding_id
from cloud_bridge.rules.episodes import Taken, plus, soonest
from cloud_bridge.rules.parameters import Parameters
from cloud_bridge.rules.rule import Case, ReadingRule
from wire_format.nomenclature import Quantity

_AS: Final = {Quantity.BODY_COMPOSITION: Quantity.BODY_WEIGHT}
_WEEK: Final = dt.timedelta(days=7)


class Heard(Taken):
    """A reading that shows that the patient measures. Without a time of its own it was when it came."""

    __slots__ = ("quantity",)

    def __init__(self, reading: Reading, quantity: Quantity) -> None:
        super().__init__(reading)
        self.quantity = quantity

    @property
    def at(self) -> dt.datetime:
        """When it was measured, or when the gateway received it."""
        measured = self.reading.measured
        return self.reading.measurement.time.received_at if measured is None else measured.utc


class SilenceParameters(Parameters):
    """`expected`: after how many days without it a quantity is missing.

    A week is falling if its measured days are at most `falling_to` of the mean of the `weeks` before, and
    these were at least `falling_from` a week.
    """

    expected: Mapping[Quantity, int]
    falling_to: Decimal = Field(gt=0, lt=1)
    falling_from: Decimal = Field(gt=0, le=7)
    weeks: int = Field(ge=1, le=8)


class SilenceRule(ReadingRule[SilenceParameters, Heard]):
    """SILENCE: one finding per gap, over when something came; and one per week that fell."""

    id = "SILENCE"
    parameters = SilenceParameters
    quantities = frozenset(Quantity)
    per_programme = True
    lasting = True
    depth = dt.timedelta(days=35)

    def reach(self, settings: Settings) -> dt.timedelta:
        """Return how far a usual week reaches; of whom nothing is expected, nothing is looked at."""
        return super().reach(settings) if self._member(settings) is not None else dt.timedelta()

    def _see(self, reading: Reading) -> Heard | None:
        quantity = reading.measurement.quantity
        return None if reading.patient is None else Heard(reading, _AS.get(quantity, quantity))

    def _find(self, case: Case[SilenceParameters, Heard], seen: list[Heard]) -> Iterable[Finding]:
        member = self._member(case.settings)
        if member is None:
            return
        for quantity, days in case.own.expected.items():
            heard = _since(seen, quantity, member, case.now)
            yield from self._gaps(case, member, quantity, heard, dt.timedelta(days=days))
            yield from self._falling(case, member, quantity, heard)

    def _member(self, settings: Settings) -> Membership | None:
        return next((m for m in settings.programmes if m.programme == self.programme), None)

    def _gaps(
        self,
        case: Case[SilenceParameters, Heard],
        member: Membership,
        quantity: Quantity,
        heard: Sequence[Heard],
        longest: dt.timedelta,
    ) -> Iterable[Finding]:
        before: list[Heard | None] = [None, *heard]
        after: list[Heard | None] = [*heard, None]
        for last, following in zip(before, after, strict=True):
            begins = member.since if last is None else last.when
            ends = case.now if following is None else following.when
            if ends - begins >= longest:
                missing = _Missing(member, quantity, begins, longest, last, following)
                yield self._missing(case, missing)

    def _missing(self, case: Case[SilenceParameters, Heard], gap: "_Missing") -> Finding:
        subject, over = case.settings.subject, gap.following is not None
        stood_on = [one for one in (gap.last, gap.following) if one is not None]
        trigger = gap.member.statement_id if gap.last is None else gap.last.id
        about = [s for one in stood_on for s in one.reading.statements]
        values = {"quantity": gap.quantity.value, "days": str(gap.longest.days)}
        return Finding(
            finding_id=finding_id(subject, f"{self.id}:{gap.quantity.value}", trigger),
            rule=self.id,
            version=self.version,
            subject=subject,
            severity=Severity.ROUTINE if over else case.own.severity,
            standing=Standing.RESOLVED if over else Standing.CONFIRMED,
            evidence=tuple(one.id for one in stood_on),
            statements=tuple(dict.fromkeys([*about, gap.member.statement_id, *case.statements])),
            since=gap.begins,
            reason=tuple(sorted({"text": "over" if over else "missing", **values}.items())),
            programme=self.programme,
            queue=case.own.queue,
            came_true=plus(gap.begins, gap.longest),
        )

    def _falling(
        self,
        case: Case[SilenceParameters, Heard],
        member: Membership,
        quantity: Quantity,
        heard: Sequence[Heard],
    ) -> Iterable[Finding]:
        own, weeks = case.own, _by_week(case, heard)
        for monday in sorted({m + _WEEK * n for m in weeks for n in range(own.weeks + 1)}):
            earlier = [monday - _WEEK * n for n in range(own.weeks, 0, -1)]
            ends = _midnight(case, monday + _WEEK)
            if case.now < ends or _midnight(case, earlier[0]) < member.since:
                continue
            usual = Decimal(sum(_days(case, weeks.get(m, ())) for m in earlier)) / own.weeks
            measured = _days(case, weeks.get(monday, ()))
            if usual >= own.falling_from and measured <= usual * own.falling_to:
                stood_on = [one for m in (*earlier, monday) for one in weeks.get(m, ())]
                values = {
                    "quantity": quantity.value,
                    "measured": str(measured),
                    "usual": str(usual.quantize(Decimal("0.1"))),
                }
                kind = f"{quantity.value}:{monday.isoformat()}"
                yield case.finding(stood_on, "falling", values, kind=kind, came_true=ends)

    def _wake(self, case: Case[SilenceParameters, Heard], seen: list[Heard]) -> dt.datetime | None:
        member = self._member(case.settings)
        if member is None:
            return None
        moments = [_midnight(case, _monday(case, case.now) + _WEEK)]
        for quantity, days in case.own.expected.items():
            heard = _since(seen, quantity, member, case.now)
            last = heard[-1].when if heard else member.since
            moments.append(plus(last, dt.timedelta(days=days)))
        ahead = [one.when for one in seen if one.when > case.now]
        return soonest(*(m for m in (*moments, *ahead) if m > case.now))


class _Missing:
    """A gap that was too long, and what lies at its ends."""

    __slots__ = ("begins", "following", "last", "longest", "member", "quantity")

    def __init__(  # noqa: PLR0913, PLR0917 - what a gap is made of
        self,
        member: Membership,
        quantity: Quantity,
        begins: dt.datetime,
        longest: dt.timedelta,
        last: Heard | None,
        following: Heard | None,
    ) -> None:
        self.member, self.quantity, self.begins = member, quantity, begins
        self.longest, self.last, self.following = longest, last, following


def _since(seen: Iterable[Heard], quantity: Quantity, member: Membership, now: dt.datetime) -> list[Heard]:
    """Return what came of a quantity since it is expected; what a clock ahead dates later is not here yet."""
    return [one for one in seen if one.quantity is quantity and member.since <= one.when <= now]


def _monday(case: Case[SilenceParameters, Heard], at: dt.datetime) -> dt.date:
    date = at.astimezone(case.zone).date()
    return date - dt.timedelta(days=date.weekday())


def _midnight(case: Case[SilenceParameters, Heard], date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), tzinfo=case.zone).astimezone(dt.UTC)


def _by_week(case: Case[SilenceParameters, Heard], heard: Iterable[Heard]) -> dict[dt.date, list[Heard]]:
    weeks: dict[dt.date, list[Heard]] = defaultdict(list)
    for one in heard:
        weeks[_monday(case, one.when)].append(one)
    return weeks


def _days(case: Case[SilenceParameters, Heard], heard: Iterable[Heard]) -> int:
    """Return on how many days something was measured."""
    return len({case.local(one).date() for one in heard})
