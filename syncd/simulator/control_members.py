"""True members, in the two shapes that every kind of audience shares here.

PIECE members are written at a time, so that the loop can serve others in between.
"""

from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from syncd.simulator.control_io import read_people, reply, strings

PIECE = 10_000


def members_reply(
    request: Request, ids: Iterable[str], head: dict[str, Any]
) -> Response:
    """`?format=text`: one id per line, streamed. Else JSON: head, count, ids."""
    shown = list(ids)
    if request.query_params.get("format", "json") == "text":
        return StreamingResponse(_lines(shown), media_type="text/plain; charset=utf-8")
    return reply(head | {"count": len(shown), "ids": shown})


async def _lines(ids: list[str]) -> AsyncIterator[bytes]:
    left = iter(ids)
    while piece := list(islice(left, PIECE)):
        yield "".join(f"{one}\n" for one in piece).encode()


async def compare_reply(request: Request, actual: set[str]) -> Response:
    """Person by person: the body's ids (lines or JSON) against those who are in."""
    expected = set(strings(await read_people(request), "user_ids"))
    return reply(compare(expected, actual))


def compare(expected: set[str], actual: set[str]) -> dict[str, Any]:
    """Who should be in and is not, and the reverse."""
    missing, extra = expected - actual, actual - expected
    return {
        "equal": not missing and not extra,
        "expected": len(expected),
        "actual": len(actual),
        "missing": len(missing),
        "extra": len(extra),
        "missing_sample": sorted(missing)[:10],
        "extra_sample": sorted(extra)[:10],
    }
