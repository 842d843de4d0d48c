"""Life of alerts: outcomes, escalations, who moved what and why, and the timers of what is open."""

import datetime as dt

from alembic import op
from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, Text, Uuid, select, update

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was finished is resolved, without an outcome; what is open is watched."""
    op.add_column("alert", Column("escalation", Integer, nullable=False, server_default="0"))
    op.add_column("alert", Column("reopened", Integer, nullable=False, server_default="0"))
    op.add_column("alert", Column("moved_at", DateTime(timezone=True)))
    op.add_column("alert", Column("moved_by", Text))
    op.add_column("alert", Column("outcome", String(32)))
    op.add_column("alert_history", Column("outcome", String(32)))
    op.add_column("alert_history", Column("reason", Text))
    op.add_column("alert_history", Column("asked", String(16)))
    op.create_index("alert_history_alert", "alert_history", ["alert"])
    known = MetaData()
    alert = Table(
        "alert",
        known,
        Column("id", Uuid, primary_key=True),
        Column("state", String(16)),
        Column("queue", String(16)),
        Column("due_at", DateTime(timezone=True)),
        Column("acknowledged_at", DateTime(timezone=True)),
        Column("acknowledged_by", Text),
        Column("moved_at", DateTime(timezone=True)),
        Column("moved_by", Text),
    )
    history = Table("alert_history", known, Column("what", String(32)), Column("by", Text))
    timer = Table("timer", known, Column("subject", String(128)), Column("due_at", DateTime(timezone=True)))
    connection = op.get_bind()
    done = alert.c.state == "completed"
    connection.execute(update(alert).where(done).values(state="resolved"))
    seen = {"moved_at": alert.c.acknowledged_at, "moved_by": alert.c.acknowledged_by}
    connection.execute(update(alert).where(alert.c.acknowledged_at.is_not(None)).values(**seen))
    connection.execute(update(history).where(history.c.what == "resolved").values(what="over"))
    connection.execute(update(history).where(history.c.what == "completed").values(what="resolved"))
    open_ones = select(alert.c.id, alert.c.due_at).where(alert.c.state == "open", alert.c.queue == "clinical")
    for row in connection.execute(open_ones).all():
        due = row.due_at.replace(tzinfo=row.due_at.tzinfo or dt.UTC)
        connection.execute(timer.insert().values(subject=f"due:{row.id.hex}", due_at=due))


def downgrade() -> None:
    """Refuse: what came of alerts would be forgotten."""
    raise RuntimeError("This version of the schema has nothing to go back to: restore a backup.")
