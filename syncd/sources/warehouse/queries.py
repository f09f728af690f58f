"""The SQL: what to read, as values, and the statements made of them.

Values are always bound and names always quoted where they need it; table and column
names are looked up first, so a wrong one is refused with its likely spelling.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeAlias, assert_never

import sqlalchemy as sa
from sqlalchemy import exc

from syncd.errors import SourceUntrusted
from syncd.model import IdType


class Flavour(StrEnum):
    """How the warehouse holds an audience."""

    PROFILES_SYNC = "profiles_sync"
    """Profiles Sync, materialized: a trait per profile, external ids beside it."""
    ENGAGE_USERS = "engage_users"
    """Engage's `users` table: a row per user, a boolean column per audience."""
    QUERY = "query"
    """The operator's own SELECT of one column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseQuery:
    """What to read, and what to believe."""

    url: Callable[[], str]
    """The SQLAlchemy URL, asked for at each read: its secret is read late."""
    audience: str
    """The audience's key; in an own query the bound parameter `:audience`."""
    flavour: Flavour = Flavour.PROFILES_SYNC
    id_type: IdType = IdType.USER_ID
    id_name: str = ""
    """The external id's type (Profiles Sync) or its column (users); default id_type."""
    schema: str | None = None
    """Schema of the tables, e.g. the space's slug; None for the connection's own."""
    traits_table: str = "user_traits"
    identifiers_table: str = "user_identifiers"
    users_table: str = "users"
    query: str = ""
    """The own query: one statement, one column."""
    timeout: timedelta = timedelta(minutes=30)
    """For each statement on the server (Postgres, SQLite) and for the whole read."""
    freshness_query: str = ""
    """One statement that answers one time: when the data was last loaded."""
    max_age: timedelta | None = None
    """How old that may be; given together with `freshness_query`."""
    count_check: bool = True
    """Count first, in the same transaction, and refuse a read that differs."""

    def __post_init__(self) -> None:
        if bool(self.freshness_query) != (self.max_age is not None):
            raise ValueError("freshness_query and max_age belong together")
        if bool(self.query) != (self.flavour is Flavour.QUERY):
            raise ValueError("query and the flavour `query` belong together")


Members: TypeAlias = sa.Select[Any] | sa.TextClause
"""A statement whose rows are members, whose only column is their id."""


def members(connection: sa.Connection, query: WarehouseQuery) -> Members:
    """The statement for the flavour; its tables and columns are known to exist."""
    match query.flavour:
        case Flavour.PROFILES_SYNC:
            return _profiles_sync(connection, query)
        case Flavour.ENGAGE_USERS:
            return _engage_users(connection, query)
        case Flavour.QUERY:
            return own_text(query.query, query)
        case _:
            assert_never(query.flavour)


def _profiles_sync(connection: sa.Connection, query: WarehouseQuery) -> sa.Select[Any]:
    """The ids of every profile that has the trait; a profile may have several."""
    traits = _reflect(connection, query.traits_table, query.schema)
    identifiers = _reflect(connection, query.identifiers_table, query.schema)
    profile = "canonical_segment_id"
    same_profile = _column(traits, profile) == _column(identifiers, profile)
    return (
        sa.select(_column(identifiers, "value"))
        .distinct()
        .join_from(traits, identifiers, same_profile)
        .where(
            _column(traits, "name") == query.audience,
            _is_true(_column(traits, "value")),
            _column(identifiers, "type") == id_name(query),
        )
    )


def _engage_users(connection: sa.Connection, query: WarehouseQuery) -> sa.Select[Any]:
    """The ids of every user whose column of that name is true."""
    users = _reflect(connection, query.users_table, query.schema)
    member = _column(users, query.audience)
    return sa.select(_column(users, id_name(query))).where(_is_true(member))


def id_name(query: WarehouseQuery) -> str:
    return query.id_name or query.id_type.value


def _is_true(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """True for the boolean and for its spelling as text, in any case.

    Segment does not say which of the two its warehouses hold.
    """
    if isinstance(column.type, sa.Boolean):
        return column == sa.true()
    return sa.func.lower(sa.cast(column, sa.String)) == "true"


def own_text(text: str, query: WarehouseQuery) -> sa.TextClause:
    """The operator's statement, one only, with `:audience` bound.

    Any other semicolon is refused, even in a literal: what a driver takes for the end
    of a literal differs, and one text with two statements can leave read-only mode.
    """
    statement = text.strip().removesuffix(";")
    if ";" in statement:
        raise SourceUntrusted(
            "the query holds a semicolon: it must be one statement",
            code="source.query",
            hint="keep one SELECT; write a semicolon in a literal as CHR(59)",
        )
    # A line break, so that a comment at the end cannot swallow what is put behind it.
    clause = sa.text(f"{statement}\n")
    unknown = sorted(clause.compile().params.keys() - {"audience"})
    if unknown:
        raise SourceUntrusted(
            f"the query names unknown parameters: {', '.join(unknown)}",
            code="source.query",
            hint=r"only :audience is given; write a literal colon as \:",
        )
    if clause.compile().params:
        return clause.bindparams(audience=query.audience)
    return clause


def _reflect(
    connection: sa.Connection, name: str, schema: str | None
) -> sa.TableClause:
    """The table with the columns it has; refused with its likely name if unknown."""
    inspector = sa.inspect(connection)
    try:
        columns = inspector.get_columns(name, schema=schema)
    except exc.NoSuchTableError:
        known = inspector.get_table_names(schema) + inspector.get_view_names(schema)
        raise _unknown("table", name, schema or "the default schema", known) from None
    return sa.table(
        name,
        *(sa.column(column["name"], column["type"]) for column in columns),
        schema=schema,
    )


def _column(table: sa.TableClause, name: str) -> sa.ColumnElement[Any]:
    if name not in table.c:
        raise _unknown("column", name, f"table {table.name}", list(table.c.keys()))
    return table.c[name]


def _unknown(kind: str, name: str, place: str, known: list[str]) -> SourceUntrusted:
    close = difflib.get_close_matches(name, known, n=3)
    return SourceUntrusted(
        f"there is no {kind} {name!r} in {place}",
        code=f"source.unknown_{kind}",
        hint=f"did you mean {' or '.join(map(repr, close))}?" if close else "",
    )
