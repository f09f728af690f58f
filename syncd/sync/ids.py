"""Hygiene: which ids may go to a destination, and why the others may not.

Done once per read, while the list is partitioned, for millions of ids: so a piece of a
block is first checked as one text, and only a piece with something odd in it is looked
at id by id. `reason` is the rule; `accept` must agree with it for every block (a
property test holds them together).

Ids are opaque bytes. Nothing is trimmed, folded or normalised here: " a" and "a" may be
two people, and a silently repaired id is one that nobody can find again.

The rules and the word list: the vendor's HTTP V2 API page (ids that Amplitude refuses
when it takes in events, so that no such user can exist) and its export schema (there
Amplitude ids are 64-bit integers).
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

from syncd.model import IdType

MAX_CHARACTERS = 1024
"""Longer user ids cannot exist at Amplitude."""

MAX_BYTES = 2_600
"""Longer texts are no keys in Postgres (2,704 with all that belongs to one). Only ids
of more than 800 Chinese letters are: one of them would fail whatever is stored with it.
"""

USUAL_MINIMUM = 5
"""Characters. Amplitude drops shorter ids unless the sender set `min_id_length`."""

_ZERO_UUID = b"00000000-0000-0000-0000-000000000000"

FORBIDDEN_WORDS = frozenset(
    (
        b"anonymous",
        b"nil",
        b"none",
        b"null",
        b"n/a",
        b"na",
        b"undefined",
        b"unknown",
        _ZERO_UUID,
        b"{}",
        b"lmy47d",
        b"0",
        b"-1",
    )
)
"""Words that stand for nobody; compared without regard to ASCII case."""


class Reason(StrEnum):
    """Why an id is refused. One id has one reason: the first that applies, in order."""

    EMPTY = "empty"
    """No id at all, as in the row of an anonymous person."""
    NOT_UTF8 = "not_utf8"
    """Bytes that are no UTF-8 text, lone surrogates included."""
    TOO_LONG = "too_long"
    """More than `MAX_CHARACTERS` characters, or `MAX_BYTES` bytes."""
    CONTROL_CHARACTER = "control_character"
    """A control character (C0, DEL, C1) or a Unicode line or paragraph separator."""
    WHITESPACE_EDGE = "whitespace_edge"
    """White space, non-breaking too, before or after."""
    FORBIDDEN_WORD = "forbidden_word"
    """A word that Amplitude refuses as an id."""
    NOT_AMPLITUDE_ID = "not_amplitude_id"
    """Amplitude ids only: not a positive 64-bit integer in plain decimal."""
    FORGOTTEN = "forgotten"
    """Of a person who asked to be forgotten. No rule about ids: `store.forgotten` knows
    it, so `reason` never says this."""


class Doubt(StrEnum):
    """What is odd about an id that goes out all the same."""

    TOO_SHORT = "too_short"
    """A user id under `USUAL_MINIMUM` characters: it usually does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What is left of a block."""

    ids: list[bytes]
    """In the block's order, duplicates kept; none holds a newline."""
    refused: dict[Reason, int] = field(default_factory=dict)
    """Ids left out, by reason; their sum and `len(ids)` is the block's length."""
    warnings: dict[Doubt, int] = field(default_factory=dict)
    """Ids among `ids` that are odd."""


_PIECE = 512
"""Ids checked at once. One bad id costs the slow way for its piece, not its block."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_AMPLITUDE_ID = re.compile(rb"[1-9][0-9]{0,18}")
_MAX_AMPLITUDE_ID = 2**63 - 1
_MAX_BYTES_PER_CHARACTER = 4

_NOT_PLAIN = bytes([*range(0x21), 0x7F])
"""The ASCII characters that an id may not hold, or, the space, not everywhere."""

_SHORT_WORDS = FORBIDDEN_WORDS - {_ZERO_UUID}
_SHORT_WORD_LENGTHS = frozenset(map(len, _SHORT_WORDS))
_SHORT_WORD_SPELLINGS = frozenset(
    bytes(letters)
    for word in _SHORT_WORDS
    for letters in product(*({*pair} for pair in zip(word, word.upper(), strict=True)))
)
"""Each word in every mixture of cases: asking a set beats lowering millions of ids."""


def accept(block: list[bytes], id_type: IdType) -> Accepted:
    """Sort a block into ids that may go out and counts of those that may not."""
    ids: list[bytes] = []
    refused: Counter[Reason] = Counter()
    short = 0
    for start in range(0, len(block), _PIECE):
        piece = block[start : start + _PIECE]
        lengths = set(map(len, piece))
        if 0 in lengths:  # anonymous people are common, and spread over a download
            refused[Reason.EMPTY] += piece.count(b"")
            piece = list(filter(None, piece))
            lengths.remove(0)
        if not _is_clean(piece, lengths, id_type):
            piece = _sift(piece, id_type, refused)
        ids += piece
        short += _count_short(piece, min(lengths, default=USUAL_MINIMUM))
    odd = {Doubt.TOO_SHORT: short} if short and id_type is IdType.USER_ID else {}
    return Accepted(ids=ids, refused=dict(refused), warnings=odd)


def reason(id_: bytes, id_type: IdType) -> Reason | None:
    """Why this id must not go out; None when it may."""
    if not id_:
        return Reason.EMPTY
    try:
        text = id_.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    if len(text) > MAX_CHARACTERS or len(id_) > MAX_BYTES:
        return Reason.TOO_LONG
    if _CONTROL.search(text):
        return Reason.CONTROL_CHARACTER
    if text != text.strip():
        return Reason.WHITESPACE_EDGE
    if id_.lower() in FORBIDDEN_WORDS:
        return Reason.FORBIDDEN_WORD
    if id_type is IdType.AMPLITUDE_ID and not _is_amplitude_id(id_):
        return Reason.NOT_AMPLITUDE_ID
    return None


def _is_amplitude_id(id_: bytes) -> bool:
    return bool(_AMPLITUDE_ID.fullmatch(id_)) and int(id_) <= _MAX_AMPLITUDE_ID


def _sift(piece: list[bytes], id_type: IdType, refused: Counter[Reason]) -> list[bytes]:
    """The slow way: every id by itself. Adds the refused ones to `refused`."""
    kept = []
    for id_ in piece:
        why = reason(id_, id_type)
        if why is None:
            kept.append(id_)
        else:
            refused[why] += 1
    return kept


def _is_clean(piece: list[bytes], lengths: set[int], id_type: IdType) -> bool:
    """True only if no id of the piece can have a reason; False proves nothing."""
    text = b"".join(piece)
    return (
        max(lengths, default=0) <= MAX_CHARACTERS
        and (_is_plain(text) or _is_printable(piece))
        and _ZERO_UUID not in text
        and (
            lengths.isdisjoint(_SHORT_WORD_LENGTHS)
            or _SHORT_WORD_SPELLINGS.isdisjoint(piece)
        )
        and (id_type is IdType.USER_ID or _are_amplitude_ids(piece, lengths))
    )


def _is_plain(text: bytes) -> bool:
    """Visible ASCII only."""
    return text.isascii() and len(text.translate(None, _NOT_PLAIN)) == len(text)


def _is_printable(piece: list[bytes]) -> bool:
    """Text without control characters or separators, and no white space at an edge.

    Joined by spaces, an id with a space at an edge shows as two spaces, or at an end of
    the whole; any other white space is not printable, nor is a control character.
    """
    try:
        text = b" ".join(piece).decode()
    except UnicodeDecodeError:
        return False
    return (
        text.isprintable()
        and "  " not in text
        and not text.startswith(" ")
        and not text.endswith(" ")
    )


def _are_amplitude_ids(piece: list[bytes], lengths: set[int]) -> bool:
    """True only if each is a decimal, starts with 1 to 9 and is below 10**18."""
    lines = b"\n".join([b"", *piece])
    return (
        lines.replace(b"\n", b"").isdigit()
        and b"\n0" not in lines
        and max(lengths) < len(str(_MAX_AMPLITUDE_ID))
    )


def _count_short(piece: list[bytes], shortest: int) -> int:
    """How many accepted ids have fewer characters than is usual.

    `shortest` is at most the number of bytes in the shortest of them.
    """
    if shortest >= USUAL_MINIMUM * _MAX_BYTES_PER_CHARACTER:
        return 0
    if shortest >= USUAL_MINIMUM and b"".join(piece).isascii():
        return 0
    return sum(len(id_.decode()) < USUAL_MINIMUM for id_ in piece)
