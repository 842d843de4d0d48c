"""The first tables.

They are created from the metadata of this version. The next change of schema freezes them here as they
are, so that this step stays what it was.
"""

from alembic import op

from cloud_bridge.store import access_schema  # noqa: F401 - its tables belong to the metadata
from cloud_bridge.store.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """There is nothing before the first version."""
    raise RuntimeError("The first version of the schema has nothing to go back to.")
