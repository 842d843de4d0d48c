"""Counts of 64 bits on PostgreSQL, as SQLite has them: what goes on for ever, or what homes count."""

from alembic import op
from sqlalchemy import BigInteger, Integer

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_COUNTS = (
    ("inbox", "id"),
    ("refused", "id"),
    ("item", "id"),
    ("alert_history", "id"),
    ("downlink", "id"),
    ("change", "id"),
    ("gateway", "downlink_sequence"),
    ("envelope", "sequence"),
    ("downlink", "sequence"),
    ("sink_cursor", "position"),
    ("audit", "number"),
)
_SERIAL = frozenset({"inbox", "refused", "item", "alert_history", "downlink", "change"})


def upgrade() -> None:
    """Widen the columns, and the sequences that number the rows."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column in _COUNTS:
        op.alter_column(table, column, type_=BigInteger(), existing_type=Integer())
    for table in sorted(_SERIAL):
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS bigint")


def downgrade() -> None:
    """Refuse: a number that is larger by now would not fit."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
