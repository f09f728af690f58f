"""The tables, as SQLAlchemy Core sees them; `migrations/` builds exactly these.

`binding` is one sync's hold on one target. Its acknowledged set is `chunk` (hash
buckets of ids, as text or packed) plus the acknowledged batches not compacted yet, in
order of `batch.id`. Payloads (`batch_ids`) live apart from the narrow `batch` row,
since SQLite rewrites a whole row on UPDATE. Instants are UTC everywhere. One file, long
as it is: this is the schema, and tables refer to each other.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from syncd.store.instant import Instant

CODEC_TEXT = 0
"""`ids` holds the ids joined by newlines. Of batches the only codec."""
CODEC_ZSTD = 1
"""Chunks only: `packed` holds the same as a zstd frame, and `ids` is empty."""


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BigKey = BigInteger().with_variant(Integer(), "sqlite")


def _table(name: str, *columns: Any, **options: Any) -> Table:
    return Table(name, metadata, *columns, **options)


meta = _table(
    "meta",
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

sync = _table(
    "sync",
    Column("name", Text, primary_key=True),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_slot", Instant),
)

binding = _table(
    "binding",
    Column("id", BigKey, primary_key=True),
    Column("sync", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("id_type", Text, nullable=False),
    Column("source_fingerprint", Text, nullable=False),
    Column("external_id", Text),
    Column("external_name", Text),
    Column("creation_intent_at", Instant),
    Column("n_buckets", Integer, nullable=False),
    Column("members", BigInteger, nullable=False),
    Column("digest_count", BigInteger),
    Column("digest_total", Text),
    Column("created_at", Instant, nullable=False),
    Column("source_mark", Text),
    Index("ix_binding_sync_role", "sync", "role"),
    sqlite_autoincrement=True,
)

chunk = _table(
    "chunk",
    Column("binding_id", ForeignKey("binding.id"), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("ids", Text, nullable=False),
    Column("packed", LargeBinary),
)

batch = _table(
    "batch",
    Column("id", BigKey, primary_key=True),
    Column("binding_id", ForeignKey("binding.id"), nullable=False),
    Column("run_id", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("first_bucket", Integer, nullable=False),
    Column("last_bucket", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_at", Instant),
    Column("acknowledged_at", Instant),
    Column("error_type", Text),
    Column("error", Text),
    Column("plan_id", Text, nullable=False, server_default=""),
    Column("planned_at", Instant),
    Index("ix_batch_binding_id_state_id", "binding_id", "state", "id"),
    Index("ix_batch_run_id", "run_id"),
    sqlite_autoincrement=True,
)

batch_ids = _table(
    "batch_ids",
    Column(
        "batch_id",
        ForeignKey("batch.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("codec", Integer, nullable=False),
    Column("ids", Text, nullable=False),
)

unaccepted = _table(
    "unaccepted",
    Column("binding_id", ForeignKey("binding.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("bucket", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("offers", Integer, nullable=False),
    Column("leaves_with", Text),
    Index("ix_unaccepted_binding_id_bucket", "binding_id", "bucket"),
)
"""Ids that were offered and not taken. `leaves_with` is the run that holds a plan which
does not want this id any more: forgotten once that plan is approved."""

run = _table(
    "run",
    Column("id", Text, primary_key=True),
    Column("sync", Text, nullable=False),
    Column("slot", Instant),
    Column("trigger", Text, nullable=False),
    Column("outcome", Text),
    Column("reason", Text),
    Column("phase", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("hold_expires_at", Instant),
    Column("plan_hash", Text),
    Column("config_hash", Text, nullable=False),
    Column("summary", Text, nullable=False),
    UniqueConstraint("sync", "slot"),
    Index("ix_run_sync_started_at", "sync", "started_at"),
    Index("ix_run_outcome", "outcome"),
)

attempt = _table(
    "attempt",
    Column("id", BigKey, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("sync", Text, nullable=False),
    Column("batch_id", BigInteger, nullable=False),
    Column("operation", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("result", Text, nullable=False),
    Column("status", Integer),
    Column("accepted", Integer, nullable=False),
    Column("unmatched", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("error_type", Text),
    Column("message", Text),
    Column("request_id", Text),
    Index("ix_attempt_run_id", "run_id"),
    Index("ix_attempt_at", "at"),
    sqlite_autoincrement=True,
)

lease = _table(
    "lease",
    Column("sync", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("released", Boolean, nullable=False),
)

connection = _table(
    "connection",
    Column("name", Text, primary_key=True),
    Column("stopped_at", Instant),
    Column("stopped_reason", Text),
    Column("probe_at", Instant),
    Column("throttled_until", Instant),
)

fetch = _table(
    "fetch",
    Column("id", BigKey, primary_key=True),
    Column("project", Text, nullable=False),
    Column("cohort_id", Text, nullable=False),
    Column("sync", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("by_person", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("request_id", Text),
    Column("asked_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("computed_before", Instant),
    Column("computed_after", Instant),
    Column("name", Text, nullable=False),
    Column("size_before", BigInteger),
    Column("size_ready", BigInteger),
    Column("size", BigInteger),
    Column("rows", BigInteger),
    Column("digest_count", BigInteger),
    Column("digest_total", Text),
    Column("broken", Integer, nullable=False),
    Column("error", Text),
    Index("ix_fetch_project_asked_at", "project", "asked_at"),
    Index("ix_fetch_project_cohort_id_id", "project", "cohort_id", "id"),
    sqlite_autoincrement=True,
)
"""One request for a cohort's download each; also the local count of the quota."""

quota = _table(
    "quota",
    Column("project", Text, primary_key=True),
    Column("limit", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    Column("resets_at", Instant, nullable=False),
    Column("read_at", Instant, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("exhausted_at", Instant),
    Column("low_at", Instant),
)
"""What the vendor's usage endpoint last said about a project."""

feed = _table(
    "feed",
    Column("id", BigKey, primary_key=True),
    Column("connection", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("id_type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("list_id", Text),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant),
    Column("pruned_to", BigInteger, nullable=False),
    Column("reported", BigInteger),
    Column("reported_at", Instant),
    Column("silent_at", Instant),
    UniqueConstraint("connection", "key", "id_type"),
    UniqueConstraint("connection", "list_id"),
    sqlite_autoincrement=True,
)
"""One audience or cohort that is pushed to us. `list_id` is what its sender calls it
since we told it so; `pruned_to` the highest position whose row was dropped;
`reported` the size its owner gave at `reported_at`."""

inbox = _table(
    "inbox",
    Column("feed_id", ForeignKey("feed.id"), primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("inside", Boolean, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("at", Instant, nullable=False),
    Column("tie", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("position", BigInteger, nullable=False),
    Index("ix_inbox_feed_id_position", "feed_id", "position"),
    sqlite_with_rowid=False,
)
"""The newest word about each person of a feed. `position` grows with every row that is
written, over all feeds: what is above a position was written after it was read."""

message = _table(
    "message",
    Column("connection", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Index("ix_message_received_at", "received_at"),
    sqlite_with_rowid=False,
)
"""Messages taken in, to know them when they are sent again."""

inbox_position = _table(
    "inbox_position",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)
"""One row, the highest position given. Its lock lets one replica at a time write to the
inbox, so that positions become visible in order."""

inbox_tally = _table(
    "inbox_tally",
    Column("connection", Text, primary_key=True),
    Column("result", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("last_at", Instant, nullable=False),
)
"""How many events a connection was told, by what became of them."""

daemon = _table(
    "daemon",
    Column("holder", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("heartbeat_at", Instant, nullable=False),
    Column("role", Text, nullable=False, server_default="daemon"),
)

action = _table(
    "action",
    Column("id", BigKey, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("sync", Text, nullable=False),
    Column("run_id", Text),
    Column("reason", Text, nullable=False),
    Column("plan_hash", Text),
    sqlite_autoincrement=True,
)

pause = _table(
    "pause",
    Column("sync", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("actor", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Syncs that a person stopped for a while; `until` null: until they are resumed."""

trace = _table(
    "trace",
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("binding_id", ForeignKey("binding.id"), nullable=False),
    Column("run_id", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("n_buckets", Integer, nullable=False),
    Column("first_bucket", Integer, nullable=False),
    Column("last_bucket", Integer, nullable=False),
    # Last: a search by buckets never touches the pages that this overflows to.
    Column("hashes", LargeBinary, nullable=False),
    Index("ix_trace_binding_id", "binding_id"),
    Index("ix_trace_at", "at"),
)
"""Whom an acknowledged batch named, after its payload is gone: the low 32 bits of each
id's xxh3-64, sorted, little-endian. Answers when a person was sent, to those who have
the id. `n_buckets` is what the binding had then: later ones were split."""

condition = _table(
    "condition",
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("sync", Text),
    Column("cause", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("told_at", Instant),
    Column("resolved_at", Instant),
    Index("ix_condition_resolved_at", "resolved_at"),
)
"""What people are notified of: open until `resolved_at`; `told_at` the last message."""

doubt = _table(
    "doubt",
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("binding_id", ForeignKey("binding.id"), nullable=False),
    Column("operation", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("first_bucket", Integer, nullable=False),
    Column("last_bucket", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("ids", Text, nullable=False),
    Index("ix_doubt_binding_id_until", "binding_id", "until"),
)
"""Batches of which a request ended without a known outcome, and may take effect as late
as `until`, whatever became of the batch since. `ids` is whom that request named."""

forgotten = _table(
    "forgotten",
    Column("hash", LargeBinary, primary_key=True),
    Column("at", Instant, nullable=False),
    Index("ix_forgotten_at", "at"),
    sqlite_with_rowid=False,
)
"""Who asked to be forgotten: HMAC-SHA256 of an id under the installation's key. Nobody
takes such an id in again until the row is pruned."""

place = _table(
    "place",
    Column("scope", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("taken", BigInteger, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
)
"""What several processes may do at a vendor together: `scope` is a project or a pace,
`taken` counts who had a place, `until` is when it is free again. Postgres only."""
