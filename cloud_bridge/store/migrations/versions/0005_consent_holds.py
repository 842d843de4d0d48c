"""Deliveries that wait for a consent."""

from alembic import op
from sqlalchemy import Column, DateTime, String, Text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: nothing is held yet."""
    op.add_column("delivery", Column("about", String(64)))
    op.add_column("delivery", Column("held_at", DateTime(timezone=True)))
    op.add_column("delivery", Column("held_to", Text))
    op.add_column("delivery", Column("held_of", String(64)))
    op.add_column("delivery", Column("held_data", String(32)))
    op.create_index("delivery_held", "delivery", ["held_of"])


def downgrade() -> None:
    """Refuse: what waits for a consent would be sent."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
