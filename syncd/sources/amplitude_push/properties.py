"""Property-based pushes: a property of each person says whether they are in a cohort.

One update or a batch of them, one cohort or several in each. An answer of 404 means an
invalid user id (vendor page 1); in a batch such ids are counted, since one of them must
not hold back the others.
"""

from collections.abc import Mapping
from typing import Any

from syncd.sources.amplitude_push.fields import (
    as_array,
    as_object,
    boolean,
    malformed,
    one_of,
    user_id,
)
from syncd.sources.amplitude_push.names import Cohort, CohortNames
from syncd.sources.amplitude_push.words import LeftOut, Words, delivery
from syncd.sources.door import Accept, Delivery, Refused


def is_update(body: Mapping[str, Any]) -> bool:
    """Whether a body updates properties rather than a list."""
    return "batch" in body or "traits" in body or body.get("type") == "identify"


def read_update(
    body: Mapping[str, Any], names: CohortNames, connection: str, accept: Accept
) -> Delivery:
    """One update, or a batch. Raises `Refused`."""
    if one_of(body, "userIds", "user_ids") is not None:
        raise malformed("this is a list's change and an update: send one")
    if "batch" not in body:
        return _read_single(body, names, connection, accept)
    if "traits" in body:
        raise malformed("batch and traits contradict each other: send one")
    words = Words()
    for number, element in enumerate(as_array(body["batch"], "batch")):
        part = f"batch[{number}]"
        traits, person = _identify(as_object(element, part), part)
        if person is None:
            words.left_out[LeftOut.ANONYMOUS] += 1
        else:
            say_traits(words, names, person, traits)
    return delivery(connection, words.told(connection, accept), words.left_out)


def say_traits(
    words: Words, names: CohortNames, person: str, traits: Mapping[str, Any]
) -> None:
    """What these properties of a person say; those about no cohort are counted."""
    said: dict[str, tuple[Cohort, set[bool | None]]] = {}
    for name, value in traits.items():
        cohort = names.cohort_in(name)
        if cohort is None:
            words.left_out[LeftOut.UNKNOWN_TRAIT] += 1
        else:
            said.setdefault(cohort.id, (cohort, set()))[1].add(boolean(value))
    for cohort, values in said.values():
        inside = values.pop()
        if values or inside is None:  # two spellings of one cohort that disagree
            words.left_out[LeftOut.UNKNOWN_VALUE] += 1
        else:
            words.say(cohort, person, inside=inside)


def _read_single(
    body: Mapping[str, Any], names: CohortNames, connection: str, accept: Accept
) -> Delivery:
    traits, person = _identify(body, "the update")
    if person is None:
        raise malformed("userId is missing")
    words = Words()
    say_traits(words, names, person, traits)
    known = words.left_out.total()
    told = words.told(connection, accept)
    if words.left_out.total() > known:
        raise Refused(404, "the user id is invalid", code="push.user_id")
    return delivery(connection, told, words.left_out)


def _identify(
    update: Mapping[str, Any], part: str
) -> tuple[Mapping[str, Any], str | None]:
    """(traits, user id) of one update."""
    if update.get("type", "identify") != "identify":
        raise malformed(f"the type of {part} must be identify")
    return as_object(update.get("traits"), f"traits of {part}"), user_id(update, part)
