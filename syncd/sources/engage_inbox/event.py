"""What one event of Engage means: who is in which audience, or why it says nothing.

The rules are contract section 3 (M1 to M5, M7) with one of our own: the texts true and
false count, in any case, since the documents show them. The event's name is never
looked at, it can be edited. What is not plainly in or out is left out and counted: it
neither adds nor removes. What cannot be read raises `Refused` with 400.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from syncd.model import Feed, IdType, Message, Told
from syncd.sources.door import Refused
from syncd.sources.engage_inbox.settings import EngageDoorSettings

OLDEST = timedelta(days=7)
"""As long as the ids of messages are kept: older ones may be a replay."""
NEWEST = timedelta(hours=1)
"""Ahead of us a sender's clock may be. What is newest wins, so a clock that runs wild
would win for ever: such an event counts as of its arrival. It is not left out, since
the clock that is wrong may be ours."""
MAX_CHARACTERS = 255
"""Of an audience's key and of a message's id (Segment allows under 100)."""


class Result(StrEnum):
    """Why an event was left out; beside them the reasons of `sync.ids`."""

    IGNORED = "ignored"
    """No membership: a page, a group, a computed trait."""
    ANONYMOUS = "anonymous"
    """Of somebody with an anonymous id only."""
    UNNAMED = "unnamed"
    """Without any id of a person, as journeys of the old kind are documented."""
    UNKNOWN_VALUE = "unknown_value"
    """Neither true nor false: neither adds nor removes."""
    TEST = "test"
    """Sent by Segment's event tester: changes nothing."""
    TOO_OLD = "too_old"
    """Became so before `OLDEST`."""
    FROM_THE_FUTURE = "from_the_future"
    """Became so after `NEWEST`: taken, as of its arrival."""
    MALFORMED = "malformed"
    """Not to be read, in a batch whose others are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What an event comes to: a message, or why there is none."""

    message: Message | None = None
    results: Mapping[str, int] = field(default_factory=dict)
    """Ids that were refused are counted beside a message, too."""


_MEMBERS = {"identify": "traits", "track": "properties"}
"""Where the value is, by the type of the event (M3)."""
_NO_MEMBERSHIP = frozenset(("group", "page", "screen", "alias"))
_CLASSES = frozenset(("audience", "journey_step"))
_TESTER = "event_tester_"


def hear(event: Any, settings: EngageDoorSettings, now: datetime) -> Heard:
    """What one event says. Raises `Refused` with 400."""
    event = _unwrapped(event)
    kind = _text(event, "type")
    if kind in _NO_MEMBERSHIP:
        return _left(Result.IGNORED)
    if kind != "delete" and kind not in _MEMBERS:
        raise _malformed(
            "type.unknown" if kind else "type.missing",
            "its `type` is not one that Segment sends"
            if kind
            else "it has no `type`: map the whole event",
        )
    if kind == "delete":
        return _deletion(event, settings, now)
    return _membership(event, _MEMBERS[kind], settings, now)


def _membership(
    event: Mapping[str, Any], place: str, settings: EngageDoorSettings, now: datetime
) -> Heard:
    personas = _personas(event)
    class_ = _required(personas, "computation_class")
    if class_ not in _CLASSES:
        return _left(Result.IGNORED)
    key = _label(_required(personas, "computation_key"), "computation_key")
    if _text(personas, "event_emitter_id").startswith(_TESTER):
        return _left(Result.TEST)
    people = _people(event, settings)
    at = _at(event)
    holder = _object(event, place)
    read = _key_read(personas, key, settings)
    inside = _inside(holder.get(key), enter=read in settings.entered_without_value)
    if inside is None:
        return _left(Result.UNKNOWN_VALUE)
    if _is_old(at, now):
        return _left(Result.TOO_OLD)
    if not people.named:
        return Heard(results=people.results)
    at, results = _no_later(at, now, people.results)
    tie = _message_id(event)
    told = tuple(
        Told(
            feed=Feed(connection=settings.connection, key=read, id_type=id_type),
            ids=(id_,),
            inside=inside,
            at=at,
            tie=tie,
            name=_name(event),
        )
        for id_, id_type in people.named
    )
    message = Message(connection=settings.connection, id=tie, told=told)
    return Heard(message=message, results=results)


def _key_read(
    personas: Mapping[str, Any], key: str, settings: EngageDoorSettings
) -> str:
    """The key by which a sync reads this audience: the event's own, or else the id that
    we gave Engage when it announced the audience (`hooks`; a renamed one has another
    key than its name tells)."""
    given = personas.get("external_audience_id")
    if key in settings.readers or not isinstance(given, str):
        return key
    return given if given in settings.readers else key


def _deletion(
    event: Mapping[str, Any], settings: EngageDoorSettings, now: datetime
) -> Heard:
    """A person whom Segment was asked to forget (contract 4.2)."""
    people = _people(event, settings)
    at = _at(event)
    if _is_old(at, now):
        return _left(Result.TOO_OLD)
    if not people.named:
        return Heard(results=people.results)
    at, results = _no_later(at, now, people.results)
    message = Message(
        connection=settings.connection,
        id=_message_id(event),
        deleted=people.named,
        deleted_at=at,
    )
    return Heard(message=message, results=results)


@dataclass(frozen=True, slots=True, kw_only=True)
class _People:
    named: tuple[tuple[bytes, IdType], ...]
    """The one person, by each kind of id that may be used."""
    results: Mapping[str, int]


def _people(event: Mapping[str, Any], settings: EngageDoorSettings) -> _People:
    """Whom the event is about. A `userId` that is a number is refused: Segment sends
    texts only, and which text another writer meant is a guess."""
    presented = [
        (_text(event, "userId"), IdType.USER_ID),
        (_at_path(event, settings.amplitude_id), IdType.AMPLITUDE_ID),
    ]
    if not any(id_ for id_, _id_type in presented):
        anonymous = _text(event, "anonymousId")
        why = Result.ANONYMOUS if anonymous else Result.UNNAMED
        return _People(named=(), results={why.value: 1})
    named: list[tuple[bytes, IdType]] = []
    refused: Counter[str] = Counter()
    for id_, id_type in presented:
        if id_:
            kept, reasons = settings.accept([id_.encode()], id_type)
            named += [(each, id_type) for each in kept]
            refused.update({str(reason): n for reason, n in reasons.items()})
    return _People(named=tuple(named), results=refused)


def _at_path(event: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """The Amplitude id as text; empty where there is none. A number is written out, and
    anything else is a text that hygiene refuses."""
    if not path:
        return ""
    value: Any = event
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value or ""
    return str(value)


def _inside(value: Any, *, enter: bool) -> bool | None:
    """In, out, or None for unknown. `enter`: no value at all means in (M7); an odd one
    stays unknown."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return True if enter and value is None else None


def _is_old(at: datetime | None, now: datetime) -> bool:
    return at is not None and at < now - OLDEST


def _no_later(
    at: datetime | None, now: datetime, results: Mapping[str, int]
) -> tuple[datetime | None, Mapping[str, int]]:
    """The time, or None where it cannot be believed, which is counted."""
    if at is None or at <= now + NEWEST:
        return at, results
    return None, {**results, Result.FROM_THE_FUTURE.value: 1}


def _at(event: Mapping[str, Any]) -> datetime | None:
    """When it became so; None where the event does not say. Zoned ISO 8601 (T7)."""
    for name in ("timestamp", "originalTimestamp", "receivedAt"):
        if text := _text(event, name):
            return _instant(text, name)
    return None


def _instant(text: str, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _malformed("time.malformed", f"its `{name}` is no ISO time with a zone")


def _message_id(event: Mapping[str, Any]) -> str:
    return _label(_text(event, "messageId"), "messageId")


def _name(event: Mapping[str, Any]) -> str:
    """What the audience is called; only Linked Audiences say so (contract 4.1)."""
    properties = event.get("properties")
    name = properties.get("audience_name") if isinstance(properties, dict) else None
    return name[:MAX_CHARACTERS] if isinstance(name, str) and name.isprintable() else ""


def _personas(event: Mapping[str, Any]) -> Mapping[str, Any]:
    personas = _object(event, "context").get("personas")
    if personas is None:
        raise Refused(
            400,
            "there is no `context.personas`, so no audience is named",
            code="personas.missing",
            hint="in Segment, map the webhook's `data` to the whole event (`$.`): it"
            " needs type, userId, messageId, timestamp, traits or properties, and"
            " context.personas with computation_class and computation_key",
        )
    if not isinstance(personas, dict):
        raise _malformed("personas.malformed", "its `context.personas` is no object")
    return personas


def _unwrapped(event: Any) -> dict[str, Any]:
    """The event; the Extensible Webhook sends it as `{"json": …}` (contract H10)."""
    if isinstance(event, dict) and event.keys() == {"json"}:
        event = event["json"]
    if not isinstance(event, dict):
        raise _malformed("event.malformed", "it is no JSON object")
    return event


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _malformed("event.malformed", f"its `{name}` is no object")
    return value


def _text(holder: Mapping[str, Any], name: str) -> str:
    """A text; empty where it is absent or null."""
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _malformed("event.malformed", f"its `{name}` is no text")
    return value


def _required(personas: Mapping[str, Any], name: str) -> str:
    if value := _text(personas, name):
        return value
    raise _malformed("personas.incomplete", f"its `context.personas.{name}` is missing")


def _label(text: str, name: str) -> str:
    """A text that is kept as a key, and so must be one that any store takes."""
    if len(text) > MAX_CHARACTERS or not text.isprintable():
        raise _malformed(
            "event.malformed", f"its `{name}` is too long or not printable"
        )
    return text


def _malformed(code: str, message: str) -> Refused:
    return Refused(400, f"the event cannot be read: {message}", code=code)


def _left(why: Result) -> Heard:
    return Heard(results={why.value: 1})
