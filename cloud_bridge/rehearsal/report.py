"""A rehearsal told: a table for people, a picture, and one JSON object for programs. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloud_bridge.rehearsal.score import PER_DAYS, Outcome, Score, Share, score

Sets = Mapping[str, Sequence[Outcome]]
"""Outcomes of the same patients, by the name of the rule set."""

ALL: Final = "all"
WEEK_DAYS: Final = 7
NURSE_LOOKS_AFTER: Final = 100
"""Patients of one nurse, for alerts per nurse and day."""
_WIDTH, _ROW, _LEFT, _BAR = 760, 26, 230, 420


def scores(sets: Sets) -> dict[str, dict[str, Score]]:
    """Return the scores by rule set and stratum, all of them last."""
    found = {}
    for name, outcomes in sets.items():
        strata = sorted({o.stratum for o in outcomes})
        by = {stratum: score([o for o in outcomes if o.stratum == stratum]) for stratum in strata}
        found[name] = {**by, ALL: score(outcomes)}
    return found


def table(sets: Sets) -> str:
    """Return the scores as lines of text."""
    head = f"{'rule set':<12}{'stratum':<28}{'patients':>9}{'manual/10 d':>13}{'95 %':>16}{'/week':>7}"
    head += f"{'/nurse day':>12}{'severe/10 d':>13}"
    lines = [head + f"{'raw alerts':>12}{'outside':>9}{'found <= 7 d':>22}{'severe found':>14}"]
    for name, by in scores(sets).items():
        for stratum, one in by.items():
            low, high = one.manual.interval
            severe = _share(one.severe_found, interval=False)
            lines.append(
                f"{name:<12}{stratum:<28}{one.patients:>9}{one.manual.value:>13.2f}"
                f"{f'{low:.2f}-{high:.2f}':>16}{_per_week(one):>7.2f}{_per_nurse_day(one):>12.1f}"
                f"{one.severe.value:>13.2f}{one.single:>12}"
                f"{_percent(one.outside):>9}{_share(one.found):>22}{severe:>14}"
            )
    return "\n".join(lines)


def facts(sets: Sets) -> dict[str, Any]:
    """Return everything as JSON takes it."""
    return {
        name: {stratum: _facts(one) for stratum, one in by.items()} for name, by in scores(sets).items()
    } | {"per_rule": {name: _per_rule(outcomes) for name, outcomes in sets.items()}}


def _facts(one: Score) -> dict[str, Any]:
    return {
        "patients": one.patients,
        "manual_per_10_days": round(one.manual.value, 3),
        "manual_95": [round(x, 3) for x in one.manual.interval],
        "manual_per_week": round(_per_week(one), 3),
        "manual_per_nurse_day": round(_per_nurse_day(one), 2),
        "severe_per_10_days": round(one.severe.value, 3),
        "raw_alerts": one.single,
        "outside_episodes": _ratio(one.outside),
        "found_within_7_days": _ratio(one.found),
        "severe_found": _ratio(one.severe_found),
    }


def _per_week(one: Score) -> float:
    return one.manual.value * WEEK_DAYS / PER_DAYS


def _per_nurse_day(one: Score) -> float:
    return one.manual.value / PER_DAYS * NURSE_LOOKS_AFTER


def _ratio(share: Share) -> dict[str, Any]:
    interval = share.interval
    return {
        "found": share.found,
        "of": share.of,
        "share": None if share.value is None else round(share.value, 4),
        "95": None if interval is None else [round(x, 4) for x in interval],
    }


def _per_rule(outcomes: Sequence[Outcome]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for one in outcome.raised:
            counts[one.rule] = counts.get(one.rule, 0) + 1
    return dict(sorted(counts.items()))


def plot(sets: Sets) -> str:
    """Return manual alerts per patient and ten days, by stratum, as SVG: what it asks of a nurse."""
    found = scores(sets)
    rows = [(s, n, found[n][s].manual.value) for s in next(iter(found.values())) for n in found]
    most = max((value for *_, value in rows), default=1.0) or 1.0
    height = 70 + _ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="28" font-size="17">Manual alerts per patient and 10 days</text>',
    ]
    for number, (stratum, name, value) in enumerate(rows):
        y = 50 + _ROW * number
        solid = number % len(found) == 0
        fill = 'fill="#0b486b"' if solid else 'fill="#ffffff" stroke="#0b486b" stroke-dasharray="4 3"'
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 15}" font-size="13" text-anchor="end">{stratum}, {name}</text>',
            f'<rect x="{_LEFT}" y="{y + 3}" width="{_BAR * value / most:.1f}" height="16" {fill}/>',
            f'<text x="{_LEFT + _BAR * value / most + 8:.1f}" y="{y + 16}" font-size="13">{value:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _percent(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.0%}"


def _share(share: Share, *, interval: bool = True) -> str:
    if share.value is None or share.interval is None:
        return "-"
    low, high = share.interval
    return f"{share.value:.1%}" + (f" ({low:.0%}-{high:.0%})" if interval else "")
