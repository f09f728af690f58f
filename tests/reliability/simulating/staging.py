"""Who takes part in a simulated history, and how the world around it moves.

Sources, destinations and the configuration; each `on_…` is an event of that name.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from syncd.config.settings import DeliverySettings, GuardSettings, ToCohort
from syncd.model import IdType
from syncd.store import bindings, inbox
from syncd.store.database import Database
from tests.builders import World, new_database, people, sync_settings
from tests.reliability.simulating.histories import INVALID, PEOPLE, Cast, History
from tests.reliability.simulating.outsides import (
    ODD_IDS,
    AskedList,
    Destination,
    ToldFeed,
    ToldList,
    Watch,
    as_type,
    valid,
)
from tests.reliability.simulating.stepwise import VirtualClock

NAMES = "abc"
HOUR = timedelta(hours=1)
GUARDS = {
    "tight": GuardSettings(
        max_exit=0.5, max_enter=10.0, ignore_below=3, on_trip="hold"
    ),
    "usual": GuardSettings(
        max_exit=0.2, max_enter=10.0, ignore_below=5, on_trip="hold"
    ),
    "none": GuardSettings(
        max_exit=1.0,
        max_enter=1000.0,
        ignore_below=50,
        max_exit_24h=None,
        on_trip="hold",
    ),
}
SOURCE_TROUBLES = {"down", "midway"}
Heard = Callable[[str, frozenset[bytes]], None]


class Store:
    """One store, made new for each history: what was compiled for it stays compiled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        new_database(folder).close()
        shutil.copyfile(folder / "syncd.db", folder / "history.db")
        self._empty = sqlite3.connect(folder / "syncd.db")
        self.database = Database(f"sqlite:///{folder / 'history.db'}")

    def renew(self) -> Database:
        """The store as it is before anything happened."""
        with closing(sqlite3.connect(self.folder / "history.db")) as there:
            self._empty.backup(there)
        return self.database

    def close(self) -> None:
        """Close every connection."""
        self._empty.close()
        self.database.close()


class Stage:
    """The syncs of one history and all around them but our own process."""

    def __init__(
        self,
        database: Database,
        spool: Path,
        history: History,
        *,
        watch: Watch,
        heard: Heard,
    ) -> None:
        self.clock = VirtualClock()
        self.world = World(database=database, spool=spool, clock=self.clock)
        self.sources: dict[str, ToldList | ToldFeed] = {}
        self.vendors: dict[str, Destination] = {}
        self.casts = dict(zip(NAMES, history.casts, strict=False))
        self._older: dict[str, list[set[bytes]]] = {}
        self._watch, self._heard = watch, heard
        for name, cast in self.casts.items():
            self._cast(name, cast)

    # ---- who takes part ----

    def _cast(self, name: str, cast: Cast) -> None:
        vendor = Destination(
            clock=self.clock,
            style=cast.style,
            known=_both(people(*range(PEOPLE - 5))),
            invalid=people(*INVALID) if cast.style == "cohort" else set(),
            can_probe=cast.style == "cohort",
        )
        vendor.told = self._watch
        self.vendors[name] = self.world.vendors[f"out-{name}"] = vendor
        delay = timedelta(seconds=1 if cast.patient else 0)
        changes: dict[str, Any] = {
            "target": ToCohort(
                connection=f"out-{name}", cohort_id=None, cohort=f"C {name}", owner="o"
            ),
            "guard": GUARDS[cast.guard],
            "max_runtime": timedelta(hours=3 if cast.patient else 1),
            "delivery": DeliverySettings(
                batch_size=1 if cast.style == "partner" else 3,
                retries=8,
                first_delay=delay,
                max_delay=128 * delay,
            ),
        }
        self._source(name, cast, changes)
        self._break(name, cast)

    def _source(self, name: str, cast: Cast, changes: dict[str, Any]) -> None:
        told = partial(self._heard, name)
        if cast.source == "fed":
            feed = ToldFeed(
                sync_settings(name, **changes), self.world.database, self.clock
            )
            self.world.syncs[name] = feed.settings
            self.sources[name] = self.world.feeds[name] = feed
            with self.world.database.begin() as connection:
                inbox.ensure(connection, [feed.feed], self.clock.now())
            feed.told = told
            return
        source = AskedList() if cast.source == "asked" else ToldList()
        source.told = told
        self.sources[name] = self.world.sources[name] = source
        self.world.sync(name, **changes)

    def _break(self, name: str, cast: Cast) -> None:
        """What is wrong with it for ever."""
        source = self.sources[name]
        if cast.broken in SOURCE_TROUBLES and isinstance(source, ToldList):
            source.trouble = f"always_{cast.broken}"
        else:
            self.vendors[name].constant = cast.broken

    def whole(self) -> list[str]:
        """The syncs that are not broken for ever."""
        return [name for name, cast in self.casts.items() if not cast.broken]

    def wanted(self, name: str) -> frozenset[bytes]:
        """Whom the source wants now."""
        source = self.sources[name]
        if isinstance(source, ToldFeed):
            return frozenset(source.wanted())
        return valid(source.everybody(), source.id_type)

    def clear(self) -> None:
        """Faults that no run took up are over."""
        for name, cast in self.casts.items():
            vendor, source = self.vendors[name], self.sources[name]
            vendor.orders.clear()
            vendor.finds.clear()
            vendor.constant = "" if cast.broken in SOURCE_TROUBLES else cast.broken
            if isinstance(source, ToldList) and not cast.broken:
                source.trouble = ""

    # ---- the source ----

    def on_list(self, name: str, numbers: list[int]) -> None:
        self._move(name, people(*numbers), anew=True)

    def on_enter(self, name: str, numbers: list[int]) -> None:
        self._move(name, self._inside(name) | people(*numbers))

    def on_exit(self, name: str, numbers: list[int]) -> None:
        self._move(name, self._inside(name) - people(*numbers))

    def on_older(self, name: str, back: int) -> None:
        """A list as it was before (a replica that lags), or words that come late."""
        source, before = self.sources[name], self._older.get(name, [])
        if isinstance(source, ToldFeed):
            gone = people(*range(back, PEOPLE, 7))
            source.speak(set(), gone, ago=back * HOUR)
        elif len(before) > back:
            self._move(name, before[-1 - back])

    def _inside(self, name: str) -> set[bytes]:
        source = self.sources[name]
        return source.wanted() if isinstance(source, ToldFeed) else source.members

    def _move(self, name: str, to: set[bytes], *, anew: bool = False) -> None:
        source = self.sources[name]
        if isinstance(source, ToldFeed):
            inside = source.wanted()
            source.speak(to - inside, inside - to, timedelta(0))
            return
        self._older.setdefault(name, []).append(set(to))
        source.members = set(to)
        if isinstance(source, AskedList):
            source.edition += 1

    def on_odd(self, name: str, indexes: list[int]) -> None:
        source = self.sources[name]
        if isinstance(source, ToldList):
            source.odd = {ODD_IDS[each] for each in indexes}
        if isinstance(source, AskedList):
            source.edition += 1

    def on_source(self, name: str, how: str) -> None:
        source = self.sources[name]
        if how == "not_now":
            return self._postpone(source)
        if isinstance(source, ToldList) and not source.trouble:
            source.trouble = how
        return None

    def _postpone(self, source: ToldList | ToldFeed) -> None:
        if isinstance(source, AskedList):
            source.postpone()

    # ---- the destination ----

    def on_known(self, name: str, numbers: list[int]) -> None:
        self.vendors[name].known |= _both(people(*numbers))

    def on_key(self, name: str, refused: bool) -> None:
        self.vendors[name].locked_out = refused

    def on_largest(self, name: str, largest: int) -> None:
        self.vendors[name].largest = largest

    def on_archived(self, name: str, archived: bool) -> None:
        for cohort in self.vendors[name].cohorts.values():
            cohort.archived = archived

    def on_gone(self, name: str, gone: bool) -> None:
        for key in self._bound(name):
            self.vendors[name].cohorts[key].gone = gone

    def on_renamed(self, name: str) -> None:
        for key in self._bound(name):
            self.vendors[name].cohorts[key].name += "!"

    def on_edited(self, name: str, enter: list[int], leave: list[int]) -> None:
        for key in self._bound(name):
            self.vendors[name].edit(key, enter=people(*enter), leave=people(*leave))

    def _bound(self, name: str) -> list[str]:
        """The cohort that the sync knows by its id: if it was another one, a new one
        might be made, rightly."""
        with self.world.database.read() as connection:
            binding = bindings.current(connection, name)
        known = self.vendors[name].cohorts
        key = binding.external_id if binding is not None else None
        return [key] if key in known else []

    # ---- the configuration, the clock ----

    def on_query(self, name: str) -> None:
        source = self.sources[name]
        if isinstance(source, ToldList):
            source.named += "+"

    def on_match(self, name: str) -> None:
        source, sync = self.sources[name], self.world.syncs[name]
        if isinstance(source, ToldList) and self.vendors[name].style == "cohort":
            other = {IdType.USER_ID: IdType.AMPLITUDE_ID}
            source.id_type = other.get(sync.match, IdType.USER_ID)
            self.world.syncs[name] = replace(sync, match=source.id_type)

    def on_target(self, name: str) -> None:
        sync = self.world.syncs[name]
        assert isinstance(sync.target, ToCohort)
        target = replace(sync.target, cohort=f"{sync.target.cohort}'")
        self.world.syncs[name] = replace(sync, target=target)

    def on_clock(self, _: str, seconds: int) -> None:
        self.clock.step(timedelta(seconds=seconds))

    def on_reload(self, _: str) -> None:
        """The same configuration once more."""

    # ---- faults of the next run ----

    def on_answer(self, name: str, request: int, what: str) -> None:
        self.vendors[name].order(request, what)

    def on_always(self, name: str, what: str) -> None:
        self.vendors[name].constant = what

    def on_find(self, name: str, what: str) -> None:
        self.vendors[name].finds.append(what)


def _both(members: set[bytes]) -> set[bytes]:
    """People by either id."""
    return members | {as_type(each, IdType.AMPLITUDE_ID) for each in members}
