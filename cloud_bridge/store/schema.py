"""The tables. What was said is kept as it was said; the columns beside it can be derived again."""

import datetime as dt
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
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
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.engine import Dialect

metadata: Final = MetaData()


class UtcTime(TypeDecorator[dt.datetime]):
    """A moment in UTC; databases that keep no zone get the same digits back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Refuse a moment without its zone."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without zone cannot be stored")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> dt.datetime | None:  # noqa: ANN401 - SQLAlchemy's
        """Say again that it is UTC; what came with a zone of its own is the same moment in UTC."""
        del dialect
        if value is None:
            return None
        kept: dt.datetime = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return kept.astimezone(dt.UTC)


class Words(TypeDecorator[str]):
    """What somebody said, for people to read. PostgreSQL keeps no NUL in a text: its symbol stands for it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Show what cannot be kept."""
        del dialect
        return None if value is None else value.replace("\0", "\N{SYMBOL FOR NULL}")


COUNT: Final = BigInteger().with_variant(Integer, "sqlite")
"""What goes on counting for ever, or is counted by a home: 64 bits, as an Integer of SQLite has them."""


def _key() -> Column[int]:
    return Column("id", COUNT, primary_key=True, autoincrement=True)


inbox = Table(
    "inbox",
    metadata,
    _key(),
    Column("topic", Words, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    # A number is never given twice: a worker may still hold a message that another one took.
    sqlite_autoincrement=True,
)

refused = Table(  # what no enrolled gateway signed: kept as evidence, answered with nothing
    "refused",
    metadata,
    _key(),
    Column("topic", Words, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("reason", Words, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)

gateway = Table(
    "gateway",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("keys", LargeBinary, nullable=False),
    Column("system_id", String(16), nullable=False),
    Column("downlink_sequence", COUNT, nullable=False, default=0),
    Column("enrolled_at", UtcTime, nullable=False),
)

gateway_status = Table(  # what a gateway or the broker last said of its connection: signed by nobody
    "gateway_status",
    metadata,
    Column("gateway", ForeignKey("gateway.name"), primary_key=True),
    Column("presence", String(16), nullable=False),
    Column("stated", UtcTime, nullable=False),
    Column("known_at", UtcTime, nullable=False),
    Column("there_at", UtcTime),
)

gateway_recipients = Table(  # whom a home was last told to seal to beside the hospital
    "gateway_recipients",
    metadata,
    Column("gateway", ForeignKey("gateway.name"), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("told_at", UtcTime, nullable=False),
)

patient = Table(
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
    Column("zone", String(64)),
    Column("family_doctor_system", Text),
    Column("family_doctor_value", Text),
    Column("family_organization_system", Text),
    Column("family_organization_value", Text),
    Column("pharmacist_system", Text),
    Column("pharmacist_value", Text),
)

membership = Table(  # who is in which programme: statements, of which the latest of each programme holds
    "membership",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("patient", ForeignKey("patient.id"), nullable=False),
    Column("programme", String(32), nullable=False),
    Column("place", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("author", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("stated_at", UtcTime, nullable=False),
    Column("origin", Uuid),  # the discharge plan that said it, if one did
    Index("membership_patient", "patient"),
)

setting = Table(  # a patient's own values of rules' parameters: statements, of which the latest holds
    "setting",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("patient", ForeignKey("patient.id"), nullable=False),
    Column("rule", String(32), nullable=False),
    Column("parameter", String(64), nullable=False),
    Column("value", Text, nullable=False),
    Column("author", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("stated_at", UtcTime, nullable=False),
    Column("origin", Uuid),  # as above
    Index("setting_patient", "patient"),
)

person = Table(  # a home's pseudonym: the only place where it meets a patient
    "person",
    metadata,
    Column("gateway", ForeignKey("gateway.name"), primary_key=True),
    Column("pseudonym", String(64), primary_key=True),
    Column("patient", ForeignKey("patient.id"), nullable=False),
)

envelope = Table(
    "envelope",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("outbox_id", Uuid, nullable=False),
    Column("sequence", COUNT, nullable=False),
    Column("previous", LargeBinary(32), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", Words),
    Column("received_at", UtcTime, nullable=False),
    Column("receipt_due", Boolean, nullable=False),
    Index("envelope_chain", "gateway", "outbox_id", "sequence"),
    Index("envelope_receipts", "receipt_due"),
)

measurement = Table(
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
    Column("measured_at", UtcTime),
    Column("received_at", UtcTime, nullable=False),
    Column("revision", Integer, nullable=False, default=1),
    Column("envelope", ForeignKey("envelope.digest"), nullable=False),
    Column("forked", Boolean, nullable=False, default=False),
    Column("repetition_of", Uuid),
    Index("measurement_patient", "patient", "quantity", "measured_at"),
    Index("measurement_home", "gateway", "boot_id"),
    Index("measurement_device", "device", "received_at"),
)

measurement_version = Table(  # every content that a measurement ever had, as it was read first
    "measurement_version",
    metadata,
    Column("id", ForeignKey("measurement.id"), primary_key=True),
    Column("content_hash", LargeBinary(32), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("forked", Boolean, nullable=False),
    Column("envelope", ForeignKey("envelope.digest"), nullable=False),
)

statement = Table(
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

carried = Table(  # which measurements an envelope brought, whatever of them was known before
    "carried",
    metadata,
    Column("envelope", ForeignKey("envelope.digest"), primary_key=True),
    Column("measurement", ForeignKey("measurement.id"), primary_key=True),
)

item = Table(  # everything else a home said: undecodable bytes, events, items of a later version
    "item",
    metadata,
    _key(),
    Column("kind", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("gateway", String(64), nullable=False),
    Column("envelope", ForeignKey("envelope.digest"), nullable=False),
)

alert = Table(
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
    Column("since", UtcTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("raised_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("acknowledged_at", UtcTime),
    Column("acknowledged_by", Text),
    Column("programme", String(32), nullable=False),
    Column("queue", String(16), nullable=False),
    Column("late", Boolean, nullable=False, default=False),
    Column("came_true", UtcTime),
    Column("escalation", Integer, nullable=False, default=0),
    Column("moved_at", UtcTime),
    Column("moved_by", Text),
    Column("outcome", String(32)),
    Column("reopened", Integer, nullable=False, default=0),
    Column("folded_into", Uuid),  # the item that tells of what is folded
    Column("rank", Integer, nullable=False, default=0),  # of its urgency, with what is folded in: 0 is severe
    Index("alert_subject", "subject"),
    Index("alert_state", "state", "due_at"),
    Index("alert_folded", "folded_into"),
)

alert_history = Table(
    "alert_history",
    metadata,
    _key(),
    Column("alert", ForeignKey("alert.id"), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("what", String(32), nullable=False),
    Column("by", Words),
    Column("outcome", String(32)),
    Column("reason", Words),
    Column("asked", String(16)),
    Index("alert_history_alert", "alert"),
)

rule_set = Table(  # each version of a programme's file that a finding ever stood on, whole
    "rule_set",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("programme", String(32), nullable=False),
    Column("version", String(16), nullable=False),
    Column("body", Text, nullable=False),
)

judgement = Table(  # what was found, when, and the contents and settings it stood on: to find it again
    "judgement",
    metadata,
    Column("alert", ForeignKey("alert.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("judged_at", UtcTime, nullable=False),
    Column("rule_set", ForeignKey("rule_set.digest"), nullable=False),
    Column("settings", Text, nullable=False),
    Column("contents", Text, nullable=False),
    Column("finding", Text, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("subject", Uuid, primary_key=True),
    Column("destination", String(64), primary_key=True),
    Column("wanted", Integer, nullable=False),
    Column("delivered", Integer, nullable=False, default=0),
    Column("claimed_until", UtcTime),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", UtcTime, nullable=False),
    Column("last_error", Words),
    Column("dead", Boolean, nullable=False, default=False),
    Column("created_at", UtcTime, nullable=False),
    Column("rank", Integer, nullable=False, default=0),  # who goes first: alerts by urgency, then readings
    Column("about", String(64)),  # whom the receiver may have it of, where a consent is needed
    Column("held_at", UtcTime),  # since when, for whom, of whom and of what a consent is missing
    Column("held_to", Text),
    Column("held_of", String(64)),
    Column("held_data", String(32)),
    Column("reported", Words),  # of a work order: who had it there when it was last read, on which asking
    Index(  # what is claimed next, in order; what is delivered is not in it
        "delivery_waiting",
        "rank",
        "created_at",
        "next_attempt_at",
        sqlite_where=text("dead = 0 AND delivered < wanted"),
        postgresql_where=text("NOT dead AND delivered < wanted"),
    ),
    Index("delivery_held", "held_of"),
)

downlink = Table(
    "downlink",
    metadata,
    _key(),
    Column("gateway", ForeignKey("gateway.name"), nullable=False),
    Column("sequence", COUNT, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("published", Boolean, nullable=False, default=False),
    Index("downlink_waiting", "published", "id"),
)

timer = Table(  # when a subject, or all of a home that got its people, is to be looked at again
    "timer",
    metadata,
    Column("subject", String(128), primary_key=True),
    Column("due_at", UtcTime, nullable=False),
)

sink_cursor = Table(  # how far a sink beside the record has been fed
    "sink_cursor",
    metadata,
    Column("sink", String(32), primary_key=True),
    Column("position", COUNT, nullable=False),
)

change = Table(  # each stored or re-folded measurement, in order: what sinks follow
    "change",
    metadata,
    _key(),
    Column("measurement", Uuid, nullable=False),
    Column("previous_at", UtcTime),
)
