"""PEOPLE in a control body: a list of user ids, or a crowd made from a few numbers.

    ["ann", "bob"]
    {"user_ids": ["ann"], "prefix": "user-", "first": 20000, "count": 2000000,
     "anonymous": 10, "duplicates": 5}

The crowd above is ann, user-20000 to user-2019999, ten users without a user id, and a
second Amplitude ID of each of the first five of the named, so that an export names them
twice. Who does not exist yet is created, as an event would; the same numbers name the
same people again.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

from syncd.simulator.control_io import ControlError, strings
from syncd.simulator.people import People

PIECE = 20_000
"""People created at a time, so that the loop can serve others in between."""
NUMBERS = ("first", "count", "anonymous", "duplicates")


async def crowd(people: People, value: Any, name: str) -> set[int]:
    """The Amplitude IDs of PEOPLE; nobody for None. Raises ControlError."""
    wanted = described(value, name)
    members: set[int] = set()
    names = named(wanted)
    while piece := list(islice(names, PIECE)):
        people.add(piece)
        members |= people.ids(piece)
        await asyncio.sleep(0)
    twins = islice(named(wanted), wanted["duplicates"])
    members.update(people.twin_of(one) for one in twins if people.id_of(one))
    members.update(people.anonymous(wanted["anonymous"]))
    return members


def described(value: Any, name: str) -> dict[str, Any]:
    """PEOPLE as a crowd with every number. Raises ControlError."""
    crowd = {"user_ids": value} if isinstance(value, list) else value or {}
    if not isinstance(crowd, dict):
        raise ControlError(f"{name} must be a list of strings or a crowd")
    if unknown := set(crowd) - {"user_ids", "prefix", *NUMBERS}:
        raise ControlError(f"a crowd has no {', '.join(sorted(unknown))}")
    if type(value) is list:
        strings({name: value}, name)
    numbers = {key: crowd.get(key, 0) for key in NUMBERS}
    for key, number in numbers.items():
        if type(number) is not int or number < 0:
            raise ControlError(f"{key} must be a number from 0")
    if numbers["count"] and not isinstance(crowd.get("prefix"), str):
        raise ControlError("prefix must be a string")
    return {**crowd, **numbers}


def named(crowd: dict[str, Any]) -> Iterator[str]:
    """The user ids of a crowd."""
    yield from strings(crowd, "user_ids")
    first, prefix = crowd["first"], crowd.get("prefix")
    for number in range(first, first + crowd["count"]):
        yield f"{prefix}{number}"
