"""The SQL store: one engine, and the parts that each see only what is theirs."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import Select, Table, func, select

from cloud_bridge.access.texts import Texts
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.store import schema
from cloud_bridge.store.access import SqlAccess
from cloud_bridge.store.alerts import SqlAlerts
from cloud_bridge.store.deliveries import CLAIM_LASTS, SqlDeliveries
from cloud_bridge.store.discharges import SqlDischarges
from cloud_bridge.store.engine import healthy, open_engine, reading
from cloud_bridge.store.first_visits import SqlFirstVisits
from cloud_bridge.store.forwarding import SqlForwarding
from cloud_bridge.store.hl7_messages import SqlHl7Messages
from cloud_bridge.store.intake import Intake
from cloud_bridge.store.judgements import Judgements
from cloud_bridge.store.listings import SqlListings
from cloud_bridge.store.outgoing import Outgoing, Sealer
from cloud_bridge.store.presence import SqlPresence
from cloud_bridge.store.registry import SqlRegistry
from cloud_bridge.store.sharing import SqlSharing
from cloud_bridge.store.silences import Silences
from cloud_bridge.store.tokens import SqlTokens
from wire_format.receipt import Verdict


class SqlStore:
    """Opens the database of `url` (SQLAlchemy's form) and migrates it."""

    def __init__(  # noqa: PLR0913 - what the configuration says of a store
        self,
        url: str,
        sealer: Sealer,
        destinations: Sequence[str],
        staff_language: str = "en",
        claim_lasts: dt.timedelta = CLAIM_LASTS,
        *,
        zone: str = "UTC",
        duty: Duty = ALWAYS,
        consent_needed: Mapping[str, str] = MappingProxyType({}),
        texts: Texts | None = None,
        offered: str | None = None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """`texts`: what consents can name; without, what comes with the package. `offered`: see `access`.

        `clock` only says how old a gateway's last word is when somebody reads why nothing comes.
        """
        silences = Silences(zone, clock)
        self.engine = open_engine(url)
        self.registry = SqlRegistry(self.engine)
        self.intake = Intake(self.engine, destinations, zone, duty)
        self.outgoing = Outgoing(self.engine, sealer)
        self.discharges = SqlDischarges(self.engine, destinations, zone, duty)
        self.hl7_messages = SqlHl7Messages(self.engine, self.discharges)
        self.first_visits = SqlFirstVisits(self.engine)
        self.alerts = SqlAlerts(self.engine, destinations, sealer, zone, duty, silences)
        self.judgements = Judgements(self.engine)
        self.access = SqlAccess(self.engine, texts, offered, consent_needed.values())
        self.tokens = SqlTokens(self.engine)
        self.listings = SqlListings(self.engine)
        self.forwarding = SqlForwarding(self.engine)
        self.sharing = SqlSharing(self.engine, sealer)
        self.presence = SqlPresence(self.engine)
        self.deliveries = SqlDeliveries(
            self.engine, staff_language, claim_lasts, zone, duty, consent_needed, silences
        )

    def healthy(self) -> bool:
        """Tell whether the database answers."""
        return healthy(self.engine)

    def counts(self) -> dict[str, int]:
        """Return how many rows the tables hold that somebody may ask for."""
        envelope = schema.envelope
        asked = {
            "inbox": _count(schema.inbox),
            "envelopes": _count(envelope),
            "measurements": _count(schema.measurement),
            "refused": _count(schema.refused),
            "not_stored": _count(envelope).where(envelope.c.verdict != Verdict.STORED.value),
            "receipts_due": _count(envelope).where(envelope.c.receipt_due),
            "alerts": _count(schema.alert),
        }
        with reading(self.engine) as connection:
            return {name: connection.scalar(query) or 0 for name, query in asked.items()}

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def _count(table: Table) -> Select[int]:
    return select(func.count()).select_from(table)
