"""A list of ids against the people of a project: who is known, who is not.

Upload and membership share these rules: at most 100,000 ids in a request (in total),
strings, matched exactly (R16, R18, R19).
"""

from dataclasses import dataclass
from typing import Any

from syncd.simulator.answers import Refusal
from syncd.simulator.people import People

MAX_IDS = 100_000
"""Identifiers per request, over all its entries."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Ids of one list, told apart."""

    known: set[int]
    """Amplitude IDs of people who exist."""
    unknown: list[str]
    """Once per distinct id, in request order."""


def check_ids(value: Any, where: str) -> list[str]:
    """The ids of a request entry. Raises Refusal 400 unless they are strings."""
    if not isinstance(value, list):
        raise Refusal(400, f"Missing required field {where}")
    if not value:
        raise Refusal(400, f"{where} must not be empty")
    if not all(type(item) is str for item in value):
        raise Refusal(400, f"{where} must be a list of strings")
    return value


def check_count(count: int) -> None:
    """Refuse more ids than a request may hold."""
    if count > MAX_IDS:
        raise Refusal(400, f"Too many ids: {count} given, {MAX_IDS} allowed")


def match(ids: list[str], people: People, *, by_number: bool) -> Matched:
    """Look everybody up, by Amplitude ID or by user id."""
    distinct = list(dict.fromkeys(ids))
    found = people.known_ids(distinct) if by_number else people.ids_of(distinct)
    known = {number for number in found if number is not None}
    if len(known) == len(distinct):
        return Matched(known, [])
    pairs = zip(distinct, found, strict=True)
    return Matched(known, [item for item, number in pairs if number is None])
