"""Requests that may take effect after all, long after their batch was settled."""

import sqlalchemy as sa
from alembic import op

from syncd.store.instant import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`doubt`."""
    op.create_table(
        "doubt",
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "binding_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("first_bucket", sa.Integer(), nullable=False),
        sa.Column("last_bucket", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("codec", sa.Integer(), nullable=False),
        sa.Column("ids", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["binding_id"], ["binding.id"], name=op.f("fk_doubt_binding_id_binding")
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_doubt")),
    )
    op.create_index("ix_doubt_binding_id_until", "doubt", ["binding_id", "until"])
    if op.get_bind().dialect.name == "postgresql":
        # As the payloads of batches: random ids do not compress.
        op.execute("ALTER TABLE doubt ALTER COLUMN ids SET STORAGE EXTERNAL")
