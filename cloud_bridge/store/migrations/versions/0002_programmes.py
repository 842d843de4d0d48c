"""Programmes and own parameters of patients; what each finding stood on; whose work an alert is."""

from alembic import op
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    Uuid,
    text,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns; alerts that there are were all found by the blood pressure rules."""
    _agreements()
    _alerts()
    _judgements()


def downgrade() -> None:
    """Refuse: what findings stood on would be lost."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")


def _agreements() -> None:
    op.drop_column("patient", "settings")
    op.add_column("patient", Column("zone", String(64)))
    op.create_table(
        "membership",
        Column("id", Uuid, primary_key=True),
        Column("patient", String(64), ForeignKey("patient.id"), nullable=False),
        Column("programme", String(32), nullable=False),
        Column("place", Integer, nullable=False),
        Column("active", Boolean, nullable=False),
        Column("author", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("stated_at", DateTime(timezone=True), nullable=False),
    )
    op.create_index("membership_patient", "membership", ["patient"])
    op.create_table(
        "setting",
        Column("id", Uuid, primary_key=True),
        Column("patient", String(64), ForeignKey("patient.id"), nullable=False),
        Column("rule", String(32), nullable=False),
        Column("parameter", String(64), nullable=False),
        Column("value", Text, nullable=False),
        Column("author", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("stated_at", DateTime(timezone=True), nullable=False),
    )
    op.create_index("setting_patient", "setting", ["patient"])


def _alerts() -> None:
    op.add_column("alert", Column("programme", String(32), nullable=False, server_default="hypertension"))
    op.add_column("alert", Column("queue", String(16), nullable=False, server_default="clinical"))
    op.add_column("alert", Column("late", Boolean, nullable=False, server_default=text("false")))
    op.add_column("alert", Column("came_true", DateTime(timezone=True)))
    for before, after in (('"text": "severe_', '"text": "'), ('"text": "consecutive"', '"text": ""')):
        change = text("UPDATE alert SET reason = replace(reason, :before, :after)")
        op.execute(change.bindparams(before=before, after=after))


def _judgements() -> None:
    op.create_table(
        "rule_set",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("programme", String(32), nullable=False),
        Column("version", String(16), nullable=False),
        Column("body", Text, nullable=False),
    )
    op.create_table(
        "judgement",
        Column("alert", Uuid, ForeignKey("alert.id"), primary_key=True),
        Column("revision", Integer, primary_key=True),
        Column("judged_at", DateTime(timezone=True), nullable=False),
        Column("rule_set", LargeBinary(32), ForeignKey("rule_set.digest"), nullable=False),
        Column("settings", Text, nullable=False),
        Column("contents", Text, nullable=False),
        Column("finding", Text, nullable=False),
    )
