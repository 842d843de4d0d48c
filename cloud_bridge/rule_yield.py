"""What the items of a rule were worth: how many were acted on, of how many that it raised. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from cloud_bridge.alerts import AlertState, Outcome
from cloud_bridge.store.base import Raised

ACTED: Final = frozenset({Outcome.RE_MEASURED, Outcome.CALLED, Outcome.MEDICATION_CHANGED, Outcome.ADMITTED})
"""Outcomes that say that somebody did something for the patient."""


def yield_by_rule(raised: Iterable[Raised]) -> list[dict[str, Any]]:
    """Return one row for each rule of a programme, the least useful first.

    `yield` is acted on / fired, to two places; None as long as nothing is decided: what is still open, was
    withdrawn before anybody ended it, or ended without an outcome tells neither for nor against a rule, but
    it is counted among what was fired.
    """
    by_rule: dict[tuple[str, str], list[Raised]] = defaultdict(list)
    for one in raised:
        by_rule[one.programme, one.rule].append(one)
    rows = [_row(programme, rule, items) for (programme, rule), items in by_rule.items()]
    return sorted(rows, key=lambda r: (r["yield"] is None, r["yield"], r["programme"], r["rule"]))


def _row(programme: str, rule: str, items: list[Raised]) -> dict[str, Any]:
    acted = sum(one.outcome in ACTED for one in items)
    false = sum(one.outcome is Outcome.FALSE_ALARM for one in items)
    ended = sum(one.ended for one in items)
    untouched = [one for one in items if not one.ended]
    withdrawn = sum(one.state is AlertState.WITHDRAWN for one in untouched)
    return {
        "programme": programme,
        "rule": rule,
        "fired": len(items),
        "acted_on": acted,
        "false_alarms": false,
        "outcome_not_told": ended - acted - false,
        "withdrawn": withdrawn,
        "open": len(untouched) - withdrawn,
        "yield": None if acted + false == 0 else round(acted / len(items), 2),
    }
