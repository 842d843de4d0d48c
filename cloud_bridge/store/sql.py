"""The SQL store: one engine, and the parts that each see only what is theirs."""

from collections.abc import Sequence

from cloud_bridge.store.alerts import SqlAlerts
from cloud_bridge.store.deliveries import SqlDeliveries
from cloud_bridge.store.engine import healthy, open_engine
from cloud_bridge.store.intake import Intake
from cloud_bridge.store.outgoing import Outgoing, Sealer
from cloud_bridge.store.registry import SqlRegistry


class SqlStore:
    """Opens the database of `url` (SQLAlchemy's form) and migrates it."""

    def __init__(
        self, url: str, sealer: Sealer, destinations: Sequence[str], staff_language: str = "en"
    ) -> None:
        self.engine = open_engine(url)
        self.registry = SqlRegistry(self.engine)
        self.intake = Intake(self.engine, destinations)
        self.outgoing = Outgoing(self.engine)
        self.alerts = SqlAlerts(self.engine, destinations, sealer)
        self.deliveries = SqlDeliveries(self.engine, staff_language)

    def healthy(self) -> bool:
        """Tell whether the database answers."""
        return healthy(self.engine)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()
