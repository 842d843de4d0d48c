"""FIRST-VISIT: after a discharge the family doctor did not see the patient in time, or gave it back."""

import datetime as dt
from collections.abc import Iterable

from cloud_bridge.rules.base import Finding, FirstVisit, Reading, Severity, Standing, finding_id
from cloud_bridge.rules.episodes import Taken, soonest
from cloud_bridge.rules.parameters import Parameters
from cloud_bridge.rules.rule import Case, ReadingRule


class FirstVisitRule(ReadingRule[Parameters, Taken]):
    """Stands on no reading: on what was asked of the family doctor, and on what their system said."""

    id = "FIRST-VISIT"
    parameters = Parameters
    quantities = frozenset()
    lasting = True
    depth = dt.timedelta()

    def _see(self, reading: Reading) -> Taken | None:
        del reading
        return None

    def _find(self, case: Case[Parameters, Taken], seen: list[Taken]) -> Iterable[Finding]:
        del seen
        for visit in case.settings.visits:
            failed = min(visit.due_at, visit.given_back_at or visit.due_at)
            if failed <= case.now and (visit.done_at is None or visit.done_at > failed):
                yield self._missing(case, visit, failed)

    def _missing(self, case: Case[Parameters, Taken], visit: FirstVisit, failed: dt.datetime) -> Finding:
        over = visit.done_at is not None
        text = "over" if over else "given_back" if visit.given_back_at is not None else "overdue"
        hours = (visit.due_at - visit.asked_at) // dt.timedelta(hours=1)
        return Finding(
            finding_id=finding_id(case.settings.subject, self.id, visit.statement_id),
            rule=self.id,
            version=self.version,
            subject=case.settings.subject,
            severity=Severity.ROUTINE if over else case.own.severity,
            standing=Standing.RESOLVED if over else Standing.CONFIRMED,
            evidence=(),
            statements=(visit.statement_id, *case.statements),
            since=visit.asked_at,
            reason=(("hours", str(hours)), ("text", text)),
            programme=self.programme,
            queue=case.own.queue,
            came_true=failed,
        )

    def _wake(self, case: Case[Parameters, Taken], seen: list[Taken]) -> dt.datetime | None:
        del seen
        open_ones = [v.due_at for v in case.settings.visits if v.done_at is None and v.due_at > case.now]
        return soonest(*open_ones)
