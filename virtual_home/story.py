"""What happened, told: steps of the path as lines for a reader, and as figures at the end. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virtual_home.lab import StepLine

NS_PER_MS: Final = 1_000_000

_SAYINGS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("agent", "connected"): ("home", "the gateway connects: {profile}"),
    ("agent", "outbox_committed"): (
        "home",
        "sealed for the hospital, safe on the card: envelope {sequence}",
    ),
    ("agent", "published"): ("broker", "carries envelope {sequence}; it cannot read it"),
    ("agent", "receipt_settled"): ("home", "holds the hospital's signed receipt for envelope {sequence}"),
    ("agent", "downlink_stored"): ("home", "heard: the nurse has seen it"),
    ("bridge", "stored"): ("hospital", "envelope {sequence} opened, stored, judged"),
    ("bridge", "delivered"): ("hospital", "the follow-up system has the {kind}"),
    ("bridge", "acknowledgement_stored"): ("nurse", "has seen it; the home is told"),
}


def saying(line: StepLine) -> tuple[str, str] | None:
    """Return who does what, None for steps that only an engineer wants to see."""
    found = _SAYINGS.get((line.process, line.step))
    if found is None or line.hit:
        return None
    who, text = found
    return who, text.format_map(line.facts)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Medians in milliseconds; None where nothing of the kind happened."""

    indication_to_outbox: float | None
    outbox_to_stored: float | None
    stored_to_task: float | None
    indication_to_task: float | None


def latencies(steps: Sequence[StepLine]) -> Latencies:
    """Return how long the parts of the path took."""
    handled = list(_handler_to_commit(steps))
    committed = {_envelope(s): s.monotonic_ns for s in _named(steps, "agent", "outbox_committed")}
    stored = {_envelope(s): s.monotonic_ns for s in reversed(_named(steps, "bridge", "stored"))}
    return Latencies(
        _median(b - a for a, b, _ in handled),
        _median(at - committed[key] for key, at in stored.items() if key in committed),
        _median(done - began for began, done in _alert_deliveries(steps)),
        _indication_to_task(steps, handled, stored),
    )


def _named(steps: Iterable[StepLine], process: str, name: str) -> list[StepLine]:
    return [s for s in steps if s.process == process and s.step == name and not s.hit]


def _envelope(step: StepLine) -> tuple[Any, Any]:
    return step.facts.get("outbox_id"), step.facts.get("sequence")


def _handler_to_commit(steps: Sequence[StepLine]) -> Iterable[tuple[int, int, tuple[Any, Any]]]:
    """Yield (handler called, durable, envelope), the last packet before each commit counting."""
    called: int | None = None
    for step in steps:
        if step.process != "agent" or step.hit:
            continue
        if step.step == "handler_called":
            called = step.monotonic_ns
        elif step.step == "outbox_committed" and called is not None:
            yield called, step.monotonic_ns, _envelope(step)
            called = None


def _alert_deliveries(steps: Sequence[StepLine]) -> Iterable[tuple[int, int]]:
    """Yield (stored, confirmed by the hospital) of each alert's first delivery."""
    seen: set[Any] = set()
    stored = _named(steps, "bridge", "stored")
    for step in _named(steps, "bridge", "delivery_confirmed"):
        if step.facts.get("kind") != "alert" or step.facts["subject"] in seen:
            continue
        seen.add(step.facts["subject"])
        before = [s.monotonic_ns for s in stored if s.monotonic_ns <= step.monotonic_ns]
        if before:
            yield before[-1], step.monotonic_ns


def _indication_to_task(
    steps: Sequence[StepLine],
    handled: Sequence[tuple[int, int, tuple[Any, Any]]],
    stored: dict[tuple[Any, Any], int],
) -> float | None:
    times = []
    for began, done in _alert_deliveries(steps):
        causes = [called for called, _, key in handled if stored.get(key) == began]
        times += [done - called for called in causes]
    return _median(times)


def _median(nanoseconds: Iterable[int]) -> float | None:
    values = list(nanoseconds)
    return round(statistics.median(values) / NS_PER_MS, 1) if values else None
