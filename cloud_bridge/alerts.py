"""Life of an alert: states, who is told, and which step may follow which. Pure; rows live in the store."""

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from cloud_bridge.rules.base import Finding, Severity
from wire_format.errors import Rejected


class AlertState(StrEnum):
    """Where an alert is in its life."""

    OPEN = "open"  # nobody has said that they saw it
    ACKNOWLEDGED = "acknowledged"  # a person of the care team saw it
    COMPLETED = "completed"  # the work order was finished in the hospital's system
    WITHDRAWN = "withdrawn"  # late data undid the finding, or it is over; it stays visible


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
IN_TIME: Final = dt.timedelta(hours=24)
WINDOW: Final = dt.timedelta(days=14)
"""How far back something may have come true that still opens an item."""


class Timeliness(StrEnum):
    """When something came true, seen from now."""

    IN_TIME = "in_time"  # within the last day, or it may be: nobody knows when
    LATE = "late"  # surely before; the data came late. It is shown, and pages nobody
    HISTORY = "history"  # before the window: it opens nothing


def timeliness(finding: Finding, now: dt.datetime) -> Timeliness:
    """Return how a finding that is new at `now` is to be taken."""
    if finding.came_true is None or now - finding.came_true <= IN_TIME:
        return Timeliness.IN_TIME
    return Timeliness.LATE if now - finding.came_true <= WINDOW else Timeliness.HISTORY


@dataclass(frozen=True, slots=True)
class Alert:
    """One open item about one finding. `alert_id` is the finding's id.

    `revision` counts changes that the hospital's system must hear of (confirmed, withdrawn, acknowledged).
    `late` says that the data came so late that nobody is paged for it.
    """

    alert_id: UUID
    finding: Finding
    state: AlertState
    revision: int
    raised_at: dt.datetime
    due_at: dt.datetime
    acknowledged_at: dt.datetime | None = None
    acknowledged_by: str | None = None
    late: bool = False

    @property
    def urgency(self) -> Severity:
        """How soon somebody must look: of what came late, whenever they next do."""
        return Severity.ROUTINE if self.late else self.finding.severity


def opened(finding: Finding, now: dt.datetime) -> Alert:
    """Return a new item about a finding."""
    late = timeliness(finding, now) is not Timeliness.IN_TIME
    due = now + DUE_WITHIN[Severity.ROUTINE if late else finding.severity]
    return Alert(finding.finding_id, finding, AlertState.OPEN, 1, now, due, late=late)


def revised(known: Alert, finding: Finding, now: dt.datetime) -> Alert:
    """Return an item about what is found now. What came late and goes on today is no longer late."""
    changed = replace(known, finding=finding, revision=known.revision + 1)
    if known.late and timeliness(finding, now) is Timeliness.IN_TIME:
        return replace(changed, late=False, due_at=now + DUE_WITHIN[finding.severity])
    return changed
