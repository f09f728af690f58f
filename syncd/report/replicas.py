"""Which processes share the store, and which syncs each of them works on now.

On SQLite there is one daemon at most. A process that is not a daemon (`syncd run`
beside one) has no heartbeat and is known by the syncs it works on alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.report.daemons import alive, ticks
from syncd.report.words import plural, relative, span
from syncd.store import holders
from syncd.store.database import Connection
from syncd.store.installation import Daemon

NAMED = 8
"""Syncs that are named; of more it is told how many."""
QUIET = timedelta(seconds=25)
"""Two heartbeats were missed: it may be gone, though it counts as alive for now."""
FORGOTTEN = timedelta(days=1)
"""Whoever is silent for longer is no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One process, as its heartbeats and the leases tell."""

    host: str
    pid: int
    daemon: Daemon | None
    """None: a command, which gives no sign of life but its leases."""
    alive: bool
    syncs: tuple[str, ...]
    """It works on them, by name; a silent one keeps its own until its lease is over."""


def replicas(
    connection: Connection, daemons: Sequence[Daemon], wall: datetime
) -> list[Replica]:
    """All of them that did not say goodbye, those that live first, then by host.

    Of the silent ones, those that a newer one took the place of are left out, and those
    of which nobody wants to know any more.
    """
    living, held = alive(list(daemons), wall), _by_holder(connection, wall)
    found = [
        Replica(
            host=each.host,
            pid=each.pid,
            daemon=each,
            alive=each in living,
            syncs=tuple(held.get(each.holder, ())),
        )
        for each in daemons
        if each in living or _is_news(each, living, wall)
    ]
    known = {each.holder for each in daemons}
    others = {name: syncs for name, syncs in held.items() if name not in known}
    found += _commands(others)
    return sorted(found, key=lambda one: (not one.alive, one.host, one.pid))


def _is_news(silent: Daemon, living: Sequence[Daemon], wall: datetime) -> bool:
    replaced = any(
        each.host == silent.host
        and each.role is silent.role
        and each.started_at > silent.started_at
        for each in living
    )
    return not replaced and wall - silent.heartbeat_at < FORGOTTEN


def _commands(held: Mapping[str, Sequence[str]]) -> Iterator[Replica]:
    for holder, syncs in held.items():
        process = holders.process_of(holder)
        if process is not None:
            yield Replica(
                host=process.host,
                pid=process.pid,
                daemon=None,
                alive=True,
                syncs=tuple(syncs),
            )


def _by_holder(connection: Connection, wall: datetime) -> Mapping[str, list[str]]:
    held: dict[str, list[str]] = defaultdict(list)
    for sync, holder in holders.at_work(connection, wall):
        held[holder].append(sync)
    return held


def standing_words(one: Replica, wall: datetime) -> str:
    """`up 6 d 2 h`, `worker, up 3 min`, `last sign of life 34 s ago`, `silent, last
    sign of life 3 h ago`, `a command`."""
    if one.daemon is None:
        return "a command"
    who = "" if ticks(one.daemon) else "worker, "
    last = f"last sign of life {relative(one.daemon.heartbeat_at, wall)}"
    if not one.alive:
        return f"{who}silent, {last}"
    if wall - one.daemon.heartbeat_at >= QUIET:
        return f"{who}{last}"
    return f"{who}up {span(max(wall - one.daemon.started_at, timedelta(0)))}"


def work_words(one: Replica) -> str:
    """`power-users, churn-risk`, `41 syncs`, `idle`."""
    if not one.syncs:
        return "idle"
    if len(one.syncs) > NAMED:
        return plural(len(one.syncs), "sync")
    return ", ".join(one.syncs)


def replica_document(one: Replica) -> dict[str, object]:
    """One of the `daemons` of `status --json`; a command's role is `command`."""
    daemon = one.daemon
    return {
        "role": "command" if daemon is None else daemon.role,
        "host": one.host,
        "pid": one.pid,
        "version": daemon and daemon.version,
        "started_at": daemon and daemon.started_at,
        "heartbeat_at": daemon and daemon.heartbeat_at,
        "alive": one.alive,
        "working_on": list(one.syncs),
    }
