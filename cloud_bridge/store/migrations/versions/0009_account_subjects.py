"""Accounts that a hospital's identity provider vouches for."""

from alembic import op
from sqlalchemy import Column, DateTime, ForeignKey, String, Text, UniqueConstraint

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table: nobody is bound yet."""
    op.create_table(
        "account_subject",
        Column("issuer", String(512), primary_key=True),
        Column("subject", String(255), primary_key=True),
        Column("account", String(64), ForeignKey("account.name"), nullable=False),
        Column("bound_by", Text, nullable=False),
        Column("bound_at", DateTime(timezone=True), nullable=False),
        UniqueConstraint("issuer", "account", name="account_subject_once"),
    )


def downgrade() -> None:
    """Refuse: a subject could be bound to another account."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
