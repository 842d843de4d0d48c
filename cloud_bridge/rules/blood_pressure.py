"""BP-SEVERE and BP-CONSECUTIVE over the fold of stored readings.

What is failed, implausible or a suspected repetition triggers nothing; it stays visible as a reading.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud_bridge.rules.base import Finding, Reading, Settings, Severity, Standing, finding_id
from cloud_bridge.rules.programme import Hypertension, PressureLimit, hypertension, with_settings
from wire_format.measurement import Remark
from wire_format.nomenclature import Quantity, Term, Unit
from wire_format.units import convert

_UNTRUSTED = {Remark.IMPLAUSIBLE, Remark.DIASTOLIC_NOT_BELOW_SYSTOLIC}
_DISPLAY = {Unit.MMHG: "mmHg", Unit.KPA: "kPa"}


@dataclass(frozen=True, slots=True)
class Pressure:
    """A blood pressure that a rule may stand on, in the device's own unit."""

    reading: Reading
    unit: Unit
    systolic: Decimal
    diastolic: Decimal

    @property
    def at(self) -> dt.datetime | None:
        """The folded moment; None if unknown."""
        return None if self.reading.measured is None else self.reading.measured.utc

    def above(self, systolic: PressureLimit, diastolic: PressureLimit) -> bool:
        """Whether either value lies above its limit."""
        return self.systolic > systolic.in_unit(self.unit) or self.diastolic > diastolic.in_unit(self.unit)


def pressures(readings: Iterable[Reading]) -> list[Pressure]:
    """Return what rules may stand on, each measurement once, by the time of measuring (unknown ones last)."""
    found: dict[object, Pressure] = {}
    for reading in readings:
        one = _pressure(reading)
        if one is not None:
            found[reading.id] = one
    late = dt.datetime.max.replace(tzinfo=dt.UTC)
    return sorted(found.values(), key=lambda p: (p.at or late, p.reading.id))


def _pressure(reading: Reading) -> Pressure | None:
    m = reading.measurement
    if m.quantity is not Quantity.BLOOD_PRESSURE or m.failure or reading.repetition_of:
        return None
    if _UNTRUSTED & set(m.remarks):
        return None
    systolic, diastolic = m.component(Term.SYSTOLIC), m.component(Term.DIASTOLIC)
    if systolic is None or diastolic is None or systolic.value is None or diastolic.value is None:
        return None
    return Pressure(reading, systolic.unit, systolic.value, diastolic.value)


def subject_of(reading: Reading) -> str:
    """Return whom a finding is about: the patient, or the home while nobody knows who it was."""
    return reading.patient or f"home:{reading.measurement.provenance.gateway}"


class SevereRule:
    """BP-SEVERE: one severe reading opens an unconfirmed finding, a second one in time confirms it."""

    id = "BP-SEVERE"

    def __init__(self, programme: Hypertension | None = None) -> None:
        self._programme = programme or hypertension()
        self.version = self._programme.version

    def findings(
        self, readings: Sequence[Reading], settings: Settings, now: dt.datetime
    ) -> frozenset[Finding]:
        """Return one finding per episode. See `Rule.findings`; `now` does not matter here."""
        del now
        rules = with_settings(self._programme, settings).severe
        window = dt.timedelta(minutes=rules.confirm_within_minutes)
        found, begun = [], None
        ordered = pressures(readings)
        for index, one in enumerate(ordered):
            if one.at is not None and begun is not None and one.at - begun <= window:
                continue  # part of the episode before
            if not one.above(rules.systolic, rules.diastolic):
                continue
            episode = [one, *_within(ordered[index + 1 :], one.at, window)]
            begun = one.at
            found.append(
                self._finding(episode, rules.confirm_within_minutes, rules.systolic, rules.diastolic)
            )
        return frozenset(found)

    def _finding(
        self, episode: list[Pressure], minutes: int, systolic: PressureLimit, diastolic: PressureLimit
    ) -> Finding:
        first, rest = episode[0], episode[1:]
        severe = [p for p in rest if p.above(systolic, diastolic)]
        standing, stood_on = Standing.UNCONFIRMED, [first, *severe]
        # Of somebody unknown, another reading may be another person's: it neither confirms nor calms.
        known = first.reading.patient is not None
        if known and severe:
            standing = Standing.CONFIRMED
        elif known and rest:
            standing, stood_on = Standing.DOWNGRADED, [first, *rest]
        subject = subject_of(first.reading)
        name = standing.value if known else "unassigned"
        return _finding(
            self,
            subject,
            Severity.SEVERE if standing is not Standing.DOWNGRADED else Severity.ROUTINE,
            standing,
            stood_on,
            {
                "text": f"severe_{name}",
                "minutes": str(minutes),
                "home": first.reading.measurement.provenance.gateway,
                **_values(first, systolic, diastolic),
            },
        )


class ConsecutiveRule:
    """BP-CONSECUTIVE: N sessions in a row whose mean is at or above the patient's target."""

    id = "BP-CONSECUTIVE"

    def __init__(self, programme: Hypertension | None = None) -> None:
        self._programme = programme or hypertension()
        self.version = self._programme.version

    def findings(
        self, readings: Sequence[Reading], settings: Settings, now: dt.datetime
    ) -> frozenset[Finding]:
        """Return one finding per run of sessions. A session counts when it is complete at `now`."""
        rules = with_settings(self._programme, settings).consecutive
        gap = dt.timedelta(minutes=rules.session_gap_minutes)
        dated = [p for p in pressures(readings) if p.at is not None and p.reading.patient is not None]
        complete = [s for s in sessions(dated, gap) if len(s) > 1 or now - _at(s[-1]) >= gap]
        found, run = [], []
        for session in [*complete, []]:
            if session and _mean_reaches(session, rules.systolic, rules.diastolic):
                run.append(session)
                continue
            if len(run) >= rules.sessions:
                found.append(self._finding(run, rules.systolic, rules.diastolic))
            run = []
        return frozenset(found)

    def _finding(
        self, run: list[list[Pressure]], systolic: PressureLimit, diastolic: PressureLimit
    ) -> Finding:
        last, unit = run[-1], run[-1][0].unit
        high, low = _mean(last, unit)
        values = {
            "text": "consecutive",
            "count": str(len(run)),
            **_values(last[0], systolic, diastolic),
            "systolic": _shown(high, unit),
            "diastolic": _shown(low, unit),
        }
        stood_on = [p for session in run for p in session]
        return _finding(
            self, subject_of(stood_on[0].reading), Severity.HIGH, Standing.CONFIRMED, stood_on, values
        )


def sessions(ordered: Sequence[Pressure], gap: dt.timedelta) -> list[list[Pressure]]:
    """Return dated readings as sessions: neighbours at most `gap` apart."""
    found: list[list[Pressure]] = []
    for one in ordered:
        if found and _at(one) - _at(found[-1][-1]) <= gap:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def closes_at(readings: Sequence[Reading], settings: Settings) -> dt.datetime | None:
    """Return when the latest session will count by the mere passing of time; None if nothing waits."""
    gap = dt.timedelta(minutes=with_settings(hypertension(), settings).consecutive.session_gap_minutes)
    dated = [p for p in pressures(readings) if p.at is not None]
    last = sessions(dated, gap)[-1:] if dated else []
    if not last or len(last[0]) != 1 or dt.datetime.max.replace(tzinfo=dt.UTC) - _at(last[0][-1]) < gap:
        return None  # nothing waits, or for longer than there are dates
    return _at(last[0][-1]) + gap


def _within(later: Sequence[Pressure], start: dt.datetime | None, window: dt.timedelta) -> list[Pressure]:
    if start is None:
        return []  # without a time nothing can be said to come soon after it
    return [p for p in later if p.at is not None and p.at - start <= window]


def _at(one: Pressure) -> dt.datetime:
    if one.at is None:
        raise ValueError("a reading without a time has no place in a sequence")
    return one.at


def _mean(session: Sequence[Pressure], unit: Unit) -> tuple[Decimal, Decimal]:
    """Return the unrounded means in one unit; a session of one cuff needs no conversion."""
    systolic = [convert(p.systolic, p.unit, unit) for p in session]
    diastolic = [convert(p.diastolic, p.unit, unit) for p in session]
    return sum(systolic, Decimal()) / len(session), sum(diastolic, Decimal()) / len(session)


def _mean_reaches(session: Sequence[Pressure], systolic: PressureLimit, diastolic: PressureLimit) -> bool:
    unit = session[0].unit
    high, low = _mean(session, unit)
    return high >= systolic.in_unit(unit) or low >= diastolic.in_unit(unit)


def _shown(value: Decimal, unit: Unit) -> str:
    return str(value.quantize(Decimal("0.1") if unit is Unit.KPA else Decimal(1)))


def _values(one: Pressure, systolic: PressureLimit, diastolic: PressureLimit) -> dict[str, str]:
    unit = one.unit
    return {
        "systolic": str(one.systolic),
        "diastolic": str(one.diastolic),
        "unit": _DISPLAY[unit],
        "limit": f"{systolic.in_unit(unit)}/{diastolic.in_unit(unit)}",
    }


def _finding(  # noqa: PLR0913, PLR0917 - a finding has these parts
    rule: SevereRule | ConsecutiveRule,
    subject: str,
    severity: Severity,
    standing: Standing,
    stood_on: Sequence[Pressure],
    reason: dict[str, str],
) -> Finding:
    first = stood_on[0]
    return Finding(
        finding_id=finding_id(subject, rule.id, first.reading.id),
        rule=rule.id,
        version=rule.version,
        subject=subject,
        severity=severity,
        standing=standing,
        evidence=tuple(p.reading.id for p in stood_on),
        statements=tuple(dict.fromkeys(s for p in stood_on for s in p.reading.statements)),
        since=first.at or first.reading.measurement.time.received_at,
        reason=tuple(sorted(reason.items())),
    )
