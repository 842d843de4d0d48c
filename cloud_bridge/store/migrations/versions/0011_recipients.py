"""Organizations that homes seal to by consent, and what each home was told."""

from alembic import op
from sqlalchemy import Column, DateTime, ForeignKey, LargeBinary, String

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables: homes seal to the hospital alone."""
    op.create_table(
        "organization",
        Column("name", String(200), primary_key=True),
        Column("kem", String(32), nullable=False),
        Column("key", LargeBinary, nullable=False),
        Column("added_at", DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "gateway_recipients",
        Column("gateway", String(64), ForeignKey("gateway.name"), primary_key=True),
        Column("body", LargeBinary, nullable=False),
        Column("told_at", DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Refuse: what homes were told would be forgotten, and could not be taken back."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
