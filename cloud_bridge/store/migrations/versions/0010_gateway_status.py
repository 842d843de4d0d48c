"""What gateways, or the broker for them, last said of their connection."""

from alembic import op
from sqlalchemy import Column, DateTime, ForeignKey, String

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table: nothing is known yet."""
    op.create_table(
        "gateway_status",
        Column("gateway", String(64), ForeignKey("gateway.name"), primary_key=True),
        Column("presence", String(16), nullable=False),
        Column("stated", DateTime(timezone=True), nullable=False),
        Column("known_at", DateTime(timezone=True), nullable=False),
        Column("there_at", DateTime(timezone=True)),
    )


def downgrade() -> None:
    """Refuse: since when a gateway is gone would be forgotten."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
