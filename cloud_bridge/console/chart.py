"""The 14-day chart of blood pressures: where on the paper each value lies. Pure; the template draws it.

Pairs stand upright: a disc for systolic, a diamond for diastolic, told apart by shape. Values that a device
gave in another unit are converted for drawing only; the table below the chart has the device's own digits.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from cloud_bridge.rules.base import Reading
from cloud_bridge.rules.parameters import PressureLimit
from wire_format.measurement import Component
from wire_format.nomenclature import Term, Unit
from wire_format.units import convert

DAYS: Final = 14
WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 628, 14, 226
_LOW, _HIGH, _STEP = 40, 200, 40
_MARGIN: Final = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """One reading on the paper; a value that is absent has no mark."""

    x: float
    systolic: float | None
    diastolic: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A horizontal line with what it says."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Day:
    """Where a day begins."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything to draw, in the coordinates of a WIDTH by HEIGHT paper."""

    pairs: tuple[Pair, ...]
    scale: tuple[Line, ...]
    targets: tuple[Line, ...]
    days: tuple[Day, ...]


def chart(
    readings: Sequence[Reading], targets: Sequence[PressureLimit], now: dt.datetime, zone: dt.tzinfo
) -> Chart:
    """Return the chart of the readings that have a time within the last 14 days."""
    since = now - dt.timedelta(days=DAYS)
    timed = [(r, r.measured.utc) for r in readings if r.measured is not None and r.measured.utc >= since]
    values = [
        v for r, _ in timed for v in (_mmhg(r, Term.SYSTOLIC), _mmhg(r, Term.DIASTOLIC)) if v is not None
    ]
    low = min([Decimal(_LOW), *(v - _MARGIN for v in values)])
    high = max([Decimal(_HIGH), *(v + _MARGIN for v in values)])

    def y(value: Decimal | None) -> float | None:
        return None if value is None else _place(value, low, high)

    def x(at: dt.datetime) -> float:
        return round(LEFT + (RIGHT - LEFT) * ((at - since) / (now - since)), 1)

    return Chart(
        pairs=tuple(Pair(x(at), y(_mmhg(r, Term.SYSTOLIC)), y(_mmhg(r, Term.DIASTOLIC))) for r, at in timed),
        scale=tuple(Line(_place(Decimal(v), low, high), str(v)) for v in range(_LOW, int(high) + 1, _STEP)),
        targets=tuple(Line(_place(limit.mmhg, low, high), str(limit.mmhg)) for limit in targets),
        days=_days(since, now, zone, x),
    )


def _place(value: Decimal, low: Decimal, high: Decimal) -> float:
    return round(float(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)), 1)


def _days(
    since: dt.datetime, now: dt.datetime, zone: dt.tzinfo, x: Callable[[dt.datetime], float]
) -> tuple[Day, ...]:
    midnight = since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [midnight + dt.timedelta(days=n) for n in range(1, DAYS + 1)]
    return tuple(Day(x(s), f"{s.month}/{s.day}") for s in starts if s < now)[::2]


def _mmhg(reading: Reading, term: Term) -> Decimal | None:
    component: Component | None = reading.measurement.component(term)
    if component is None or component.value is None:
        return None
    return convert(component.value, component.unit, Unit.MMHG)
