"""A follow-up system that does what it is told: takes orders, fails, and reports on work orders."""

from collections.abc import Sequence
from uuid import UUID

from cloud_bridge.connectors.base import AlertOrder, Connector, Order, WorkReport


class ScriptedConnector(Connector):
    """Raises `failures` one after the other, then takes what comes."""

    name = "fhir"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.taken: list[Order] = []
        self.reports: list[WorkReport] = []
        self.asked: list[tuple[UUID, ...]] = []

    async def deliver(self, order: Order) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(order)

    async def work_reports(self, alerts: Sequence[UUID]) -> Sequence[WorkReport]:
        self.asked.append(tuple(alerts))
        if self.failures:
            raise self.failures.pop(0)
        return self.reports

    @property
    def alerts(self) -> list[AlertOrder]:
        return [order for order in self.taken if isinstance(order, AlertOrder)]
