"""Folding: which item tells of what is folded, and the order in which items are shown and delivered."""

from alembic import op
from sqlalchemy import Column, Integer, Uuid, text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_RANK = "CASE severity WHEN 'severe' THEN 0 WHEN 'high' THEN 1 ELSE 2 END"


def upgrade() -> None:
    """Add the columns: nothing is folded yet."""
    op.add_column("alert", Column("folded_into", Uuid))
    op.add_column("alert", Column("rank", Integer, nullable=False, server_default="2"))
    op.create_index("alert_folded", "alert", ["folded_into"])
    op.execute(f"UPDATE alert SET rank = {_RANK} WHERE NOT late")  # noqa: S608 - of constants
    op.add_column("delivery", Column("rank", Integer, nullable=False, server_default="3"))
    op.drop_index("delivery_next", "delivery")
    op.create_index(
        "delivery_waiting",
        "delivery",
        ["rank", "created_at", "next_attempt_at"],
        sqlite_where=text("dead = 0 AND delivered < wanted"),
        postgresql_where=text("NOT dead AND delivered < wanted"),
    )
    of_alert = "(SELECT alert.rank FROM alert WHERE alert.id = delivery.subject)"
    op.execute(f"UPDATE delivery SET rank = {of_alert} WHERE kind = 'alert'")  # noqa: S608 - of constants


def downgrade() -> None:
    """Refuse: what is folded would be an item again."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
