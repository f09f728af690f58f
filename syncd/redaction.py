"""What must never be written: every secret of this process, however it is spelled.

One place knows the secrets; log lines and whatever is kept of a vendor's words pass it.
What can never come out: a registered secret in any usual spelling, a value under a key
that names a credential, raw bytes (member ids are bytes), a control character.
"""

import base64
import re
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from structlog.types import EventDict

_SHORTEST_SECRET = 8
_LONGEST_TEXT = 4_000
_REDACTED = "[redacted]"

_CREDENTIAL_KEY = re.compile(
    r"(authorization|cookie|api_?key|secret_?key|write_?key|private_?key|"
    r"signature|password|passwd|secret|token)$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Redactor:
    """Makes a value safe to write: plain JSON types, no secret, no control character.

    Thread-safe: registering replaces the compiled pattern in one assignment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[str, int] = {}
        self._pattern: re.Pattern[str] | None = None

    def register(self, secret: str) -> None:
        """Add a secret in all its forms; under 8 characters it is ignored.

        A short value would blank ordinary words, and is no secret worth the name.
        """
        if len(secret) < _SHORTEST_SECRET:
            return
        with self._lock:
            self._forms |= {_spelled_anyhow(form): len(form) for form in _forms(secret)}
            longest_first = sorted(
                self._forms.items(), key=lambda form: (-form[1], form)
            )
            self._pattern = re.compile(
                "|".join(pattern for pattern, _ in longest_first)
            )

    def __call__(self, _: Any, __: str, event: "EventDict") -> "EventDict":
        """As a structlog processor: the whole line, keys and values."""
        return self._mapping(event)

    def clean(self, value: object) -> object:
        """`value` as JSON types, redacted, however deep."""
        match value:
            case None | bool() | float():
                return value
            case int():
                return value if -(2**63) <= value < 2**63 else str(value)
            case Mapping():
                return self._mapping(value)
            case list() | tuple() | set() | frozenset():
                return [self.clean(item) for item in value]
            case _:
                return self.text(_spelled(value))

    def text(self, value: str) -> str:
        """One line of text without secrets and control characters."""
        if self._pattern is not None:
            value = self._pattern.sub(_REDACTED, value)
        value = _URL_PASSWORD.sub(rf"\1:{_REDACTED}@", value)
        if len(value) > _LONGEST_TEXT:
            value = f"{value[:_LONGEST_TEXT]}... {len(value) - _LONGEST_TEXT} more"
        return _UNPRINTABLE.sub(_escape, value)

    def _mapping(self, values: Mapping[Any, object]) -> dict[str, object]:
        return {
            self.text(str(key)): self.clean(value)
            for key, value in values.items()
            if not _CREDENTIAL_KEY.search(str(key).replace("-", "_"))
        }


def _forms(secret: str) -> set[str]:
    """What a secret turns into before it is quoted: itself, base64, hex."""
    raw = secret.encode("utf-8", "surrogateescape")
    return {secret, raw.hex(), raw.hex().upper(), *_base64_forms(raw)}


def _spelled_anyhow(text: str) -> str:
    """A pattern of `text` as URLs, JSON, Python and HTML write it.

    Character by character, since each writer escapes others: what one leaves as it is
    the next one does not, and a list of whole spellings always lacks one.
    """
    return "".join(map(_spellings, text))


_ENTITIES = {'"': "quot", "&": "amp", "'": "apos", "<": "lt", ">": "gt"}
_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_BACKSLASHES = r"\\{1,4}"
"""Of an escape: more than one where JSON is in JSON. Bounded, as all else in here: no
line may take long, whatever it holds."""


@lru_cache(maxsize=1024)
def _spellings(character: str) -> str:
    """A pattern of one character; letters and digits of ASCII are escaped by nobody."""
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    octets = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    hexes = [
        "".join(f"%{octet:02x}" for octet in octets),
        "".join(f"{_BACKSLASHES}u{unit}" for unit in units),
        f"{_BACKSLASHES}U{code:08x}",
        f"&#(?:{code}|x0{{0,4}}{code:x});",
    ]
    if code < 0x100:
        hexes.append(f"{_BACKSLASHES}x{code:02x}")
    exact = [f"{_BACKSLASHES}{re.escape(_LETTERS.get(character, character))}"]
    if character in _ENTITIES:
        exact.append(f"&{_ENTITIES[character]};")
    if character == " ":
        exact.append(r"\+")
    return f"(?:(?i:{'|'.join(hexes)})|{'|'.join(exact)}|{re.escape(character)})"


def _base64_forms(raw: bytes) -> Iterable[str]:
    """Base64 of `raw`, alone and inside longer text (as in a Basic login).

    Inside, it starts at one of three offsets; what stays the same whatever stands
    around it is the text without its first and last partial characters.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode().rstrip("=")
        for offset in range(3):
            whole = encode(bytes(offset) + raw).decode().rstrip("=")
            first = (0, 2, 3)[offset]
            last = len(whole) - ((len(raw) + offset) % 3 > 0)
            yield whole[first:last]


def _spelled(value: object) -> str:
    """Anything as text. An object of ours may hold ids, so only its type is named."""
    match value:
        case Enum():
            return str(value.value)
        case str() | PurePath() | UUID() | BaseException():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case datetime():
            return instant(value)
        case timedelta():
            return f"{value.total_seconds():g}s"
        case _:
            return f"<{type(value).__name__}>"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def instant(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, the one form of time in a log line."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


REDACTOR = Redactor()
"""The process's secrets; a module global, so that no line can pass beside it."""


def register_secret(value: str) -> None:
    """Never write this value again, in any line of this process."""
    REDACTOR.register(value)


def redacted(text: str) -> str:
    """Words from outside as they may be kept and shown: a line without any secret.

    A client hides what it sent itself; here it is every secret of this process, since
    a vendor may name another one's.
    """
    return REDACTOR.text(text)
