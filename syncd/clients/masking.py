"""A vendor's words made fit to be shown: one line, short, without what was sent. Pure.

A refusal may quote the ids that were sent, or the key; neither may reach a log line or
the ledger. A vendor may quote them in another case or Unicode normal form, trimmed,
or escaped for a URL, a page or JSON. So both sides are brought to one form and
compared there, and what matches is overwritten where it stands in the vendor's text.
It is bad at ids that the vendor abbreviates: half an id is not known as one.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import accumulate, count

MESSAGE_CHARACTERS = 200
"""As much of the vendor's words as is kept."""

_SHORT_ID = 5
"""Ids under this length are masked as whole words only, or "1" would blot all out."""
_LONGEST_ESCAPE = 12
"""Characters that stand for one: %F0%9F%98%80, or two \\uXXXX."""
_MASK = b"\1"
_WORD = re.compile(r"[^\s\"'\[\](){},;:<>]+")


def masked(text: str, private: Sequence[str]) -> str:
    """`text` cut to `MESSAGE_CHARACTERS`, without `private`, on one line.

    Masks keep the length, and more is searched than is shown, so an id that the cut
    would halve is masked too.
    """
    sought = _sought(private)
    # Twice: blanks that fall together in one line may make an id that was none.
    return _one_line(_one_line(text, sought), sought)


def _one_line(text: str, sought: "_Sought") -> str:
    longest = max(map(len, sought.long), default=_SHORT_ID)
    window = text[: MESSAGE_CHARACTERS + _LONGEST_ESCAPE * longest]
    hidden = bytearray(len(window))
    for view in _views(window):
        # What is shown, and an id that begins there; an entity may be two characters.
        seen = 2 * MESSAGE_CHARACTERS + longest
        for start, end in _found(_View(view.text[:seen], view.spans[:seen]), sought):
            hidden[start:end] = _MASK * (end - start)
    pairs = zip(window[:MESSAGE_CHARACTERS], hidden, strict=False)
    shown = ("*" if mask else c for c, mask in pairs)
    plain = (" " if unicodedata.category(c)[0] == "C" else c for c in shown)
    return " ".join("".join(plain).split())


# ---- what is sought ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sought:
    """What must not be shown, folded."""

    long: frozenset[str]
    """Masked wherever they are."""
    short: frozenset[str]
    """Masked where they are a whole word."""


def _sought(private: Sequence[str]) -> _Sought:
    long, short = set[str](), set[str]()
    for each in private:
        trimmed = each.strip()
        group = short if len(trimmed) < _SHORT_ID else long
        # A mark that becomes a letter in upper case (the Greek iota below a vowel)
        # changes places with other marks only before that: hence both.
        forms = (trimmed,) if trimmed.isascii() else (trimmed, trimmed.upper())
        group.update(folded(form).strip() for form in forms)
    return _Sought(frozenset(long), frozenset(short))


def folded(text: str) -> str:
    """The same for every case and every normal form of one text.

    By upper case to fold the dotless i too; compatibility forms (full width letters)
    are folded as well, at no cost.
    """
    if text.isascii():
        return text.lower()
    cased = unicodedata.normalize("NFKD", text).upper().casefold()
    return unicodedata.normalize("NFKD", cased)


# ---- what the vendor wrote -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _View:
    """The vendor's text, read in one way."""

    text: str
    spans: Sequence[tuple[int, int]]
    """Of each character: from where to where it is in the vendor's text."""


_Decoder = Callable[[str], list[tuple[str, int]]]
"""Escapes in a row -> each character and the length of its escape; empty if broken."""


def _percent(escapes: str) -> list[tuple[str, int]]:
    try:
        text = bytes.fromhex(escapes.replace("%", "")).decode()
    except UnicodeDecodeError:
        return []
    return [(c, 3 * len(c.encode())) for c in text]


def _entity(escape: str) -> list[tuple[str, int]]:
    text = unescape(escape)
    return [] if text == escape else [(text, len(escape))]


def _utf16(escapes: str) -> list[tuple[str, int]]:
    return [(c, 12 if c > "\uffff" else 6) for c in json.loads(f'"{escapes}"')]


def _backslash(escape: str) -> list[tuple[str, int]]:
    return [(json.loads(f'"{escape}"'), len(escape))]


_Kind = dict[str, _Decoder]
"""Pattern of escapes → their decoder."""

_URL: _Kind = {r"(?:%[0-9a-fA-F]{2})+": _percent}
_PAGE: _Kind = {r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,31});": _entity}
_JSON: _Kind = {r"(?:\\u[0-9a-fA-F]{4})+": _utf16, r'\\["\\/bfnrt]': _backslash}
_ALL: _Kind = {**_URL, **_PAGE, **_JSON}


def _views(window: str) -> Iterator[_View]:
    """As it stands, without each kind of escapes, without all, and so once more.

    Each kind alone too, since an id may hold what looks like an escape of another.
    """
    plain = _View(window, [(at, at + 1) for at in range(len(window))])
    yield plain
    kinds = (_decoded(plain, kind) for kind in (_URL, _PAGE, _JSON))
    different = [view for view in kinds if view.text != window]
    yield from different
    if different:
        once = _decoded(plain, _ALL)
        twice = _decoded(once, _ALL)
        yield once
        yield twice


def _decoded(view: _View, kind: _Kind) -> _View:
    """The view with the escapes of some kind replaced by what they stand for."""
    text, spans, done = [], list[tuple[int, int]](), 0
    decoders = list(kind.values())
    for match in re.finditer("|".join(f"({pattern})" for pattern in kind), view.text):
        start = match.start()
        text.append(view.text[done:start])
        spans += view.spans[done:start]
        decode = decoders[(match.lastindex or 1) - 1]
        for character, length in decode(match[0]) or _undecoded(match[0]):
            span = view.spans[start][0], view.spans[start + length - 1][1]
            text.append(character)
            spans += [span] * len(character)
            start += length
        done = match.end()
    text.append(view.text[done:])
    spans += view.spans[done:]
    return _View("".join(text), spans)


def _undecoded(escapes: str) -> list[tuple[str, int]]:
    return [(c, 1) for c in escapes]


# ---- where it is found ---------------------------------------------------------------


def _found(view: _View, sought: _Sought) -> Iterator[tuple[int, int]]:
    """Spans of the vendor's text that show what is sought."""
    text, origins = _folded_in_place(view.text)
    hidden = bytearray(len(text))
    for each in sought.long:
        at = text.find(each)
        while at >= 0:
            after = at + len(each)
            hidden[at:after] = _MASK * len(each)
            at = text.find(each, after)
    yield from (
        view.spans[origins[match.start()]] for match in re.finditer(_MASK, hidden)
    )
    if sought.short:
        for word in _WORD.finditer(view.text):
            if folded(word[0]) in sought.short:
                yield view.spans[word.start()][0], view.spans[word.end() - 1][1]


def _folded_in_place(text: str) -> tuple[str, Sequence[int]]:
    """`folded(text)`, and which character of `text` each of its own comes from."""
    if text.isascii():
        return text.lower(), range(len(text))
    cased = [(c.upper().casefold(), at) for c, at in _decomposed(zip(text, count()))]
    done = _decomposed(cased)
    return "".join(c for c, _ in done), [at for _, at in done]


def _decomposed(parts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """NFKD; its canonical order is each run of combining marks by class, stable."""
    listed = [
        (c, at) for part, at in parts for c in unicodedata.normalize("NFKD", part)
    ]
    classes = [unicodedata.combining(c) for c, _ in listed]
    # A number that grows at each character that is no mark keeps the runs apart.
    runs = accumulate(0 if mark else 1 for mark in classes)
    keyed = sorted(zip(runs, classes, range(len(listed)), strict=True))
    return [listed[at] for _, _, at in keyed]
