"""What one request says of people, cohort by cohort, and the answer to it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial

from syncd.model import Feed, IdType, Message, Told
from syncd.sources.amplitude_push.names import Cohort
from syncd.sources.door import Accept, Delivery, Reply, Stored


class LeftOut(StrEnum):
    """Why a part of a request is not taken though the request is."""

    ANONYMOUS = "anonymous"
    """A person without a user id."""
    UNKNOWN_TRAIT = "unknown_trait"
    """A property whose name gives no cohort."""
    UNKNOWN_VALUE = "unknown_value"
    """Neither true nor false, or both: it says neither in nor out."""


@dataclass(slots=True)
class Words:
    """The last word about each person of each cohort; of one request, one thread."""

    left_out: Counter[str] = field(default_factory=Counter)
    """How many words or people were left out, by reason."""
    _cohorts: dict[str, str] = field(default_factory=dict)
    _people: dict[str, dict[bytes, bool]] = field(default_factory=dict)

    def say(self, cohort: Cohort, user_id: str, *, inside: bool) -> None:
        """This person is in the cohort, or is not; an earlier word falls."""
        self._cohorts[cohort.id] = cohort.name
        self._people.setdefault(cohort.id, {})[as_bytes(user_id)] = inside

    def told(
        self, connection: str, accept: Accept, at: datetime | None = None
    ) -> tuple[Told, ...]:
        """As the model has it, after hygiene; what that refuses is left out."""
        found = []
        for key, people in self._people.items():
            feed = feed_of(connection, key)
            for inside in (True, False):
                ids = [id_ for id_, word in people.items() if word is inside]
                kept, refused = accept(ids, feed.id_type)
                self.left_out.update(refused)
                name = self._cohorts[key]
                found.append(Told(feed=feed, ids=kept, inside=inside, at=at, name=name))
        return tuple(told for told in found if told.ids)


def feed_of(connection: str, cohort_id: str) -> Feed:
    """The feed of a cohort. What Amplitude pushes are user ids."""
    return Feed(connection=connection, key=cohort_id, id_type=IdType.USER_ID)


def as_bytes(user_id: str) -> bytes:
    """An id as it is kept. What `strict_json` lets pass can always be encoded."""
    return user_id.encode()


def delivery(
    connection: str,
    told: tuple[Told, ...],
    left_out: Mapping[str, int],
    *,
    message_id: str = "",
) -> Delivery:
    """One message, or none where there is nothing to say."""
    message = Message(connection=connection, id=message_id, told=told)
    results = {str(reason): count for reason, count in left_out.items() if count}
    accepted = sum(len(one.ids) for one in told)
    return Delivery(
        messages=(message,) if told else (),
        results=results,
        reply=partial(_reply, accepted, results),
    )


def _reply(accepted: int, refused: Mapping[str, int], stored: Stored) -> Reply:
    """200: how many words were taken, and why others were not.

    Of a message that was known already nothing is taken, which is no fault.
    """
    if stored.duplicates:
        body = {"accepted": 0, "duplicates": accepted, "refused": dict(refused)}
    else:
        body = {"accepted": accepted, "refused": dict(refused)}
    return Reply(status=200, body=body)
