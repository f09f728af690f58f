"""Everything that is pushed to us, several people at a time: what each request says.

Single events of Engage and arrays of them, lists of Amplitude, its cohort webhooks. An
event of Engage and a webhook have a time, so they may arrive in any order and as often
as they like, and the newest word stands. A list has none: here everybody is only ever
added to it, or only ever removed, so that its order does not matter either.
"""

import json
import random
import sys
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.pushing import (
    Errand,
    Event,
    Pushing,
    body,
    framed,
    newest,
    send,
    signed,
    story,
)

LISTED, HOOKED = "c1", "c2"
"""The cohorts: one is pushed as a list, the other by webhooks."""
PUSH_KEY = "demo-push-key"
PUSH_SECRET = "demo-push-secret-of-thirty-two-bytes"
SIZES = (1, 1, 1, 4, 10, 25)
"""People of a request; half of Engage's are single events."""

Kind = Literal["engage", "list", "hook"]
KINDS: Sequence[Kind] = ("engage", "engage", "list", "hook")


@dataclass(frozen=True)
class Parcel:
    """One request: about whom it says what."""

    kind: Kind
    events: tuple[Event, ...]


def parcels(errand: Errand) -> list[Parcel]:
    """The story of an errand in parcels, the same for the same errand."""
    dice = random.Random(errand.seed + 2)  # noqa: S311  # repeatable, guards nothing
    left = story(errand)
    made: list[Parcel] = []
    while left:
        kind, size = dice.choice(KINDS), dice.choice(SIZES)
        taken, left = left[:size], left[size:]
        made.append(Parcel(kind, _fitting(kind, taken, len(made), errand.since)))
    return made


def _fitting(
    kind: Kind, events: list[Event], number: int, since: int
) -> tuple[Event, ...]:
    """As this kind of request can say it: one direction for all, and one time."""
    if kind == "engage":
        return tuple(events)
    people = dict.fromkeys(each.person for each in events)
    if kind == "list":
        way = _belongs(events[0].person)
        fitting = [one for one in people if _belongs(one) is way]
        return tuple(Event(one, way, 0, "") for one in fitting)
    # Each webhook is of a moment of its own: no two of them tie.
    way, at = events[0].inside, since + number
    return tuple(Event(one, way, at, f"hook-{number}") for one in people)


def _belongs(person: str) -> bool:
    """Whether somebody is only ever added to the list, or only ever removed."""
    return int(person[-1]) % 3 != 0


def request(errand: Errand, parcel: Parcel) -> bytes:
    """The whole request, as its sender makes it."""
    if parcel.kind == "engage":
        bodies = [body(errand, event) for event in parcel.events]
        content = b"[" + b",".join(bodies) + b"]" if len(bodies) > 1 else bodies[0]
        return framed(errand, errand.path, content, signed(content))
    if parcel.kind == "list":
        verb = "add" if parcel.events[0].inside else "remove"
        path = f"/in/amplitude/lists/{errand.list_id}/{verb}"
        content = _json({"userIds": [each.person for each in parcel.events]})
        key = b64encode(f"{PUSH_KEY}:".encode()).decode()
        return framed(errand, path, content, {"Authorization": f"Basic {key}"})
    secret = {"X-Syncd-Key": PUSH_SECRET}
    return framed(errand, "/in/amplitude/webhook", _webhook(parcel), secret)


def _webhook(parcel: Parcel) -> bytes:
    """A cohort webhook, as Amplitude's template has it."""
    first = parcel.events[0]
    return _json(
        {
            "cohort_id": HOOKED,
            "cohort_name": f"Cohort {HOOKED}",
            "in_cohort": first.inside,
            "computed_time": str(first.at),
            "message_id": first.id,
            "users": [{"user_id": each.person} for each in parcel.events],
        }
    )


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def said(parcel: Parcel) -> dict[tuple[str, str], Event]:
    """The words of a parcel: (key, person), and the newest about each."""
    key = {"engage": "vip", "list": LISTED, "hook": HOOKED}[parcel.kind]
    return {(key, one): event for one, event in newest(parcel.events).items()}


def model(made: Iterable[Parcel]) -> dict[tuple[str, str], Event]:
    """The last writer about each person of each feed."""
    found: dict[tuple[str, str], Event] = {}
    for parcel in made:
        for word, event in said(parcel).items():
            if word not in found or event.rank > found[word].rank:
                found[word] = event
    return found


class Posting(Pushing):
    """A sender of parcels."""

    module = "tests.reliability.killing.parcels"

    def __init__(self, errand: Errand) -> None:
        self.parcels = parcels(errand)
        super().__init__(errand)

    def requests(self) -> int:
        """See `Pushing.requests`."""
        return len(self.parcels)

    @property
    def taken(self) -> list[Parcel]:
        """Parcels that have had a 2xx up to now, in no order."""
        return [self.parcels[number] for number in self.numbers]


def main(text: str) -> None:
    """Send what an errand says."""
    errand = Errand(**json.loads(text))
    send(errand, [request(errand, parcel) for parcel in parcels(errand)])


if __name__ == "__main__":
    main(sys.argv[1])
