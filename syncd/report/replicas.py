"""Which processes share the store, and which syncs each of them works on now.

On SQLite there is one at most. A process that is not a daemon (`syncd run` beside one)
has no heartbeat and is named by the syncs it works on alone.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.report.daemons import alive, ticks
from syncd.report.words import plural, relative, span
from syncd.store import leases
from syncd.store.database import Connection
from syncd.store.installation import Daemon

NAMED = 3
"""Syncs that are named; of more it is told how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One daemon, as its heartbeats and the leases tell."""

    daemon: Daemon
    alive: bool
    syncs: tuple[str, ...]
    """It works on them, by name; a silent one keeps its own until its lease is over."""


def replicas(
    connection: Connection, daemons: Sequence[Daemon], wall: datetime
) -> list[Replica]:
    """All of them that did not say goodbye, those that live first, then by host."""
    living, held = alive(list(daemons), wall), _by_holder(connection)
    found = [
        Replica(
            daemon=each, alive=each in living, syncs=tuple(held.get(each.holder, ()))
        )
        for each in daemons
    ]
    return sorted(
        found, key=lambda one: (not one.alive, one.daemon.host, one.daemon.pid)
    )


def _by_holder(connection: Connection) -> Mapping[str, list[str]]:
    held: dict[str, list[str]] = defaultdict(list)
    for sync, holder in leases.worked_on(connection):
        held[holder].append(sync)
    return held


def standing_words(one: Replica, wall: datetime) -> str:
    """`up 6 d 2 h`, `worker, up 3 min`, `silent, last sign of life 3 h ago`."""
    who = "" if ticks(one.daemon) else "worker, "
    if one.alive:
        return f"{who}up {span(max(wall - one.daemon.started_at, timedelta(0)))}"
    return f"{who}silent, last sign of life {relative(one.daemon.heartbeat_at, wall)}"


def work_words(one: Replica) -> str:
    """`power-users, churn-risk`, `41 syncs`, `idle`."""
    if not one.syncs:
        return "idle"
    if len(one.syncs) > NAMED:
        return plural(len(one.syncs), "sync")
    return ", ".join(one.syncs)
