"""Who had a work order in the hospital's system when it was last read: another owner is news."""

from alembic import op
from sqlalchemy import Column, Text

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what is read first is no news."""
    op.add_column("delivery", Column("reported", Text))


def downgrade() -> None:
    """Remove it."""
    with op.batch_alter_table("delivery") as table:
        table.drop_column("reported")
