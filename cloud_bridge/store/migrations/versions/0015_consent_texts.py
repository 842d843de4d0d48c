"""The texts that consents name, kept by their hash. Consents given before keep none: it was kept nowhere."""

from alembic import op
from sqlalchemy import Column, DateTime, ForeignKey, LargeBinary, String, Text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and the column; what is there names no text."""
    op.create_table(
        "consent_text",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("content", LargeBinary, nullable=False),
        Column("kept_at", DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "consent_version",
        Column("version", String(200), primary_key=True),
        Column("language", String(35), primary_key=True),
        Column("digest", LargeBinary(32), ForeignKey("consent_text.digest"), nullable=False),
        Column("named_at", DateTime(timezone=True), nullable=False),
    )
    op.add_column("consent", Column("texts", Text))


def downgrade() -> None:
    """Refuse: what patients agreed to would be lost."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
