"""Life of an alert: states, who is told, and which step may follow which. Pure; rows live in the store."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from cloud_bridge.rules.base import Finding, Reading, Severity
from wire_format.errors import Rejected


class AlertState(StrEnum):
    """Where an alert is in its life."""

    OPEN = "open"  # nobody has said that they saw it
    ACKNOWLEDGED = "acknowledged"  # a person of the care team saw it
    COMPLETED = "completed"  # the work order was finished in the hospital's system
    WITHDRAWN = "withdrawn"  # late data undid the finding; it stays visible


_NEXT: Final[dict[AlertState, frozenset[AlertState]]] = {
    AlertState.OPEN: frozenset({AlertState.ACKNOWLEDGED, AlertState.COMPLETED, AlertState.WITHDRAWN}),
    AlertState.ACKNOWLEDGED: frozenset({AlertState.COMPLETED, AlertState.WITHDRAWN}),
    AlertState.COMPLETED: frozenset({AlertState.WITHDRAWN}),
    AlertState.WITHDRAWN: frozenset({AlertState.OPEN}),
}


def step(current: AlertState, to: AlertState) -> AlertState:
    """Return `to` if it may follow `current` (or is it already), else raise `Rejected`."""
    if to is not current and to not in _NEXT[current]:
        raise Rejected(f"An alert that is {current} cannot become {to}.")
    return to


DUE_WITHIN: Final[dict[Severity, dt.timedelta]] = {
    Severity.SEVERE: dt.timedelta(minutes=15),
    Severity.HIGH: dt.timedelta(hours=4),
    Severity.ROUTINE: dt.timedelta(days=1),
}
RAISED_WITHIN: Final = dt.timedelta(hours=24)


def raises(latest: Reading, now: dt.datetime) -> bool:
    """Whether a finding whose newest evidence is `latest` opens an item at `now`.

    It does if that reading may have been taken within the last day; a time nobody knows may be now. What is
    surely older is history: it is shown, and pages nobody.
    """
    if latest.measured is None:
        return True
    uncertainty = dt.timedelta(milliseconds=latest.measured.uncertainty_ms)
    return now - latest.measured.utc <= RAISED_WITHIN + uncertainty


@dataclass(frozen=True, slots=True)
class Alert:
    """One open item about one finding. `alert_id` is the finding's id.

    `revision` counts changes that the hospital's system must hear of (confirmed, withdrawn, acknowledged).
    """

    alert_id: UUID
    finding: Finding
    state: AlertState
    revision: int
    raised_at: dt.datetime
    due_at: dt.datetime
    acknowledged_at: dt.datetime | None = None
    acknowledged_by: str | None = None
