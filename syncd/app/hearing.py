"""Who hears what: the channels that are told of a sync, and what each of them sees.

Replicas do not always have the same configuration: while they are replaced one by one,
or where one missed its SIGHUP. What the files of this one do not name may be another's,
who is about to tell it: as long as others live it is left alone for a while.
"""

import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.app.observing.known import ends
from syncd.config.settings import Settings
from syncd.config.settings_notifications import ChannelSettings
from syncd.errors import SyncdError
from syncd.model import Condition
from syncd.notify import RESOLVED, Channel, Kind, Seen
from syncd.notify.conditions import Changes, Sight, observe, wanted
from syncd.notify.messages import Scene
from syncd.report.daemons import alive, ticks
from syncd.store import installation
from syncd.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One channel, and what concerns it now."""

    channel: Channel
    sight: Sight


def channel_of(settings: ChannelSettings) -> Channel:
    """What a channel wants to be told."""
    return Channel(
        name=settings.name,
        kinds=frozenset(Kind(each) for each in settings.events if each != RESOLVED),
        tells_resolved=RESOLVED in settings.events,
        repeat_every=settings.repeat_every,
    )


def views_of(
    settings: Settings,
    seen: Sequence[Seen],
    masked: Mapping[str, frozenset[Kind]],
    unsure: Collection[str],
) -> dict[str, View]:
    """Channel -> what concerns it of all that is seen."""
    return {
        channel.name: _view(settings, channel, seen, masked, unsure)
        for channel in map(channel_of, settings.notifications.channels.values())
    }


def _view(
    settings: Settings,
    channel: Channel,
    seen: Sequence[Seen],
    masked: Mapping[str, frozenset[Kind]],
    unsure: Collection[str],
) -> View:
    about = (
        (each, (each.sync,) if each.sync is not None else each.concerns)
        for each in seen
    )
    heard = [each for each, syncs in about if _hears(settings, channel.name, syncs)]
    return View(channel=channel, sight=wanted(channel, heard, masked, unsure))


def changes(
    settings: Settings,
    views: Mapping[str, View],
    rows: Sequence[Condition],
    now: datetime,
    tidied: Collection[str] | None = None,
) -> list[Changes]:
    """What becomes of the rows; empty where nothing does.

    `tidied`: keys of strange rows that end all the same; None: all of them do.
    """
    if tidied is not None:
        strange = frozenset(strangers(settings, views, rows)).difference(tidied)
        rows = [row for row in rows if row.key not in strange]
    heard = [row for row in rows if _is_heard(settings, row, views)]
    found = [
        observe(
            view.channel,
            [row for row in heard if row.channel == name],
            view.sight,
            now,
        )
        for name, view in views.items()
    ]
    found.append(Changes(drop=tuple(row.key for row in rows if row not in heard)))
    return [each for each in found if each.put or each.drop]


def strangers(
    settings: Settings, views: Mapping[str, View], rows: Sequence[Condition]
) -> list[str]:
    """Keys of rows that are about nothing in this configuration, or for nobody."""
    running = [sync for sync in settings.syncs if sync.enabled]
    syncs = {sync.name for sync in running}
    shared = {*settings.connections, *(end for sync in running for end in ends(sync))}
    return [
        row.key
        for row in rows
        if not _is_heard(settings, row, views)
        or not (row.subject in syncs if row.sync else _is_shared(row, shared))
    ]


def _is_shared(row: Condition, connections: Collection[str]) -> bool:
    return row.kind == Kind.CONFIG or row.subject in connections


def _hears(settings: Settings, channel: str, about: Collection[str | None]) -> bool:
    """Whether a channel is told of these syncs: one names it, or there is none."""
    named = [sync.notify for sync in settings.syncs if sync.name in about]
    return not named or any(each is None or channel in each for each in named)


def of_config(refusal: SyncdError | None) -> list[Seen]:
    """What is wrong with the files that this process read last."""
    if refusal is None:
        return []
    host = socket.gethostname()
    problems = getattr(refusal, "problems", ())
    code = problems[0].code if problems else refusal.code
    return [
        Seen(
            kind=Kind.CONFIG,
            subject=host,
            cause=code,
            headline=f"{host}: the changed configuration is refused ({code}), "
            "the old one stays",
            command="syncd check",
            code="config.reload_failed",
        )
    ]


def others(connection: Connection, wall: datetime) -> set[str]:
    """The hosts of other replicas: they know how it is with their configuration."""
    living = alive(installation.daemons(connection), wall)
    return {each.host for each in living} - {socket.gethostname()}


def has_company(connection: Connection, holder: str, wall: datetime) -> bool:
    """Whether another daemon than `holder` lives on this store."""
    living = alive(installation.daemons(connection), wall)
    return any(ticks(each) and each.holder != holder for each in living)


def _is_heard(settings: Settings, row: Condition, views: Mapping[str, View]) -> bool:
    """Whether its channel still exists and wants such rows."""
    view = views.get(row.channel)
    if view is None or row.kind not in view.channel.kinds:
        return False
    return row.sync is None or _hears(settings, row.channel, (row.sync,))


def scene_of(settings: Settings, view: View, now: datetime) -> Scene:
    """What the messages to a channel are made from."""
    return Scene(
        instance=settings.instance,
        page=settings.web.page.base_url or "",
        seen=view.sight.seen,
        syncs=frozenset(sync.name for sync in settings.syncs if sync.enabled),
        now=now,
    )
