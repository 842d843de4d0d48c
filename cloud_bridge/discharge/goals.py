"""Goals as the patient's own thresholds: pairs of units, within what the programme itself allows. Pure.

A target must lie between the limits at which the patient's own programme calls a value low and severe: a
target beyond them would silence or flood. A goal that no rule can keep exactly stays in words.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

from cloud_bridge.discharge.plan import Fault, OwnValue, PlanRefusedError
from cloud_bridge.rules.base import Settings
from cloud_bridge.rules.catalogue import AnyReadingRule
from cloud_bridge.rules.parameters import GlucoseLimit, Limit, PressureLimit
from cloud_bridge.rules.programme import check_own, rules_for
from wire_format.errors import Misconfigured
from wire_format.nomenclature import Unit
from wire_format.units import convert

_STEP: Final = {
    Unit.MMHG: Decimal("0.1"),
    Unit.KPA: Decimal("0.1"),
    Unit.MMOL_PER_L: Decimal("0.1"),
    Unit.MG_PER_DL: Decimal(1),
}
"""What the other number of a pair is rounded to; the one that was written keeps its digits."""


class Bound(NamedTuple):
    """The upper end of a goal: `included` says that a value on it still reaches the goal."""

    value: Decimal
    unit: Unit
    included: bool


@dataclass(frozen=True, slots=True)
class Said:
    """Who set a goal, in which words, and where it stands in the plan."""

    where: str
    author: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a goal of one measure sets: parameters of rules, each as the rule writes it."""

    limit: type[Limit]
    sets: tuple[tuple[str, str], ...]
    low: tuple[str, str]
    high: tuple[str, str]
    write: Callable[[Bound, "Rules"], Any]
    exact: Callable[[Bound], bool]


Rules = dict[str, AnyReadingRule]


def rules_of(programmes: Sequence[str]) -> Rules:
    """Return the rules that these programmes have, by id."""
    return {rule.id: rule for rule in rules_for("patient", tuple(programmes))}


def _pair(value: Decimal, unit: Unit, limit: type[Limit]) -> dict[str, str]:
    """Return a threshold in each unit of its kind."""
    found = {}
    for one, name in limit.UNITS.items():
        number = value if one is unit else convert(value, unit, one).quantize(_STEP[one])
        found[name] = f"{number:f}"
    return found


def _pressure(bound: Bound, _rules: "Rules") -> Any:  # noqa: ANN401 - as a programme's file has it
    return _pair(bound.value, bound.unit, PressureLimit)


def _fasting(bound: Bound, _rules: "Rules") -> Any:  # noqa: ANN401 - as above
    return _pair(bound.value, bound.unit, GlucoseLimit)


def _band(bound: Bound, rules: "Rules") -> Any:  # noqa: ANN401 - as above
    """Return GLU-HIGH-1's band from the goal on, up to where the programme's own ends."""
    (own,) = _own(rules, "GLU-HIGH-1").bands
    begins = "above" if bound.included else "at_least"
    ends = own.at_most.model_dump(mode="json")
    return [{begins: _pair(bound.value, bound.unit, GlucoseLimit), "at_most": ends, "told": begins}]


def _own(rules: "Rules", rule: str) -> Any:  # noqa: ANN401 - the parameters of a rule
    return rules[rule].personal(_NOBODYS)[0]


_NOBODYS: Final = Settings()
_TARGETS: Final = ("BP-CONSECUTIVE", "BP-HOME", "BP-PROTOCOL")


def _pressure_measure(part: str) -> _Measure:
    sets = tuple((rule, part) for rule in _TARGETS)
    return _Measure(
        PressureLimit, sets, ("BP-LOW", part), ("BP-SEVERE", part), _pressure, lambda b: not b.included
    )


_FASTING: Final = _Measure(
    GlucoseLimit,
    (("GLU-FASTING", "at_least"),),
    ("GLU-LOW-1", "below"),
    ("GLU-HIGH-2", "above"),
    _fasting,
    lambda b: not b.included,
)
_GLUCOSE: Final = _Measure(
    GlucoseLimit,
    (("GLU-HIGH-1", "bands"),),
    ("GLU-LOW-1", "below"),
    ("GLU-HIGH-2", "above"),
    _band,
    lambda _: True,
)
MEASURES: Final[dict[str, _Measure]] = {
    "8480-6": _pressure_measure("systolic"),
    "8462-4": _pressure_measure("diastolic"),
    "1558-6": _FASTING,
    "14771-0": _FASTING,
    "2339-0": _GLUCOSE,
    "15074-8": _GLUCOSE,
    "41653-7": _GLUCOSE,
    "14743-9": _GLUCOSE,
}
"""LOINC codes of measures that a rule has a target for. Others stay in the plan as words."""

_UNITS_OF: Final = {
    **dict.fromkeys(("1558-6", "2339-0", "41653-7"), (Unit.MG_PER_DL,)),
    **dict.fromkeys(("14771-0", "15074-8", "14743-9"), (Unit.MMOL_PER_L,)),
}
"""A LOINC code of glucose names its property, mass or moles."""

UNITS: Final = {unit.value: unit for unit in (Unit.MMHG, Unit.KPA, Unit.MMOL_PER_L, Unit.MG_PER_DL)}
"""By UCUM code."""


def own_values(code: str, bound: Bound, said: Said, rules: Rules) -> tuple[list[OwnValue], list[str]]:
    """Return what a goal sets, and remarks. Raises `PlanRefusedError` for one that the programme forbids."""
    measure = MEASURES[code]
    if bound.unit not in measure.limit.UNITS:
        units = " or ".join(unit.value for unit in measure.limit.UNITS)
        raise PlanRefusedError(
            [Fault(said.where, f"the unit does not fit the measure {code}: write {units}")]
        )
    ours = [(rule, parameter) for rule, parameter in measure.sets if rule in rules]
    if not ours:
        return [], [f"{said.where}: no rule of the patient's programmes watches {code}: kept in words"]
    _within(measure, bound, said, rules)
    text = json.dumps(measure.write(bound, rules), sort_keys=True)
    values = [OwnValue(rule, parameter, text, said.author, said.reason) for rule, parameter in ours]
    for one in values:
        try:
            check_own(one.rule, one.parameter, one.value)
        except Misconfigured as error:
            raise PlanRefusedError([Fault(said.where, f"the programme cannot take it: {error}")]) from error
    return values, [] if measure.exact(bound) else [_INCLUDED.format(where=said.where)]


_INCLUDED: Final = (
    "{where}: the goal includes its limit, and the rule counts a value on the limit as above it"
)


def _within(measure: _Measure, bound: Bound, said: Said, rules: Rules) -> None:
    low = _limit(rules, *measure.low, bound.unit)
    high = _limit(rules, *measure.high, bound.unit)
    if not low < bound.value < high:
        raise PlanRefusedError(
            [
                Fault(
                    said.where,
                    f"the programme allows a target between its {measure.low[0]} and its {measure.high[0]} "
                    f"({low} to {high} {bound.unit.value}): write one in between",
                )
            ]
        )


def _limit(rules: Rules, rule: str, parameter: str, unit: Unit) -> Decimal:
    own = _own(rules, rule)
    limit: Limit = getattr(own.bands[0] if hasattr(own, "bands") else own, parameter)
    return limit.in_unit(unit)


def distinct(values: Iterable[tuple[str, OwnValue]]) -> tuple[OwnValue, ...]:
    """Return the values in order; raises `PlanRefusedError` if two goals set one parameter differently."""
    found: dict[tuple[str, str], OwnValue] = {}
    for where, one in values:
        known = found.setdefault((one.rule, one.parameter), one)
        if known.value != one.value:
            what = "another goal sets the same threshold otherwise: leave one of them active"
            raise PlanRefusedError([Fault(where, what)])
    return tuple(found[key] for key in sorted(found))
