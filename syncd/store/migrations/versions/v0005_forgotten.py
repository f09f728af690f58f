"""Who asked to be forgotten, and a way to find old messages without reading all."""

import sqlalchemy as sa
from alembic import op

from syncd.store.instant import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`forgotten`, and an index on when a message was received."""
    op.create_table(
        "forgotten",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_forgotten")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_forgotten_at", "forgotten", ["at"])
    op.create_index("ix_message_received_at", "message", ["received_at"])
