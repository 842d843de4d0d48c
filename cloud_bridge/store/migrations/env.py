"""Alembic's environment: the bridge hands its own connection over; there is no other way in."""

from alembic import context

from cloud_bridge.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
