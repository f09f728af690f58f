"""What a vendor said, made fit to be shown. Pure.

A refusal may quote the ids that were sent, or the key; neither may reach a log line or
the ledger. So whatever a vendor writes passes `masked` before it becomes part of an
error. It is bad at ids that the vendor abbreviates: half an id is not known as one.
"""

import re
import unicodedata
from collections.abc import Sequence

MESSAGE_CHARACTERS = 200
"""As much of the vendor's words as is kept."""

_LONGEST_ID = 1024
"""Characters (contract section 6); an id cut by a longer window is still masked."""
_SHORT_ID = 5
"""Ids under this length are masked as whole words only, or "1" would blot all out."""


def masked(text: str, private: Sequence[str]) -> str:
    """`text` cut to `MESSAGE_CHARACTERS`, without `private`, on one line.

    Masks keep the length, and the window is one id longer than what is shown, so an id
    that the cut would halve is masked too.
    """
    window = text[: MESSAGE_CHARACTERS + _LONGEST_ID]
    short: set[str] = set()
    for each in private:
        if len(each) < _SHORT_ID:
            short.add(each)
        elif each in window:
            window = window.replace(each, "*" * len(each))
    window = re.sub(
        r"[^\s\"'\[\](){},;:<>]+",
        lambda word: "*" * len(word[0]) if word[0] in short else word[0],
        window,
    )
    shown = window[:MESSAGE_CHARACTERS]
    plain = (" " if unicodedata.category(c)[0] == "C" else c for c in shown)
    return " ".join("".join(plain).split())
