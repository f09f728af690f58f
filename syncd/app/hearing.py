"""Who hears what: the channels that are told of a sync, and what each of them sees."""

import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.config.settings import Settings
from syncd.config.settings_notifications import ChannelSettings
from syncd.errors import SyncdError
from syncd.model import Condition
from syncd.notify import RESOLVED, Channel, Kind, Seen
from syncd.notify.conditions import Changes, Sight, observe, wanted
from syncd.notify.messages import Scene
from syncd.report.daemons import SILENT_AFTER
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
) -> list[Changes]:
    """What becomes of the rows; empty where nothing does."""
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
    alive = {
        each.host
        for each in installation.daemons(connection)
        if wall - each.heartbeat_at < SILENT_AFTER
    }
    return alive - {socket.gethostname()}


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
