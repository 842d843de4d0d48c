"""The first tables, as they were in the first version."""

from alembic import op
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    metadata = MetaData()
    for define in (_envelopes, _people, _readings, _alerts, _outgoing):
        define(metadata)
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """There is nothing before the first version."""
    raise RuntimeError("The first version of the schema has nothing to go back to.")


def _key() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


def _envelopes(metadata: MetaData) -> None:
    Table(
        "inbox",
        metadata,
        _key(),
        Column("topic", Text, nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("received_at", DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    Table(
        "refused",
        metadata,
        _key(),
        Column("topic", Text, nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("reason", Text, nullable=False),
        Column("received_at", DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    Table(
        "envelope",
        metadata,
        Column("digest", LargeBinary(32), primary_key=True),
        Column("gateway", String(64), nullable=False),
        Column("outbox_id", Uuid, nullable=False),
        Column("sequence", Integer, nullable=False),
        Column("previous", LargeBinary(32), nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("reason", Text),
        Column("received_at", DateTime(timezone=True), nullable=False),
        Column("receipt_due", Boolean, nullable=False),
        Index("envelope_chain", "gateway", "outbox_id", "sequence"),
        Index("envelope_receipts", "receipt_due"),
    )


def _people(metadata: MetaData) -> None:
    Table(
        "gateway",
        metadata,
        Column("name", String(64), primary_key=True),
        Column("site", String(64), nullable=False),
        Column("keys", LargeBinary, nullable=False),
        Column("system_id", String(16), nullable=False),
        Column("downlink_sequence", Integer, nullable=False, default=0),
        Column("enrolled_at", DateTime(timezone=True), nullable=False),
    )
    Table(
        "patient",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("system", Text, nullable=False),
        Column("value", Text, nullable=False),
        Column("nurse_system", Text, nullable=False),
        Column("nurse_value", Text, nullable=False),
        Column("physician_system", Text, nullable=False),
        Column("physician_value", Text, nullable=False),
        Column("organization_system", Text, nullable=False),
        Column("organization_value", Text, nullable=False),
        Column("language", String(16), nullable=False),
        Column("settings", Text, nullable=False, default="{}"),
    )
    Table(
        "person",
        metadata,
        Column("gateway", ForeignKey("gateway.name"), primary_key=True),
        Column("pseudonym", String(64), primary_key=True),
        Column("patient", ForeignKey("patient.id"), nullable=False),
    )


def _readings(metadata: MetaData) -> None:
    Table(
        "measurement",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("content_hash", LargeBinary(32), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("quantity", String(32), nullable=False),
        Column("gateway", String(64), nullable=False),
        Column("device", Uuid, nullable=False),
        Column("boot_id", Uuid, nullable=False),
        Column("patient", String(64)),
        Column("measured_at", DateTime(timezone=True)),
        Column("received_at", DateTime(timezone=True), nullable=False),
        Column("revision", Integer, nullable=False, default=1),
        Column("envelope", ForeignKey("envelope.digest"), nullable=False),
        Column("forked", Boolean, nullable=False, default=False),
        Column("repetition_of", Uuid),
        Index("measurement_patient", "patient", "quantity", "measured_at"),
        Index("measurement_home", "gateway", "boot_id"),
        Index("measurement_device", "device", "received_at"),
    )
    Table(
        "measurement_version",
        metadata,
        Column("id", ForeignKey("measurement.id"), primary_key=True),
        Column("content_hash", LargeBinary(32), primary_key=True),
        Column("body", LargeBinary, nullable=False),
        Column("received_at", DateTime(timezone=True), nullable=False),
        Column("forked", Boolean, nullable=False),
        Column("envelope", ForeignKey("envelope.digest"), nullable=False),
    )
    Table(
        "statement",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("kind", String(16), nullable=False),
        Column("gateway", String(64), nullable=False),
        Column("measurement", Uuid),
        Column("boot_id", Uuid),
        Column("body", LargeBinary, nullable=False),
        Column("envelope", LargeBinary(32)),
        Index("statement_measurement", "measurement"),
        Index("statement_boot", "boot_id"),
    )
    Table(
        "item",
        metadata,
        _key(),
        Column("kind", String(64), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("gateway", String(64), nullable=False),
        Column("envelope", ForeignKey("envelope.digest"), nullable=False),
    )


def _alerts(metadata: MetaData) -> None:
    Table(
        "alert",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("rule", String(32), nullable=False),
        Column("version", String(16), nullable=False),
        Column("subject", String(128), nullable=False),
        Column("gateway", String(64), nullable=False),
        Column("severity", String(16), nullable=False),
        Column("standing", String(16), nullable=False),
        Column("evidence", Text, nullable=False),
        Column("statements", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("since", DateTime(timezone=True), nullable=False),
        Column("state", String(16), nullable=False),
        Column("revision", Integer, nullable=False),
        Column("raised_at", DateTime(timezone=True), nullable=False),
        Column("due_at", DateTime(timezone=True), nullable=False),
        Column("acknowledged_at", DateTime(timezone=True)),
        Column("acknowledged_by", Text),
        Index("alert_subject", "subject"),
        Index("alert_state", "state", "due_at"),
    )
    Table(
        "alert_history",
        metadata,
        _key(),
        Column("alert", ForeignKey("alert.id"), nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("what", String(32), nullable=False),
        Column("by", Text),
    )
    Table(
        "delivery",
        metadata,
        Column("kind", String(16), primary_key=True),
        Column("subject", Uuid, primary_key=True),
        Column("destination", String(64), primary_key=True),
        Column("wanted", Integer, nullable=False),
        Column("delivered", Integer, nullable=False, default=0),
        Column("claimed_until", DateTime(timezone=True)),
        Column("attempts", Integer, nullable=False, default=0),
        Column("next_attempt_at", DateTime(timezone=True), nullable=False),
        Column("last_error", Text),
        Column("dead", Boolean, nullable=False, default=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Index("delivery_next", "dead", "next_attempt_at"),
    )
    Table(
        "timer",
        metadata,
        Column("subject", String(128), primary_key=True),
        Column("due_at", DateTime(timezone=True), nullable=False),
    )


def _outgoing(metadata: MetaData) -> None:
    Table(
        "downlink",
        metadata,
        _key(),
        Column("gateway", ForeignKey("gateway.name"), nullable=False),
        Column("sequence", Integer, nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("expires_at", DateTime(timezone=True), nullable=False),
        Column("published", Boolean, nullable=False, default=False),
        Index("downlink_waiting", "published", "id"),
    )
    Table(
        "sink_cursor",
        metadata,
        Column("sink", String(32), primary_key=True),
        Column("position", Integer, nullable=False),
    )
    Table(
        "change",
        metadata,
        _key(),
        Column("measurement", Uuid, nullable=False),
        Column("previous_at", DateTime(timezone=True)),
    )
