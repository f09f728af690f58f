"""The client of Segment's Public API against a real server that plays a script."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.clients.http import HttpClient
from syncd.clients.segment_public import HOSTS, KEPT_FOR, AudienceSizes
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from tests.contract.scripted import Reply, playing

TOKEN = "canary-public-token-77"
SPACE = "spa_1Ab"


class Hands(Clock):
    """A clock that is set by hand."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "at", datetime(2026, 3, 2, 12, tzinfo=UTC))

    def now(self) -> datetime:
        at: datetime = object.__getattribute__(self, "at")
        return at

    def forward(self, by: timedelta) -> None:
        object.__setattr__(self, "at", self.now() + by)


@contextmanager
def sizes(
    url: str, token: Callable[[], str] = lambda: TOKEN, clock: Clock | None = None
) -> Iterator[AudienceSizes]:
    used = clock or Hands()
    with HttpClient(url, clock=used, deadline=5.0) as http:
        yield AudienceSizes(http, token, space=SPACE, clock=used)


def audience(key: str = "lapsed_trials", **fields: Any) -> dict[str, Any]:
    """As the contract shows one."""
    return {
        "id": "aud_7Fh",
        "spaceId": SPACE,
        "name": "Lapsed Trials",
        "key": key,
        "enabled": True,
        "status": "Live",
        "audienceType": "USERS",
        "computeCadence": {"type": "REALTIME"},
        "size": {"type": "USERS", "count": 1204, "uniqueCount": 1204},
        "definition": {"query": "…"},
    } | fields


def page(*audiences: Any, **pagination: Any) -> Reply:
    pages = {"current": "MA==", "totalEntries": 7} | pagination
    return Reply(200, {"data": {"audiences": list(audiences), "pagination": pages}})


def size(*replies: Reply, key: str = "lapsed_trials") -> int | None:
    with playing(*replies) as vendor, sizes(vendor.url) as known:
        return known.size_of(key)


def failed(*replies: Reply) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        size(*replies)
    return caught.value


def test_the_regions_are_segments_documented_hosts():
    assert HOSTS == {
        "us": "https://api.segmentapis.com",
        "eu": "https://eu1.api.segmentapis.com",
    }


def test_the_size_of_a_live_audience_is_its_count():
    with playing(page(audience())) as vendor, sizes(vendor.url) as known:
        assert known.size_of("lapsed_trials") == 1204

    (request,) = vendor.requests
    assert request.path == f"/spaces/{SPACE}/audiences?pagination.count=200"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_every_page_is_read_by_its_cursor():
    first = page(audience("other"), next="Mw==")
    with playing(first, page(audience())) as vendor, sizes(vendor.url) as known:
        assert known.size_of("lapsed_trials") == 1204

    assert vendor.requests[1].path.endswith(
        "?pagination.count=200&pagination.cursor=Mw%3D%3D"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "another"},
        {"status": "Computing"},
        {"status": None},
        {"size": None},
        {"size": {"type": "ACCOUNTS", "count": 5}},
    ],
)
def test_a_size_of_no_instant_or_of_no_people_is_none(fields):
    assert size(page(audience(**fields))) is None


def test_the_list_is_asked_for_once_while_it_is_young():
    clock = Hands()
    grown = audience(size={"type": "USERS", "count": 1300})
    with playing(page(audience()), page(grown)) as vendor:
        with sizes(vendor.url, clock=clock) as known:
            known.size_of("lapsed_trials")
            clock.forward(KEPT_FOR - timedelta(seconds=1))
            young = known.size_of("lapsed_trials")
            clock.forward(timedelta(seconds=1))
            old = known.size_of("lapsed_trials")

    assert (young, old, len(vendor.requests)) == (1204, 1300, 2)


def test_a_renewed_token_is_tried_once_more():
    tokens = iter(["old", "new"])
    refused = Reply(401, {"errors": [{"type": "x", "message": "no"}]})

    with playing(refused, page(audience())) as vendor:
        with sizes(vendor.url, token=lambda: next(tokens)) as known:
            assert known.size_of("lapsed_trials") == 1204

    tokens_sent = [each.headers["authorization"] for each in vendor.requests]
    assert tokens_sent == ["Bearer old", "Bearer new"]


def test_a_refusal_is_told_in_segments_words_without_the_token():
    body = {"errors": [{"type": "RequestError", "message": f"bad token {TOKEN}"}]}

    error = failed(Reply(403, body))

    assert (error.fault, error.error_type) == (Fault.CREDENTIALS, "auth")
    assert "bad token" in str(error)
    assert TOKEN not in str(error)
    assert "Workspace Owner" in error.hint


def test_a_rate_limit_names_its_wait():
    error = failed(Reply(429, {}, headers={"retry-after": "57"}))

    assert (error.fault, error.retry_after) == (Fault.THROTTLED, 57)


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        (Reply(404, {}), "not_found"),
        (Reply(503, {}), "http_5xx"),
        (Reply(200, b"<html>"), "bad_response"),
        (Reply(200, {}), "bad_response"),
        (Reply(200, {"data": {"audiences": []}}), "bad_response"),
        (page(audience(key="")), "bad_response"),
        (page(audience(size={"count": "1204"})), "bad_response"),
        (page(audience(size={"count": -1})), "bad_response"),
        (page(audience(), next="Mw=="), "bad_response"),
    ],
)
def test_what_is_not_plainly_a_list_is_an_error(reply, error_type):
    assert failed(reply).error_type == error_type


def test_an_endless_list_is_given_up():
    replies = [page(audience(f"a{n}"), next=f"c{n}") for n in range(101)]

    assert "no end" in str(failed(*replies))


def test_an_error_is_not_kept_in_place_of_a_size():
    with playing(Reply(503, {}), page(audience())) as vendor:
        with sizes(vendor.url) as known:
            with pytest.raises(DeliveryError):
                known.size_of("lapsed_trials")
            assert known.size_of("lapsed_trials") == 1204
