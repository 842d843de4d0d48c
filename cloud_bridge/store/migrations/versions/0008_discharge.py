"""Discharge plans, first visits, messages as they came, reminders; family doctor and pharmacist."""

from alembic import op
from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Integer, LargeBinary, String, Text, Uuid

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIME = DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns and tables: no plan was taken yet."""
    for who in ("family_doctor", "family_organization", "pharmacist"):
        op.add_column("patient", Column(f"{who}_system", Text))
        op.add_column("patient", Column(f"{who}_value", Text))
    op.add_column("membership", Column("origin", Uuid))
    op.add_column("setting", Column("origin", Uuid))
    op.create_table(
        "discharge",
        Column("id", Uuid, primary_key=True),
        Column("patient", String(64), ForeignKey("patient.id")),
        Column("revision", Integer, nullable=False),
        Column("stated_at", _TIME, nullable=False),
        Column("digest", LargeBinary(32), nullable=False),
        Column("plan", Text, nullable=False),
        Column("over", Boolean, nullable=False),
    )
    op.create_index("discharge_patient", "discharge", ["patient"])
    op.create_table(
        "discharge_version",
        Column("discharge", Uuid, ForeignKey("discharge.id"), primary_key=True),
        Column("revision", Integer, primary_key=True),
        Column("plan", Text, nullable=False),
        Column("source", String(64), nullable=False),
        Column("taken_at", _TIME, nullable=False),
    )
    op.create_table(
        "first_visit",
        Column("discharge", Uuid, ForeignKey("discharge.id"), primary_key=True),
        Column("patient", String(64), ForeignKey("patient.id"), nullable=False),
        Column("asked_at", _TIME, nullable=False),
        Column("due_at", _TIME, nullable=False),
        Column("state", String(16), nullable=False),
        Column("moved_at", _TIME),
        Column("moved_by", Text),
    )
    op.create_index("first_visit_patient", "first_visit", ["patient"])
    op.create_table(
        "hl7_message",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("sender", Text, nullable=False),
        Column("control_id", String(199), nullable=False),
        Column("digest", LargeBinary(32), nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("received_at", _TIME, nullable=False),
        Column("answer", Text),
        sqlite_autoincrement=True,
    )
    op.create_index("hl7_message_known", "hl7_message", ["sender", "control_id"], unique=True)
    op.create_table(
        "reminder",
        Column("id", Uuid, primary_key=True),
        Column("discharge", Uuid, ForeignKey("discharge.id"), nullable=False),
        Column("patient", String(64), ForeignKey("patient.id"), nullable=False),
        Column("due_at", _TIME, nullable=False),
        Column("until", _TIME, nullable=False),
        Column("state", String(16), nullable=False),
    )
    op.create_index("reminder_patient", "reminder", ["patient"])


def downgrade() -> None:
    """Refuse: what was agreed at a discharge would be forgotten."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
