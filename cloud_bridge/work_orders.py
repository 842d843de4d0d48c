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
from service_kit.log import Log
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


@dataclass(slots=True)
class WorkOrders:
    """The loop that asks one follow-up system what became of its work orders."""

    alerts: Alerts
    connector: Connector
    clock: Callable[[], dt.datetime]
    interval_s: float
    log: Log
    on_acknowledged: Callable[[], None]
    _failing: bool = False
    _refused: set[UUID] = field(default_factory=set)
    _last: UUID = _FIRST

    async def run(self) -> None:
        """Ask, for ever."""
        while True:
            try:
                await self.round()
            except (Unreachable, Rejected, Misconfigured) as error:
                if not self._failing:
                    self.log.warning("work_orders_unread", reason=str(error))
                self._failing = True
            else:
                self._failing = False
            await asyncio.sleep(self.interval_s)

    async def round(self) -> None:
        """Ask once about the live alerts that the system has; of very many, about the next ones."""
        live = self._turn(await asyncio.to_thread(self.alerts.delivered_alerts))
        if not live:
            return
        for report in await self.connector.work_reports(live):
            if await asyncio.to_thread(self._take, report):
                self.on_acknowledged()

    def _turn(self, live: Sequence[UUID]) -> Sequence[UUID]:
        if len(live) <= AT_A_TIME:
            return live
        ordered = sorted(live)
        begins = bisect_right(ordered, self._last)
        asked = [*ordered[begins:], *ordered[:begins]][:AT_A_TIME]
        self._last = asked[-1]
        return asked

    def _take(self, report: WorkReport) -> bool:
        """Make the move that a report says was made there; return whether it was news here."""
        move = _MOVES.get(report.state)
        if move is None:
            return False
        note = GIVEN_BACK if report.state is WorkState.REFUSED else ""
        act = Act(
            move,
            Actor.HOSPITAL,
            report.at,
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
