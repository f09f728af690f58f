"""One read of a warehouse, from the first byte to the last check."""

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import assert_never

import sqlalchemy as sa

from syncd.clock import Clock
from syncd.errors import SourceUnavailable, SourceUntrusted
from syncd.sources.warehouse.connection import reading
from syncd.sources.warehouse.ids import to_ids
from syncd.sources.warehouse.queries import (
    Flavour,
    Members,
    WarehouseQuery,
    id_name,
    members,
    own_text,
)

BLOCK = 10_000
"""Ids per block: what the driver fetches at once, and so the memory of a read."""


class WarehouseSource:
    """A `Source` over any SQLAlchemy URL."""

    def __init__(self, query: WarehouseQuery, clock: Clock) -> None:
        self._query = query
        self._clock = clock

    def blocks(self) -> Iterator[list[bytes]]:
        """Within one transaction: freshness, count, rows, rows against the count."""
        query = self._query
        deadline = self._clock.monotonic() + query.timeout.total_seconds()

        def expired() -> bool:
            return self._clock.monotonic() > deadline

        with reading(query, expired) as connection:
            self._check_freshness(connection)
            statement = members(connection, query)
            expected = _count(connection, statement) if query.count_check else None
            read = 0
            with closing(_stream(connection, statement)) as stream:
                for block in stream:
                    if expired():
                        raise _out_of_time(query)
                    read += len(block)
                    yield block
            if expected is not None and read != expected:
                raise SourceUntrusted(
                    f"the query counted {expected} rows but returned {read}",
                    code="source.count_mismatch",
                    hint="read from something that does not change under the query",
                )

    def reach(self) -> None:
        """Connect and look the tables and columns up; reads no row of an audience.

        An own query is not run, since nobody knows what it costs. Raises as `blocks`.
        """
        with reading(self._query, lambda: False) as connection:
            connection.execute(sa.select(sa.literal(1)))
            members(connection, self._query)

    def fingerprint(self) -> str:
        """Flavour, tables, audience and query; not the URL, whose secret may change."""
        query = self._query
        reads: dict[str, object] = {
            "source": "warehouse",
            "flavour": query.flavour,
            "audience": query.audience,
            "id_type": query.id_type,
        }
        match query.flavour:
            case Flavour.PROFILES_SYNC:
                tables = [query.traits_table, query.identifiers_table]
                reads |= {"tables": tables, "schema": query.schema}
                reads["id_name"] = id_name(query)
            case Flavour.ENGAGE_USERS:
                reads |= {"tables": [query.users_table], "schema": query.schema}
                reads["id_name"] = id_name(query)
            case Flavour.QUERY:
                reads["sha256"] = hashlib.sha256(query.query.encode()).hexdigest()
            case _:
                assert_never(query.flavour)
        return json.dumps(reads, sort_keys=True)

    def _check_freshness(self, connection: sa.Connection) -> None:
        query = self._query
        if query.max_age is None:
            return
        loaded = _as_time(
            connection.execute(own_text(query.freshness_query, query)).scalar()
        )
        # A time ahead of us would be fresh for ever: no better than an old one.
        if abs(self._clock.now() - loaded) > query.max_age:
            raise SourceUntrusted(
                f"the warehouse was last loaded at {loaded.isoformat()},"
                f" more than {query.max_age} from now",
                code="source.stale",
                hint="see why the warehouse is not loaded, or raise max_age",
            )


def _count(connection: sa.Connection, statement: Members) -> int:
    """How many rows the statement has in this transaction's snapshot."""
    if isinstance(statement, sa.TextClause):
        counted = statement.columns(sa.column("id")).subquery("members")
    else:
        counted = statement.subquery("members")
    count = sa.select(sa.func.count()).select_from(counted)
    return connection.execute(count).scalar_one()


def _stream(
    connection: sa.Connection, statement: Members
) -> Generator[list[bytes], None, None]:
    """The ids in blocks, by a server-side cursor where the dialect has one."""
    streaming = connection.execution_options(stream_results=True, yield_per=BLOCK)
    with streaming.execute(statement) as result:
        names = list(result.keys())
        if len(names) != 1:
            raise SourceUntrusted(
                f"the query answers {len(names)} columns: {', '.join(names)}",
                code="source.query",
                hint="select one column, the member's id",
            )
        for values in result.scalars().partitions():
            yield to_ids(values, column=f"column {names[0]!r}")


def _out_of_time(query: WarehouseQuery) -> SourceUnavailable:
    return SourceUnavailable(
        f"the read took longer than {query.timeout}",
        code="source.timeout",
        hint="raise the timeout, or make the query cheaper",
    )


def _as_time(answer: object) -> datetime:
    """The freshness query's answer; a time without a zone is UTC."""
    if isinstance(answer, str):
        try:
            answer = datetime.fromisoformat(answer)
        except ValueError:
            pass
    if not isinstance(answer, datetime):
        raise SourceUntrusted(
            f"the freshness query answered {type(answer).__name__}, not a time",
            code="source.stale",
            hint="let it select one timestamp, such as MAX(received_at)",
        )
    return answer if answer.tzinfo else answer.replace(tzinfo=UTC)
