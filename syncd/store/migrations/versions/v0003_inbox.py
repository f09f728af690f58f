"""The inbox: what is pushed to us about people, and the messages that said it."""

import sqlalchemy as sa
from alembic import op

from syncd.store.instant import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`feed`, `inbox`, `message`, `inbox_position` with its row, `inbox_tally`; which
    held plan does without an unaccepted id."""
    op.add_column("unaccepted", sa.Column("leaves_with", sa.Text(), nullable=True))
    _feed()
    _inbox()
    op.create_table(
        "message",
        sa.Column("connection", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "message_id", name=op.f("pk_message")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inbox_position",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_position")),
    )
    op.execute("INSERT INTO inbox_position (id, value) VALUES (1, 0)")
    op.create_table(
        "inbox_tally",
        sa.Column("connection", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("last_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "result", name=op.f("pk_inbox_tally")),
    )


def _feed() -> None:
    op.create_table(
        "feed",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("connection", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("id_type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=True),
        sa.Column("first_at", Instant(), nullable=False),
        sa.Column("last_at", Instant(), nullable=True),
        sa.Column("pruned_to", sa.BigInteger(), nullable=False),
        sa.Column("reported", sa.BigInteger(), nullable=True),
        sa.Column("reported_at", Instant(), nullable=True),
        sa.Column("silent_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
        sa.UniqueConstraint(
            "connection", "key", "id_type", name=op.f("uq_feed_connection_key_id_type")
        ),
        sa.UniqueConstraint(
            "connection", "list_id", name=op.f("uq_feed_connection_list_id")
        ),
        sqlite_autoincrement=True,
    )


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column(
            "feed_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("member_id", sa.Text(), nullable=False),
        sa.Column("inside", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("tie", sa.Text(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["feed_id"], ["feed.id"], name=op.f("fk_inbox_feed_id_feed")
        ),
        sa.PrimaryKeyConstraint("feed_id", "member_id", name=op.f("pk_inbox")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_inbox_feed_id_position", "inbox", ["feed_id", "position"])
