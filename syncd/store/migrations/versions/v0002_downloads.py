"""Downloads: what was asked of a cohort's download, what the quota says, and marks."""

import sqlalchemy as sa
from alembic import op

from syncd.store.instant import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`fetch`, `quota`, the source's mark of a binding, the plan of a batch."""
    op.add_column("binding", sa.Column("source_mark", sa.Text(), nullable=True))
    op.add_column(
        "batch", sa.Column("plan_id", sa.Text(), nullable=False, server_default="")
    )
    op.add_column("batch", sa.Column("planned_at", Instant(), nullable=True))
    op.execute("UPDATE batch SET plan_id = run_id")
    _fetch()
    op.create_table(
        "quota",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("limit", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("resets_at", Instant(), nullable=False),
        sa.Column("read_at", Instant(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("exhausted_at", Instant(), nullable=True),
        sa.Column("low_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_quota")),
    )


def _fetch() -> None:
    op.create_table(
        "fetch",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("cohort_id", sa.Text(), nullable=False),
        sa.Column("sync", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("by_person", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("computed_before", Instant(), nullable=True),
        sa.Column("computed_after", Instant(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size_before", sa.BigInteger(), nullable=True),
        sa.Column("size_ready", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("digest_count", sa.BigInteger(), nullable=True),
        sa.Column("digest_total", sa.Text(), nullable=True),
        sa.Column("broken", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fetch")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_fetch_project_asked_at", "fetch", ["project", "asked_at"], unique=False
    )
    op.create_index(
        "ix_fetch_project_cohort_id_id",
        "fetch",
        ["project", "cohort_id", "id"],
        unique=False,
    )
