"""What a process that gives signs of life does: the daemon's work, or a worker's."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`daemon.role`."""
    column = sa.Column("role", sa.Text(), server_default="daemon", nullable=False)
    op.add_column("daemon", column)
