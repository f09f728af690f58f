"""What several processes on one Postgres may do at a vendor together."""

import sqlalchemy as sa
from alembic import op

from syncd.store.instant import Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`place`."""
    op.create_table(
        "place",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "number", name=op.f("pk_place")),
    )
