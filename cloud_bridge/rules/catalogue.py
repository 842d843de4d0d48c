"""Every rule there is, in one place, under the id that programmes name it by."""

from typing import Any, Final

from cloud_bridge.rules import blood_pressure, glucose
from cloud_bridge.rules.base import Finding
from cloud_bridge.rules.first_visit import FirstVisitRule
from cloud_bridge.rules.glucose_range import RangeRule
from cloud_bridge.rules.home_pressure import HomeRule, OrderedRule
from cloud_bridge.rules.pulse import IrregularRule, RateRule
from cloud_bridge.rules.rule import ReadingRule
from cloud_bridge.rules.silence import SilenceRule
from cloud_bridge.rules.technical import TechnicalRule
from cloud_bridge.rules.weight import WeightRule

AnyReadingRule = ReadingRule[Any, Any]

_READING_RULES: Final[tuple[type[AnyReadingRule], ...]] = (
    blood_pressure.SevereRule,
    blood_pressure.UrgentRule,
    blood_pressure.LowRule,
    blood_pressure.ConsecutiveRule,
    blood_pressure.ThirdRule,
    HomeRule,
    OrderedRule,
    RateRule,
    IrregularRule,
    glucose.VeryLowRule,
    glucose.UrgentRule,
    glucose.LowRule,
    glucose.VeryHighRule,
    glucose.HighRule,
    glucose.FastingRule,
    RangeRule,
    WeightRule,
    SilenceRule,
    FirstVisitRule,
)

RULES: Final[dict[str, type[AnyReadingRule]]] = {rule.id: rule for rule in _READING_RULES}
TECHNICAL_RULES: Final[dict[str, type[TechnicalRule]]] = {TechnicalRule.id: TechnicalRule}
LASTING: Final = frozenset(rule.id for rule in _READING_RULES if rule.lasting)
"""Rules over readings whose findings go on until something comes, however long that takes."""


def problem_of(finding: Finding) -> str | None:
    """Return the problem that a finding is an episode of; None: it is an item of its own."""
    rule = RULES.get(finding.rule)
    return None if rule is None else rule.problem_of(finding) or None
