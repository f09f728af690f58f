"""Chunks that are packed, beside those that are text."""

import sqlalchemy as sa
from alembic import op

from syncd.store.views import MEMBER_VIEW, PACKED_STORAGE

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`chunk.packed`, empty; the member view passes over what is in it.

    No row is written: on either store a column without a value costs nothing.
    """
    op.add_column("chunk", sa.Column("packed", sa.LargeBinary(), nullable=True))
    dialect = op.get_bind().dialect.name
    view = MEMBER_VIEW[dialect]
    if dialect == "postgresql":
        op.execute(PACKED_STORAGE)
        # Dropped, it would forget who may read it.
        op.execute(view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    else:
        op.execute("DROP VIEW member")
        op.execute(view)
