"""Which feed each sync reads, and which connections are pushed to. Pure."""

from collections.abc import Iterator

from syncd.config.settings import FromCohort, Settings, SyncSettings
from syncd.config.settings_connections import AmplitudeConnection, EngageConnection
from syncd.model import Fed, Feed

INBOX, PUSH = "inbox", "push"
"""The two kinds of door, as their keys are called in the files: Engage's, Amplitude's.
"""


def feed_of(sync: SyncSettings) -> Feed | None:
    """The feed a sync reads; None where it is not fed by events."""
    source = sync.source
    if source.events is None:
        return None
    key = source.cohort_id if isinstance(source, FromCohort) else source.audience
    return Feed(connection=source.connection, key=key, id_type=sync.match)


def fed(settings: Settings) -> Iterator[tuple[SyncSettings, Feed]]:
    """Every sync that is fed by events, disabled ones too, with its feed."""
    for sync in settings.syncs:
        feed = feed_of(sync)
        if feed is not None:
            yield sync, feed


def fed_by(sync: SyncSettings) -> str | None:
    """`inbox` or `push`: what feeds a sync; None where whole lists do alone."""
    if sync.source.events is None:
        return None
    return PUSH if isinstance(sync.source, FromCohort) else INBOX


def what_feeds(settings: Settings, sync: SyncSettings) -> Fed | None:
    """What is pushed to a sync, and how old a list may be that corrects it."""
    feed, told = feed_of(sync), sync.source.events
    if feed is None or told is None:
        return None
    lag = told.snapshot_lag if _reads_lists(settings, sync) else None
    return Fed(feed=feed, list_lag=lag)


def _reads_lists(settings: Settings, sync: SyncSettings) -> bool:
    """Whether whole lists are ever read of what is pushed."""
    if isinstance(sync.source, FromCohort):
        told = sync.source.events
        return told is not None and told.relist_every is not None
    connection = settings.connections.get(sync.source.connection)
    return isinstance(connection, EngageConnection) and connection.snapshot is not None


def doors(settings: Settings) -> dict[str, str]:
    """Connection that is pushed to -> its kind of door, in the order of the files."""
    found: dict[str, str] = {}
    for name, each in settings.connections.items():
        match each:
            case EngageConnection(inbox=settings_) if settings_ is not None:
                found[name] = INBOX
            case AmplitudeConnection(push=settings_) if settings_ is not None:
                found[name] = PUSH
            case _:
                pass
    return found
