"""Replay: a past finding is found again from what it stood on, with the rule set of its day. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cloud_bridge.rules.base import Finding, Reading, Settings
from cloud_bridge.rules.programme import parse_programme


@dataclass(frozen=True, slots=True)
class Judged:
    """One revision of an alert's finding, as it was judged, and everything that the judgement looked at.

    `rule_set` is the text of the programme's file of that day; `readings` are the contents of that day under
    the statements that the finding names.
    """

    revision: int
    judged_at: dt.datetime
    rule_set: str
    settings: Settings
    readings: Sequence[Reading]
    finding: Finding


def found_again(judged: Judged) -> bool:
    """Whether the same finding follows again, equal in every part."""
    rules = [rule for rule in parse_programme(judged.rule_set).rules if rule.id == judged.finding.rule]
    return any(
        judged.finding in rule.findings(judged.readings, judged.settings, judged.judged_at) for rule in rules
    )
