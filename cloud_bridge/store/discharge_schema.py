"""The tables of discharge plans: versions, first visits, reminders; and messages as they came."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, Uuid

from cloud_bridge.store.schema import UtcTime, metadata

discharge = Table(  # the version that holds; of a plan that was over when it came nobody is the patient
    "discharge",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("patient", ForeignKey("patient.id")),
    Column("revision", Integer, nullable=False),
    Column("stated_at", UtcTime, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("plan", Text, nullable=False),
    Column("over", Boolean, nullable=False),
    Index("discharge_patient", "patient"),
)

discharge_version = Table(
    "discharge_version",
    metadata,
    Column("discharge", ForeignKey("discharge.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("source", String(64), nullable=False),
    Column("taken_at", UtcTime, nullable=False),
)

first_visit = Table(  # what the family doctor is asked for, and what became of it
    "first_visit",
    metadata,
    Column("discharge", ForeignKey("discharge.id"), primary_key=True),
    Column("patient", ForeignKey("patient.id"), nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("moved_at", UtcTime),
    Column("moved_by", Text),
    Index("first_visit_patient", "patient"),
)

hl7_message = Table(  # bytes as they came, committed before they are answered
    "hl7_message",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sender", Text, nullable=False),
    Column("control_id", String(199), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("answer", Text),
    Index("hl7_message_known", "sender", "control_id", unique=True),
    sqlite_autoincrement=True,
)

reminder = Table(  # one message to a patient about medicines; what came due while nobody ran is "missed"
    "reminder",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("discharge", ForeignKey("discharge.id"), nullable=False),
    Column("patient", ForeignKey("patient.id"), nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("state", String(16), nullable=False),
    Index("reminder_patient", "patient"),
)
