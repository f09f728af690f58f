"""The paths that Amplitude pushes to, and who may use them.

POST <path>/lists                  make a list
POST <path>/lists/{id}/add         people entered
POST <path>/lists/{id}/remove      people left; or an update, as vendor page 1 has it
POST <path>, <path>/properties     an update of properties, one or a batch
POST <path>/webhook                a cohort webhook
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from syncd.sources.amplitude_push.access import check_api_key, check_secret
from syncd.sources.amplitude_push.fields import as_object
from syncd.sources.amplitude_push.lists import Lists
from syncd.sources.amplitude_push.names import CohortNames
from syncd.sources.amplitude_push.properties import is_update, read_update
from syncd.sources.amplitude_push.settings import AmplitudeDoorSettings
from syncd.sources.amplitude_push.template_json import (
    TEMPLATE_HINT,
    parse_template,
)
from syncd.sources.amplitude_push.webhook import read_webhook
from syncd.sources.door import Delivery, Head, Refused, Reply
from syncd.sources.strict_json import InvalidJson, parse


class Call(Enum):
    """What a path is for."""

    CREATE = auto()
    ADD = auto()
    REMOVE = auto()
    UPDATE = auto()
    WEBHOOK = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path, understood."""

    call: Call
    list_id: str = ""


_FIXED = {
    (): Call.UPDATE,
    ("properties",): Call.UPDATE,
    ("lists",): Call.CREATE,
    ("webhook",): Call.WEBHOOK,
}
_CHANGES = {"add": Call.ADD, "remove": Call.REMOVE}


class AmplitudeDoor:
    """Where one Amplitude project pushes its cohorts to. Thread-safe."""

    def __init__(self, settings: AmplitudeDoorSettings) -> None:
        self._settings = settings
        self._names = CohortNames(settings.readers.keys())
        self._lists = Lists(settings, self._names)

    @property
    def connection(self) -> str:
        """See `Door.connection`."""
        return self._settings.connection

    @property
    def path(self) -> str:
        """See `Door.path`."""
        return self._settings.path

    @property
    def max_body(self) -> int:
        """See `Door.max_body`."""
        return self._settings.max_body

    def admit(self, head: Head) -> None:
        """Refuse an unknown or closed path, another method, or wrong credentials."""
        told = self._settings
        webhook = route_of(head.path).call is Call.WEBHOOK
        keys = told.webhook_secret if webhook else told.api_key
        if keys is None:
            raise _no_such_path()
        if head.method != "POST":
            raise Refused(405, "only POST is answered here", code="method")
        if webhook:
            check_secret(keys, told.webhook_header, head.headers, told.clock.now())
        else:
            check_api_key(keys, head.headers, told.clock.now())

    def read(self, head: Head, body: bytes) -> Delivery | Reply:
        """Read what was pushed. Raises `Refused`; `StoreError` where a list is asked
        for."""
        route = route_of(head.path)
        try:
            return self._read(route, body)
        except InvalidJson as error:
            hint = TEMPLATE_HINT if route.call is Call.WEBHOOK else ""
            raise Refused(400, str(error), code=error.code, hint=hint) from None

    def asks_store(self, head: Head) -> bool:
        """Calls about lists may: ids of lists are kept there."""
        return route_of(head.path).call in {Call.CREATE, Call.ADD, Call.REMOVE}

    def _read(self, route: Route, body: bytes) -> Delivery | Reply:
        match route.call:
            case Call.WEBHOOK:
                return self._webhook(body)
            case Call.CREATE:
                return self._lists.create(as_object(parse(body), "the body"))
            case Call.UPDATE | Call.ADD | Call.REMOVE:
                return self._change(route, body)
        assert_never(route.call)

    def _webhook(self, body: bytes) -> Delivery:
        told = self._settings
        message = parse_template(body)
        now = told.clock.now()
        return read_webhook(message, self._names, told.connection, told.accept, now)

    def _change(self, route: Route, body: bytes) -> Delivery:
        told = self._settings
        change = as_object(parse(body), "the body")
        # Vendor page 1 prints this URL for updates of properties, too.
        misdirected = route.call is Call.REMOVE and is_update(change)
        if route.call is Call.UPDATE or misdirected:
            return read_update(change, self._names, told.connection, told.accept)
        inside = route.call is Call.ADD
        return self._lists.change(route.list_id, change, inside=inside)


def route_of(path: str) -> Route:
    """What is asked for, by the part of the path below the door's own. Raises a 404."""
    parts = tuple(path.removeprefix("/").removesuffix("/").split("/")) if path else ()
    parts = () if parts == ("",) else parts
    if call := _FIXED.get(parts):
        return Route(call=call)
    match parts:
        case ("lists", list_id, verb) if list_id and verb in _CHANGES:
            return Route(call=_CHANGES[verb], list_id=list_id)
    raise _no_such_path()


def _no_such_path() -> Refused:
    return Refused(404, "there is nothing at this path", code="path")
