"""Which measurements each envelope brought: a row of a measurement names but one of its envelopes."""

from alembic import op
from sqlalchemy import Column, ForeignKey, LargeBinary, Uuid

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. Of older envelopes it stays unknown, so they are not passed on."""
    op.create_table(
        "carried",
        Column("envelope", LargeBinary(32), ForeignKey("envelope.digest"), primary_key=True),
        Column("measurement", Uuid, ForeignKey("measurement.id"), primary_key=True),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("carried")
