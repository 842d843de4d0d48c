"""Tokens by which programs ask."""

from alembic import op
from sqlalchemy import Column, DateTime, ForeignKey, LargeBinary, String, Text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "api_token",
        Column("id", String(16), primary_key=True),
        Column("account", String(64), ForeignKey("account.name"), nullable=False),
        Column("digest", LargeBinary(32), nullable=False, unique=True),
        Column("stamp", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("expires_at", DateTime(timezone=True), nullable=False),
        Column("revoked_at", DateTime(timezone=True)),
        Column("used_at", DateTime(timezone=True)),
    )


def downgrade() -> None:
    """Refuse: which tokens were revoked would be forgotten."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
