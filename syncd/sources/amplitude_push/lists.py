"""List-based pushes: a list is made once, then people are added and removed.

The answer to a creation holds the id twice: Amplitude's portal reads it flat, its
production worker under `response` (contract/amplitude.md 7.2, an integration's #8402).
Amplitude then adds with four requests at a time, so known lists are kept in memory.
"""

import re
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from syncd import events
from syncd.events import emit
from syncd.model import Feed, Told
from syncd.sources.amplitude_push.fields import as_array, malformed, one_of
from syncd.sources.amplitude_push.names import SPELLINGS, Cohort, CohortNames
from syncd.sources.amplitude_push.settings import AmplitudeDoorSettings
from syncd.sources.amplitude_push.words import as_bytes, delivery, feed_of
from syncd.sources.door import Delivery, Refused, Reply

_REMEMBERED = 10_000
"""Lists kept in memory."""

_LIST_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What an id of ours may look like: nobody needs to look for another."""


class Lists:
    """The lists of one connection. Thread-safe."""

    def __init__(self, settings: AmplitudeDoorSettings, names: CohortNames) -> None:
        self._settings = settings
        self._names = names
        self._known: dict[str, Feed] = {}
        self._lock = threading.Lock()

    @property
    def connection(self) -> str:
        """Whose lists they are."""
        return self._settings.connection

    def create(self, body: Mapping[str, Any]) -> Reply:
        """Make the list of the cohort that `name` ends with, or find it again.

        One cohort has one list, whatever it is called by now.
        """
        cohort = self._cohort(body)
        feed = feed_of(self.connection, cohort.id)
        proposed = uuid.uuid4().hex
        list_id = self._settings.directory.name_list(feed, cohort.name, proposed)
        self._remember(list_id, feed)
        if list_id == proposed:
            emit(
                events.INBOX_LISTED,
                connection=feed.connection,
                name=cohort.name,
                key=cohort.id,
                list_id=list_id,
                readers=self._settings.readers.get(cohort.id, 0),
            )
        flat = {"listId": list_id, "list_id": list_id}
        return Reply(status=200, body={**flat, "response": flat})

    def change(
        self, list_id: str, body: Mapping[str, Any], *, inside: bool
    ) -> Delivery:
        """Add people to a list, or remove them; members and strangers are no fault."""
        ids = _user_ids(body)
        feed = self._feed(list_id)
        kept, refused = self._settings.accept(ids, feed.id_type)
        told = Told(feed=feed, ids=kept, inside=inside)
        return delivery(feed.connection, (told,) if kept else (), refused)

    def _cohort(self, body: Mapping[str, Any]) -> Cohort:
        name = body.get("name")
        if not isinstance(name, str):
            raise malformed("name must be text", hint=f'{{"name": "{SPELLINGS[0]}"}}')
        cohort = self._names.cohort_in(name)
        if cohort is None:
            raise malformed(
                "name does not end with the id of a cohort",
                hint=f"spell it as one of: {', '.join(SPELLINGS)}",
            )
        return cohort

    def _feed(self, list_id: str) -> Feed:
        feed = self._known.get(list_id)
        if feed is None:
            if _LIST_ID.fullmatch(list_id):
                feed = self._settings.directory.find(self.connection, list_id)
            if feed is None:
                raise Refused(
                    404,
                    "there is no such list",
                    code="list.unknown",
                    hint="make it with POST /lists",
                )
            self._remember(list_id, feed)
        return feed

    def _remember(self, list_id: str, feed: Feed) -> None:
        with self._lock:
            self._known[list_id] = feed
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]


def _user_ids(body: Mapping[str, Any]) -> list[bytes]:
    """The ids of a body, raw. The key is configurable at Amplitude; both are in use."""
    given = one_of(body, "userIds", "user_ids")
    if given is None:
        raise malformed("userIds is missing", hint='{"userIds": ["…", "…"]}')
    ids = as_array(given, "userIds")
    if not all(isinstance(id_, str) for id_ in ids):
        raise malformed("every id in userIds must be text")
    return [as_bytes(id_) for id_ in ids]
