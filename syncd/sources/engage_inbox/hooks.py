"""The two calls by which Engage announces an audience (Webhook Audiences, H11).

`POST <door>/audiences` with `{"audienceName": …}` and `POST <door>/audiences/get` with
`{"externalId": …}`, both answered `{"externalId": …}`. Segment sends them with neither
its signature nor a header of the customer's (`createAudience` and `getAudience` in the
destination's source build the request from the URL and the body alone). What can carry
a secret is the URL: so the second factor's secret may stand at its end,
`…/audiences/<secret>` and `…/audiences/get/<secret>`, or user and password before the
host, which Segment's client sends as Basic. A signature over the body is taken as well.

An announced audience changes no membership: its feed is named, and its key is the id
that Segment gets, and sends along with each event (`external_audience_id`). An event is
of its own key where a sync reads that, else of this one where a sync reads it.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.events import INBOX_LISTED, emit
from syncd.model import Feed, IdType
from syncd.sources.door import Head, Refused, Reply
from syncd.sources.engage_inbox.body import content_of
from syncd.sources.engage_inbox.proof import Prover
from syncd.sources.engage_inbox.settings import EngageDoorSettings
from syncd.sources.engage_inbox.signature import HEADER, WHOLE_HEADER, signature_in

_ROOT = "/audiences"
_GET = "get"
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class _Call:
    """What a path asks for."""

    get: bool
    secret: str
    """What stands at the path's end; empty where nothing does."""


def is_hook(head: Head) -> bool:
    """Whether a request is one of these calls."""
    return head.path == _ROOT or head.path.startswith(_ROOT + "/")


def key_of(name: str) -> str:
    """The key that Engage makes of an audience's name when it is created.

    By observation of the documents (`Lapsed Trials` has the key `lapsed_trials`); a
    renamed audience keeps its key, which the hook cannot know.
    """
    return re.sub(r"\W+", "_", name.lower()).strip("_")


class Hooks:
    """Answers both calls for one connection."""

    def __init__(self, settings: EngageDoorSettings, prover: Prover) -> None:
        self._connection = settings.connection
        self._directory = settings.directory
        self._readers = settings.readers
        self._prover = prover

    def admit(self, head: Head, now: datetime) -> None:
        """Refuse method and credentials before the body."""
        if head.method != "POST":
            raise Refused(405, "audiences are announced by POST", code="method")
        if not self._is_proven(head, now):
            self._signed_later(head)

    def read(self, head: Head, body: bytes, now: datetime) -> Reply:
        """Answer a call. Raises `Refused`, and `StoreError` where the store is down."""
        if not self._is_proven(head, now):
            self._signed_later(head)
            # Proof of a first event only is of an array, which is refused below.
            self._prover.prove(head, body, now)
        content = _object(body)
        if _call(head).get:
            return self._get(_text(content, "externalId"))
        return self._create(_text(content, "audienceName"))

    def _is_proven(self, head: Head, now: datetime) -> bool:
        """Whether the URL or a header carries the second factor; both are compared."""
        factor = self._prover.factor
        if factor is None:
            return False
        secret = _call(head).secret.encode("utf-8", "surrogatepass")
        by_path = factor.keys.matches(secret, now)
        by_header = factor.matches(head.headers, now)
        return by_path is not None or by_header is not None

    def _signed_later(self, head: Head) -> None:
        """Let pass what only the body can prove."""
        signed = HEADER in head.headers or WHOLE_HEADER in head.headers
        if self._prover.factor is not None or not signed:
            raise _unproven()
        signature_in(head.headers)

    def _create(self, name: str) -> Reply:
        key = key_of(name)
        if not key or len(name) > _MAX_NAME or not name.isprintable():
            raise Refused(
                400, "`audienceName` is no name of an audience", code="hook.name"
            )
        feed = Feed(connection=self._connection, key=key, id_type=IdType.USER_ID)
        list_id = self._directory.name_list(feed, name, key)
        emit(
            INBOX_LISTED,
            connection=self._connection,
            name=name,
            key=key,
            list_id=list_id,
            readers=self._readers.get(key, 0),
        )
        return Reply(status=200, body={"externalId": list_id})

    def _get(self, list_id: str) -> Reply:
        if self._directory.find(self._connection, list_id) is None:
            raise Refused(404, "no audience has this `externalId`", code="list.unknown")
        return Reply(status=200, body={"externalId": list_id})


def _call(head: Head) -> _Call:
    rest = head.path.removeprefix(_ROOT).removeprefix("/")
    verb, _, secret = rest.partition("/")
    if verb == _GET:
        return _Call(get=True, secret=secret)
    return _Call(get=False, secret=rest)


def _object(body: bytes) -> dict[str, Any]:
    content = content_of(body)
    if not isinstance(content, dict):
        raise Refused(400, "the body is no JSON object", code="hook.malformed")
    return content


def _text(content: dict[str, Any], name: str) -> str:
    """A text that must be there. Others beside it are the customer's `extras`."""
    value = content.get(name)
    if isinstance(value, str) and value:
        return value
    raise Refused(400, f"`{name}` is missing or no text", code="hook.malformed")


def _unproven() -> Refused:
    return Refused(
        401,
        "nothing proves who announces this audience",
        code="hook.unproven",
        hint="Segment signs these calls not: set inbox.second_factor, and end the URLs"
        " of create and get with its secret",
    )
