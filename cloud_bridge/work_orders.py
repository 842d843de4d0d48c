"""Work orders read back: a nurse who works in the hospital's own system acknowledges and closes here too."""

import asyncio
import datetime as dt
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from cloud_bridge.alerts import GIVEN_BACK, Act, Actor, Move
from cloud_bridge.connectors.base import Connector, WorkReport, WorkState
from cloud_bridge.store.base import Taken
from service_kit.log import Log, scene
from wire_format.errors import Misconfigured, Rejected, Unreachable

UNKNOWN: Final = "unknown"
AT_A_TIME: Final = 200
"""Work orders asked about in one round; of more, each gets its turn: asking must not keep it from taking."""
_FIRST: Final = UUID(int=0)
_MOVES: Final = {
    WorkState.ACCEPTED: Move.ACKNOWLEDGE,
    WorkState.BEGUN: Move.BEGIN,
    WorkState.COMPLETED: Move.RESOLVE,
    WorkState.REFUSED: Move.ESCALATE,  # whoever gives work back leaves it to the next role: it is not lost
}


class Alerts(Protocol):
    """What reading back asks of the store."""

    def delivered_alerts(self) -> Sequence[UUID]:
        """Return live alerts that a destination has."""
        ...

    def move(self, alert_id: UUID, act: Act) -> Taken:
        """Make a move if it holds; `Rejected` if what is said of it is wrong."""
        ...

    def owned(self, report: WorkReport, destination: str, now: dt.datetime, *, moved: bool) -> bool:
        """Note who has a work order there; True if it was given to somebody else."""
        ...


class Visits(Protocol):
    """What reading back asks of the store about first visits."""

    def delivered_visits(self) -> Sequence[UUID]:
        """Return visits that nobody has finished, of which a destination has the Task."""
        ...

    def take_report(self, report: WorkReport, now: dt.datetime) -> bool:
        """Note that a visit was made, or given back; False if that is no news."""
        ...


@dataclass(slots=True)
class WorkOrders:
    """The loop that asks one follow-up system what became of its work orders, and of first visits."""

    alerts: Alerts
    visits: Visits
    connector: Connector
    clock: Callable[[], dt.datetime]
    interval_s: float
    log: Log
    on_acknowledged: Callable[[], None]
    _failing: bool = False
    _refused: set[UUID] = field(default_factory=set)
    _owners: dict[UUID, str] = field(default_factory=dict)
    _last: UUID = _FIRST

    async def run(self) -> None:
        """Ask, for ever."""
        while True:
            try:
                await self.round()
            except (Unreachable, Rejected, Misconfigured) as error:
                self._say(str(error))
            except Exception as error:  # noqa: BLE001 - whatever another system answers must not end the bridge
                self._say(scene(error))
            else:
                self._failing = False
            await asyncio.sleep(self.interval_s)

    def _say(self, reason: str) -> None:
        if not self._failing:
            self.log.warning("work_orders_unread", reason=reason)
        self._failing = True

    async def round(self) -> None:
        """Ask once about live alerts and open visits that the system has; of very many, about the next."""
        live = await asyncio.to_thread(self.alerts.delivered_alerts)
        visits = set(await asyncio.to_thread(self.visits.delivered_visits))
        asked = self._turn([*live, *visits])
        self._owners = {one: self._owners[one] for one in live if one in self._owners}
        if not asked:
            return
        for report in await self.connector.work_reports(asked):
            take = self._take_visit if report.alert_id in visits else self._take
            if await asyncio.to_thread(take, report):
                self.on_acknowledged()

    def _take_visit(self, report: WorkReport) -> bool:
        return self.visits.take_report(report, self.clock())

    def _turn(self, live: Sequence[UUID]) -> Sequence[UUID]:
        if len(live) <= AT_A_TIME:
            return live
        ordered = sorted(live)
        begins = bisect_right(ordered, self._last)
        asked = [*ordered[begins:], *ordered[:begins]][:AT_A_TIME]
        self._last = asked[-1]
        return asked

    def _take(self, report: WorkReport) -> bool:
        """Make the move that a report says was made there, and note who has it; tell whether it was news."""
        held = self._moved(report)
        known = f"{report.request} {report.by}"
        if self._owners.get(report.alert_id) != known:
            self.alerts.owned(report, self.connector.name, self.clock(), moved=held)
            self._owners[report.alert_id] = known
        return held

    def _moved(self, report: WorkReport) -> bool:
        move = _MOVES.get(report.state)
        if move is None:
            return False
        note = GIVEN_BACK if report.state is WorkState.REFUSED else ""
        act = Act(
            move,
            Actor.HOSPITAL,
            min(report.at, self.clock()),  # their clock may be ahead: what follows must not wait for it
            report.by or UNKNOWN,
            report.outcome if move is Move.RESOLVE else None,
            note,
            report.request,
        )
        try:
            return self.alerts.move(report.alert_id, act).held
        except Rejected as error:
            if report.alert_id not in self._refused:
                self._refused.add(report.alert_id)
                self.log.warning("work_order_refused", alert_id=report.alert_id, reason=str(error))
            return False
