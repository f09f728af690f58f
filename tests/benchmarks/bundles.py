"""Pushes of many people at a time: Amplitude's lists and its cohort webhooks.

As a process (`python -m tests.benchmarks.bundles JSON`) it sends what its `Errand`
says, as `tests.pushing` does. `errand.key` is `LISTED` or `HOOKED`, and `errand.events`
counts the people; each is named once.
"""

import json
import sys
from collections.abc import Iterator

from tests.pushing import Errand, Event, Pushing, send
from tests.reliability.killing.parcels import HOOKED, LISTED, Kind, Parcel, request

__all__ = ["HOOKED", "LISTED", "SIZE", "Bundling", "ids", "parcels"]

SIZE = 1_000
"""People of a request."""
KINDS: dict[str, Kind] = {LISTED: "list", HOOKED: "hook"}


def ids(errand: Errand) -> list[str]:
    """Whom all requests name, the same for the same errand and others for another."""
    return [f"{errand.seed:08d}-{number:027d}" for number in range(errand.events)]


def parcels(errand: Errand) -> Iterator[Parcel]:
    """The requests: everybody enters; each webhook is of a moment of its own."""
    people = ids(errand)
    for start in range(0, len(people), SIZE):
        some = people[start : start + SIZE]
        at, name = errand.since + start, f"hook-{errand.seed}-{start}"
        yield Parcel(KINDS[errand.key], tuple(Event(p, True, at, name) for p in some))


class Bundling(Pushing):
    """A sender of them. Nothing is sent twice."""

    module = "tests.benchmarks.bundles"

    def requests(self) -> int:
        """See `Pushing.requests`."""
        return -(-self.errand.events // SIZE)


def main(text: str) -> None:
    """Send what an errand says."""
    errand = Errand(**json.loads(text))
    send(errand, [request(errand, parcel) for parcel in parcels(errand)])


if __name__ == "__main__":
    main(sys.argv[1])
