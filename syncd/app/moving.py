"""A whole installation moved into another store, while nobody works on it.

The order of the commits is what makes it safe. The target is half a copy until the end,
and refused as that. The source is retired after the copy is proved and before it is
opened: there is no moment at which both can be worked on, and whatever ends this in
between, the same command goes on with it.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from syncd.app.store import locked
from syncd.clock import Clock
from syncd.errors import StoreInUse, StoreRefused, StoreUnavailable
from syncd.report.daemons import SILENT_AFTER
from syncd.store import (
    copying,
    failovers,
    gate,
    installation,
    landing,
    migrate,
    quiet,
    shared_clock,
)
from syncd.store.copying import Copied
from syncd.store.database import Connection, Database
from syncd.store.file import create_file
from syncd.store.installation import Action
from syncd.store.location import is_sqlite, place, sqlite_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to move where. Both are database URLs, with their passwords."""

    source: str
    target: str
    keep: bool
    """Leave the source as it is, able to work on: for a try."""
    actor: str


def move(wish: Wish, clock: Clock) -> Sequence[Copied]:
    """Copy, prove, retire the source, open the target; returns every table.

    Raises `StoreInUse` while somebody works on either, `StoreRefused` where the source
    is no store of this program's schema or the target holds something, `NotCopied`.
    """
    if place(wish.source) == place(wish.target):
        raise StoreRefused("both are the same store", code="copy.same")
    token = secrets.token_hex(6)
    with (
        _said_again(),
        _undisturbed(wish.source) as source,
        _made(wish.target) as target,
        _alone(target, wish.target) as waiting,
    ):
        with _at_rest(source, wish, clock) as reading:
            with _of(wish.target), target.begin() as writing:
                landing.clear(writing, gate.copy(reading))
                gate.begin_copy(writing, token)
            with target.begin() as writing:
                quiet.take_time(writing)
                awake = quiet.Awake(clock, *waiting)
                copied = copying.fill(reading, writing, token, clock.wall(), awake)
            if not wish.keep:
                gate.retire(reading, _moved(wish, token))
        with target.begin() as writing:
            copying.finish(writing, token)
            installation.record(writing, _done(wish, clock.wall()))
    return copied


@contextmanager
def _said_again() -> Iterator[None]:
    """However far it came when a store failed: what is to be done is the same."""
    try:
        yield
    except StoreUnavailable as error:
        if error.code != StoreUnavailable.code:
            raise
        raise StoreUnavailable(str(error), hint=_AGAIN) from None


_AGAIN = (
    "check both databases, their disks, and what their users may do; then the same "
    "command again"
)


@contextmanager
def _of(url: str) -> Iterator[None]:
    """Name the store that failed, where only one of them is worked on."""
    try:
        yield
    except StoreUnavailable as error:
        if error.code != StoreUnavailable.code:
            raise
        raise StoreUnavailable(f"{place(url)}: {error}") from None


def _moved(wish: Wish, token: str) -> gate.Move:
    return gate.Move(to=place(wish.target), copy=token, schema=migrate.head())


def _done(wish: Wish, now: datetime) -> Action:
    return Action(
        at=now,
        actor=wish.actor,
        via="cli",
        verb="copy",
        sync="",
        run_id=None,
        reason=f"from {place(wish.source)}",
    )


# ---- the source --------------------------------------------------------------------


@contextmanager
def _undisturbed(url: str) -> Iterator[Database]:
    if is_sqlite(url) and not sqlite_path(url).is_file():
        raise StoreUnavailable(
            f"there is no store at {sqlite_path(url)}", code="store.missing"
        )
    with ExitStack() as held:
        with _told_instead():
            held.enter_context(locked(url))
        yield held.enter_context(_opened(url))


@contextmanager
def _told_instead() -> Iterator[None]:
    """Who works on the source: what to do then is another thing than at the target."""
    try:
        yield
    except StoreInUse as error:
        raise StoreInUse(str(error), hint=_INSTEAD) from None


_INSTEAD = (
    "stop every daemon and command on it; or try it with a backup: "
    "syncd db copy --keep --from sqlite:///BACKUP"
)


@contextmanager
def _at_rest(database: Database, wish: Wish, clock: Clock) -> Iterator[Connection]:
    """One transaction on the source, in which nobody else writes."""
    shared = database.dialect == "postgresql"
    # A SQLite store that stays in use is not written to at all.
    begin = database.read if wish.keep and not shared else database.begin
    with ExitStack() as held:
        with _of(wish.source):
            connection = held.enter_context(begin())
            _require_ours(connection, wish)
        # Whoever else works on it lives by the same clock.
        shared_clock.follow_by(connection, clock)
        if shared:
            with _told_instead():
                quiet.hold(connection, clock.wall(), SILENT_AFTER)
            if not wish.keep:
                # What a failover lost is known to this server alone.
                failovers.look(connection, clock.now(), lossless=False)
        else:
            copying.require_readable(connection)
            if not is_sqlite(wish.target):
                _require_storable(copying.unstorable(connection))
        yield connection


def _require_ours(connection: Connection, wish: Wish) -> None:
    """Raises `StoreRefused` unless it has this program's schema and is in use.

    A store that was moved may be moved there again: the new place was lost, or half of
    it is there.
    """
    revision = migrate.standing(connection)
    if revision == gate.MOVED and not wish.keep:
        moved = gate.move(connection)
        if moved is not None and moved.to == place(wish.target):
            revision = moved.schema
    gate.refuse(connection, revision)
    migrate.refuse_newer(revision)
    if revision is None:
        raise StoreUnavailable(
            f"there is no store at {place(wish.source)}", code="store.missing"
        )
    if revision != migrate.head():
        raise StoreRefused(
            f"the old store has schema {revision}, and this program copies "
            f"{migrate.head()}",
            hint="syncd db migrate, with a configuration whose store.url is "
            f"{place(wish.source)}; then the same command again",
        )


def _require_storable(found: Sequence[tuple[str, int]]) -> None:
    if found:
        places = ", ".join(f"{rows} of {column}" for column, rows in found)
        raise StoreRefused(
            f"Postgres takes no text with a NUL character in it: {places}",
            code="copy.nul",
            hint="syncd explain copy.nul",
        )


# ---- the target --------------------------------------------------------------------


@contextmanager
def _made(url: str) -> Iterator[Database]:
    with locked(url):
        if is_sqlite(url):
            create_file(sqlite_path(url))
        with _opened(url) as database:
            yield database


@contextmanager
def _alone(target: Database, url: str) -> Iterator[Sequence[Connection]]:
    """One copy at a time into a place; of a SQLite file the lock says so.

    Yields the transaction that has it elsewhere and waits, if there is one.
    """
    if target.dialect == "sqlite":
        yield ()
        return
    with ExitStack() as held:
        # In a transaction of its own, so that it holds behind a pooler, too.
        with _of(url):
            connection = held.enter_context(target.begin())
            quiet.take_place(connection)
        yield (connection,)
        with suppress(StoreUnavailable):  # all is done, and it has nothing to keep
            held.close()


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    try:
        database = Database(url, readers=2)
    except ModuleNotFoundError as error:
        raise StoreUnavailable(
            f"the store's driver {error.name} is not installed",
            hint="python -m pip install 'syncd[postgres]'",
        ) from None
    with closing(database):
        yield database
