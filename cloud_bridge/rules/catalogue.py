"""Every rule there is, in one place."""

from typing import Final

from cloud_bridge.rules.base import Rule
from cloud_bridge.rules.blood_pressure import ConsecutiveRule, SevereRule

RULES: Final[tuple[Rule, ...]] = (SevereRule(), ConsecutiveRule())
