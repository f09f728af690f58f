"""A message that looks like a real one and says first that nothing is wrong. Pure."""

from datetime import datetime

from syncd.model import Condition
from syncd.notify import Kind, News, Seen
from syncd.notify.messages import Item, Message

_SEEN = Seen(
    kind=Kind.HELD,
    subject="example",
    cause="guard.max_exit",
    headline="example is held: 1,234 of 5,000 people would leave (24.7%, limit 20%)",
    context=("nothing was sent",),
    usual="the definition was edited, tracking stopped",
    command="syncd explain guard.max_exit",
    code="guard.max_exit",
)


def sample(
    message_id: str, *, channel: str, instance: str, page: str, now: datetime
) -> Message:
    """What `syncd notify test` sends; each test has an id of its own."""
    row = Condition(
        channel=channel,
        kind=_SEEN.kind,
        subject=_SEEN.subject,
        sync=None,
        cause=_SEEN.cause,
        text=_SEEN.headline,
        opened_at=now,
    )
    return Message(
        id=message_id,
        channel=channel,
        instance=instance,
        news=News.OPENED,
        kind=_SEEN.kind,
        cause=_SEEN.cause,
        items=(Item(row=row, seen=_SEEN),),
        at=now,
        page=page,
        is_test=True,
    )
