"""Channels and the dead man's switch: can they be told? Nobody is, here."""

from collections.abc import Iterator

from syncd.app.doctor.findings import Blame, Finding, fail, ok
from syncd.app.posting import NotTaken, address, request_of
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.config.settings_notifications import ChannelSettings, Outward
from syncd.notify.sample import sample
from syncd.report.words import span

TELLING = "notifications"


def told(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Each channel, and the heartbeats; nothing where nobody is to be told."""
    for channel in settings.notifications.channels.values():
        yield _channel(settings, channel, clock)
    heartbeat = settings.notifications.heartbeat
    if heartbeat is not None:
        when = f"every {span(heartbeat.every)} ({heartbeat.only_when})"
        yield _heartbeat("heartbeat", heartbeat.outward, when, clock)
    for sync in settings.syncs:
        if sync.heartbeat_url is not None:
            outward = Outward(url=sync.heartbeat_url, ca_file=None, proxy_url=None)
            yield _heartbeat(f"heartbeat of {sync.name}", outward, "by run", clock)


def _heartbeat(subject: str, outward: Outward, when: str, clock: Clock) -> Finding:
    try:
        origin, _ = address(outward, clock)
    except NotTaken as error:
        return _failed(subject, error)
    return ok(subject, f"pings go to {_host(origin)} {when}; none was sent")


def _channel(settings: Settings, channel: ChannelSettings, clock: Clock) -> Finding:
    message = sample(
        "msg_doctor",
        channel=channel.name,
        instance=settings.instance,
        page="",
        now=clock.now(),
    )
    subject = f"channel {channel.name}"
    try:
        origin, _ = address(channel.outward, clock)
        request_of(channel, message, clock)
    except NotTaken as error:
        return _failed(subject, error)
    what = f"messages go to {_host(origin)}; none was sent"
    return ok(subject, f"{what}, try it: syncd notify test {channel.name}")


def _failed(subject: str, error: NotTaken) -> Finding:
    return fail(subject, str(error), error.hint or "syncd check", Blame.CONFIG)


def _host(origin: str) -> str:
    return origin.partition("://")[2]
