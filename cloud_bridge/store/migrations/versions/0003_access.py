"""Accounts, consents, and the chained record of who read what."""

from alembic import op
from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Integer, LargeBinary, String, Text, Uuid

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "account",
        Column("name", String(64), primary_key=True),
        Column("role", String(32), nullable=False),
        Column("organization", Text, nullable=False),
        Column("patients", Text, nullable=False),
        Column("active", Boolean, nullable=False),
        Column("password_hash", Text, nullable=False),
        Column("secret", Text, nullable=False),
        Column("last_step", Integer, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("locked_until", DateTime(timezone=True)),
        Column("created_at", DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "consent",
        Column("id", Uuid, primary_key=True),
        Column("patient", String(64), ForeignKey("patient.id"), nullable=False),
        Column("to", Text, nullable=False),
        Column("data", String(32), nullable=False),
        Column("text_version", Text, nullable=False),
        Column("valid_from", DateTime(timezone=True), nullable=False),
        Column("valid_until", DateTime(timezone=True)),
        Column("given_by", Text, nullable=False),
        Column("given_at", DateTime(timezone=True), nullable=False),
        Column("withdrawn_by", Text),
        Column("withdrawn_at", DateTime(timezone=True)),
    )
    op.create_index("consent_patient", "consent", ["patient"])
    op.create_table(
        "audit",
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("account", String(64), nullable=False),
        Column("role", String(32), nullable=False),
        Column("action", String(32), nullable=False),
        Column("patient", String(64)),
        Column("data", String(32)),
        Column("allowed", Boolean, nullable=False),
        Column("policies", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("before", LargeBinary(32), nullable=False),
        Column("digest", LargeBinary(32), nullable=False),
    )
    op.create_index("audit_patient", "audit", ["patient", "at"])


def downgrade() -> None:
    """Refuse: who read what would be forgotten."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
