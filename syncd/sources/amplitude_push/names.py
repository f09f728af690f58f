"""Which cohort a list or a property is about: its id is the last token of the name.

The vendors' pages show six spellings (contract/amplitude.md 7.3, segment.md section 8):

    [Amplitude] NAME: ID        vendor page 1, lists and properties
    [Amplitude] NAME (ID)       Segment's own source
    NAME: ID, NAME:ID           vendor page 1's test call, older pages
    NAME (ID)                   vendor page 3
    amplitude_NAME_ID           the template of a cohort webhook

NAME is whatever a person typed, `: ( ) _` included. So the name is read from its end,
and an id that some sync reads is preferred to one that merely looks like one: ids hold
underscores as names do, and only a known one tells where it begins in
`amplitude_NAME_ID`. Without a known id that is the last `_`. What fits no spelling is
about no cohort; nothing is guessed.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

SPELLINGS = (
    "[Amplitude] NAME: ID",
    "[Amplitude] NAME (ID)",
    "NAME: ID",
    "NAME (ID)",
    "amplitude_NAME_ID",
)
"""For people."""
MAX_CHARACTERS = 1024
"""A longer text is no name; it bounds the work that a sender can cause."""
_REMEMBERED = 4096
"""Names whose reading is kept: a property repeats its name for every person."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PREFIX = re.compile(r"\[Amplitude\]\s*", re.IGNORECASE)
_FLAT = "amplitude_"
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """A cohort as its sender names it."""

    id: str
    name: str
    """What people call it; empty where nobody said. No control characters."""


class CohortNames:
    """Reads the names of lists and properties. Thread-safe."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)
        self._lengths = sorted({len(id_) for id_ in self._known}, reverse=True)
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._read)

    def cohort_in(self, text: str) -> Cohort | None:
        """The cohort that a list or property of this name is about; None: nobody can
        tell."""
        return self._remembered(text) if len(text) <= MAX_CHARACTERS else None

    def cohort(self, id_: str, name: str) -> Cohort | None:
        """The cohort of this id, where a sender gives both; None if it is no id."""
        id_ = id_.strip()
        if not _ID.fullmatch(id_) and id_ not in self._known:
            return None
        return Cohort(id=id_, name=printable(name))

    def _read(self, text: str) -> Cohort | None:
        text = text.strip()
        spelled = list(_spelled(text))
        known = [
            (id_, name)
            for id_, name in (*spelled, *_flat(text, self._lengths), (text, ""))
            if id_ in self._known
        ]
        if known:  # the longest: what is left of a longer id is no other cohort
            spelled = [max(known, key=lambda pair: len(pair[0]))]
        return next(filter(None, (self.cohort(*pair) for pair in spelled)), None)


def printable(name: str) -> str:
    """A name that can be stored and logged: cut, each odd character replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", name.strip()[:MAX_CHARACTERS])


def _spelled(text: str) -> Iterator[tuple[str, str]]:
    """(id, name) by each spelling that the text's end allows, the surest first."""
    prefix = _PREFIX.match(text)
    rest = text[prefix.end() :] if prefix else text
    if rest.endswith(")") and "(" in rest:
        name, _, id_ = rest[:-1].rpartition("(")
        yield id_.strip(), name
    if text.startswith(_FLAT):
        name, _, id_ = text.removeprefix(_FLAT).rpartition("_")
        if name:  # `amplitude_id` is a property of its own, about no cohort
            yield id_, name
    if ":" in rest:
        name, _, id_ = rest.rpartition(":")
        yield id_.strip(), name


def _flat(text: str, lengths: Collection[int]) -> Iterator[tuple[str, str]]:
    """(id, name) where an id of one of these lengths may begin in `amplitude_NAME_ID`.

    Not at every `_`: a name of nothing else would cost the square of its length, and a
    body holds thousands of them.
    """
    if not text.startswith(_FLAT):
        return
    for length in lengths:
        place = len(text) - length - 1
        if place >= len(_FLAT) - 1 and text[place] == "_":
            yield text[place + 1 :], text[len(_FLAT) : place]
