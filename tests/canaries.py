"""Nothing that a test's installation hides may stand in anything it prints or writes.

Every secret that was ever in its `secrets/` is a canary, in all the spellings in which
one turns up; so is every member id that its store knows, by its shape: `person-000123`
stands for everybody whose id is `person-` and a number. A find is told by its place
only.
"""

import json
import re
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

SHORTEST = 8
"""Letters of a secret; the product, too, takes shorter ones for words."""
NAMING = {
    "members": "lists them, that is its purpose",
}
"""Commands that may print member ids, and why."""
WRITTEN = ("syncd.db", "spool", "backup", "core")
"""How the names of what the product writes begin, in an installation's folder."""
LARGEST = 2**26
"""Bytes of a file that is looked at."""
_IDS = (
    "SELECT ids FROM chunk WHERE n > 0 LIMIT 8",
    "SELECT ids FROM batch_ids LIMIT 50",
    "SELECT member_id FROM inbox LIMIT 500",
    "SELECT id FROM unaccepted LIMIT 500",
)


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a process printed."""

    name: str
    """As `syncd run: stdout`."""
    verb: str
    text: str


# ---- secrets -------------------------------------------------------------------------


def spellings(secret: str) -> dict[str, str]:
    """Text -> what it is: plain, JSON, hex, base64 wherever it begins, URL."""
    raw = secret.encode()
    found = {
        raw[::-1].decode(errors="replace"): "backwards",
        json.dumps(secret)[1:-1]: "JSON",
        quote(secret, safe=""): "URL",
        quote_plus(secret): "URL",
        raw.hex(): "hex",
        raw.hex().upper(): "hex",
    }
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            whole = encode(bytes(before) + raw).decode().rstrip("=")
            # Without the characters that depend on what stands around it.
            last = len(whole) - ((len(raw) + before) % 3 > 0)
            found[whole[(0, 2, 3)[before] : last]] = "base64"
    return found | {secret: "plain"}


def secrets_in(text: str, secrets: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Where which secret stands, and how it is spelled."""
    for name, values in secrets.items():
        for value in values:
            if len(value) < SHORTEST:
                continue
            for form, spelled in spellings(value).items():
                if (at := text.find(form)) >= 0:
                    yield f"{_place(text, at)}: the secret {name}, {spelled}"


# ---- people --------------------------------------------------------------------------


def known_to(database: Path) -> set[str]:
    """Some ids of every kind that a SQLite store holds; none where it is broken."""
    if not database.exists():
        return set()
    found: set[str] = set()
    address = f"file:{database}?mode=ro"
    for query in _IDS:
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=5)) as store:
                for (text,) in store.execute(query):
                    found.update(str(text).split("\n")[:500])
        except sqlite3.Error:  # a test broke it, or it is older than this table
            continue
    return found


def shapes(ids: Iterable[str]) -> re.Pattern[str] | None:
    """What these ids look like; None where they could be any word."""
    found = {
        re.sub(r"\d+", r"\\d+", re.escape(each))
        for each in ids
        if re.search(r"[A-Za-z]{3}", each) and re.search(r"\d|@", each)
    }
    if not found:
        return None
    longest_first = sorted(found, key=lambda each: (-len(each), each))[:300]
    return re.compile(rf"(?<![\w@.-])(?:{'|'.join(longest_first)})(?![\w@-])")


def people_in(text: str, shape: re.Pattern[str], words: str) -> Iterator[str]:
    """Where a member id stands, unless it is a name in the configuration (`words`)."""
    for match in shape.finditer(text):
        if match[0] not in words:
            yield f"{_place(text, match.start())}: a member id"
            return


def _place(text: str, at: int) -> str:
    """The line, and the event where it is one of the log."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    event = re.search(r'"event":"([a-z._]+)"', line)
    number = text.count("\n", 0, at) + 1
    return f"line {number}" + (f" ({event[1]})" if event else "")


# ---- the scan ------------------------------------------------------------------------


def leaks(
    folder: Path,
    database: Path,
    outputs: Iterable[Output],
    secrets: Mapping[str, Iterable[str]],
    words: str,
) -> list[str]:
    """Every place at which something stands that must not, without what stands there.

    Files are searched for secrets only: a store, a spool and a backup hold people.
    """
    shape, found = shapes(known_to(database)), list[str]()
    for each in outputs:
        places = list(secrets_in(each.text, secrets))
        if shape is not None and each.verb not in NAMING:
            places += people_in(each.text, shape, words)
        found += [f"{each.name}, {place}" for place in places]
    for path in _files(folder):
        text = path.read_bytes().decode("latin-1")
        found += [
            f"{path.relative_to(folder)}, {place}"
            for place in secrets_in(text, secrets)
        ]
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        ours = path.relative_to(folder).parts[0].startswith(WRITTEN)
        if ours and path.is_file() and path.stat().st_size <= LARGEST:
            yield path
