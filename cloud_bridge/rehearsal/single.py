"""The single-reading rules that most programmes begin with: what a rehearsal is set beside. Pure.

A reading at or above 135/85 mmHg; glucose below 3.9 or above 10.0 mmol/L; more than 2 kg within 3 days.
"""

import datetime as dt
from decimal import Decimal
from typing import Final

from cloud_bridge.rehearsal.histories import History
from cloud_bridge.rehearsal.run import Raised
from cloud_bridge.rules.base import Reading, Severity
from wire_format.nomenclature import Term, Unit
from wire_format.units import convert

HIGH: Final = (Decimal(135), Decimal(85))
GLUCOSE: Final = (Decimal("3.9"), Decimal("10.0"))
GAIN: Final = Decimal("2.0")
DAYS: Final = dt.timedelta(days=3)


def single_readings(history: History) -> list[Raised]:
    """Return an alert for every reading that crosses a limit."""
    raised = []
    weights: list[tuple[dt.datetime, Decimal]] = []
    for reading in history.readings:
        if reading.measured is None:
            continue
        at = reading.measured.utc
        rule = _crossed(reading)
        weight = _value(reading, Term.BODY_WEIGHT, Unit.KG)
        if weight is not None:
            weights = [(t, w) for t, w in weights if at - t <= DAYS]
            rule = "SINGLE-WEIGHT" if any(weight - w > GAIN for _, w in weights) else None
            weights.append((at, weight))
        if rule is not None:
            raised.append(Raised(at, rule, Severity.HIGH, clinical=True, late=False, folds=rule))
    return raised


def _crossed(reading: Reading) -> str | None:
    systolic, diastolic = (_value(reading, t, Unit.MMHG) for t in (Term.SYSTOLIC, Term.DIASTOLIC))
    if systolic is not None and diastolic is not None:
        return "SINGLE-BP" if systolic >= HIGH[0] or diastolic >= HIGH[1] else None
    glucose = _value(reading, Term.GLUCOSE, Unit.MMOL_PER_L)
    if glucose is None:
        return None
    if glucose < GLUCOSE[0]:
        return "SINGLE-GLU-LOW"
    return "SINGLE-GLU-HIGH" if glucose > GLUCOSE[1] else None


def _value(reading: Reading, term: Term, unit: Unit) -> Decimal | None:
    part = reading.measurement.component(term)
    return None if part is None or part.value is None else convert(part.value, part.unit, unit)
