"""What goes back to homes: receipts that are due, and sealed messages."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Engine, select, update

from cloud_bridge.store import schema
from cloud_bridge.store.base import DownlinkDue, ReceiptDue
from cloud_bridge.store.engine import reading
from wire_format.downlink import DownlinkHeader, Message, ResendFrom
from wire_format.errors import Rejected
from wire_format.keys import GatewayPublic, SealKey, load_keys
from wire_format.receipt import Verdict

MESSAGE_LIVES: Final = dt.timedelta(days=7)

Sealer = Callable[[Message, DownlinkHeader, SealKey], bytes]


class Outgoing:
    """Receipts and messages, each a row until the broker has it."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        self._engine = engine
        self._sealer = sealer

    def ask_again(self, gateway: str, outbox_id: UUID, sequence: int, now: dt.datetime) -> None:
        """Queue a request to a home to send everything again from a number on."""
        with self._engine.begin() as connection:
            queue_message(
                connection, gateway, ResendFrom(outbox_id=outbox_id, sequence=sequence), self._sealer, now
            )

    def outboxes(self, gateway: str) -> list[UUID]:
        """Return the outboxes that envelopes of a gateway came from."""
        table = schema.envelope
        query = select(table.c.outbox_id).where(table.c.gateway == gateway).distinct()
        with reading(self._engine) as connection:
            return list(connection.execute(query).scalars())

    def receipts_due(self, limit: int) -> list[ReceiptDue]:
        """Return envelopes whose homes wait for a receipt."""
        table, gateway = schema.envelope, schema.gateway
        query = (
            select(table, gateway.c.site)
            .join(gateway, gateway.c.name == table.c.gateway)
            .where(table.c.receipt_due)
            .order_by(table.c.gateway, table.c.outbox_id, table.c.sequence)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [
                ReceiptDue(
                    row.site, row.gateway, row.outbox_id, row.sequence, Verdict(row.verdict), row.digest
                )
                for row in connection.execute(query)
            ]

    def receipted(self, due: Sequence[ReceiptDue]) -> None:
        """Record that the broker has the receipts of these envelopes."""
        table = schema.envelope
        with self._engine.begin() as connection:
            connection.execute(
                update(table).where(table.c.digest.in_([d.digest for d in due])).values(receipt_due=False)
            )

    def messages_due(self, limit: int, now: dt.datetime) -> list[DownlinkDue]:
        """Return sealed messages that the broker does not have, and that are still worth saying."""
        table, gateway = schema.downlink, schema.gateway
        query = (
            select(table, gateway.c.site)
            .join(gateway, gateway.c.name == table.c.gateway)
            .where(~table.c.published, table.c.expires_at > now)
            .order_by(table.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [DownlinkDue(r.id, r.site, r.gateway, r.data) for r in connection.execute(query)]

    def message_published(self, due: DownlinkDue) -> None:
        """Record that the broker has a message."""
        table = schema.downlink
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == due.id).values(published=True))


def queue_message(  # noqa: PLR0913, PLR0917 - a message, and how it travels
    connection: Connection,
    gateway: str,
    message: Message,
    sealer: Sealer,
    now: dt.datetime,
    lives: dt.timedelta = MESSAGE_LIVES,
) -> None:
    """Seal a message to a gateway under its next sequence, within the caller's transaction."""
    table = schema.gateway
    query = select(table).where(table.c.name == gateway).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise Rejected(f"The gateway {gateway} is not enrolled.")
    # Not only the next one: a record that was restored from a backup has forgotten numbers that homes know.
    sequence = max(row.downlink_sequence + 1, int(now.timestamp()))
    header = DownlinkHeader(gateway, sequence, now, now + lives)
    data = sealer(message, header, load_keys(row.keys, GatewayPublic).sealing)
    connection.execute(update(table).where(table.c.name == gateway).values(downlink_sequence=sequence))
    connection.execute(
        schema.downlink.insert().values(
            gateway=gateway, sequence=sequence, data=data, expires_at=header.expires_at, published=False
        )
    )
