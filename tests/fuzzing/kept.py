"""What the store gives back, also when it was damaged, and what a log shows.

A damaged chunk or mark is found out or means nothing; it never means somebody else. A
line never shows a secret that was registered, however it is spelled.
"""

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import orjson

from syncd.model import Feed, IdType
from syncd.redaction import Redactor
from syncd.sources.feed_mark import Mark, list_mark_of, position_of
from syncd.store.buckets import bucket_of, buckets_for, decode, encode
from tests.fuzzing.doors import NOON
from tests.fuzzing.target import Target

FEED = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)
_SHORTEST = 8
"""Characters of a secret; shorter ones are none to the redactor."""


def chunks(data: bytes) -> None:
    """A bucket of the acknowledged set."""
    text = data.decode("utf-8", "replace")
    ids = decode(text)
    assert encode(ids) == text
    n_buckets = buckets_for(len(ids))
    assert all(0 <= bucket_of(each, n_buckets) < n_buckets for each in ids)


def marks(data: bytes) -> None:
    """How far a plan has read a feed."""
    text = data.decode("utf-8", "replace")
    mark = Mark.parse(text, FEED)
    position_of(text, FEED)
    list_mark_of(text)
    if mark is not None:
        assert Mark.parse(mark.text(FEED), FEED) == mark


QUOTED: tuple[Callable[[str], str], ...] = (
    repr,
    json.dumps,
    lambda text: json.dumps(text, ensure_ascii=False),
    lambda text: orjson.dumps(text).decode(),
    lambda text: json.dumps(json.dumps(text)[1:-1]),
)
PADDED: tuple[Callable[[str], str], ...] = (
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    lambda text: base64.b64encode(b"user:" + text.encode()).decode(),
    lambda text: base64.b64encode(b"user-1:" + text.encode() + b"\n").decode(),
)
SPELLINGS: tuple[Callable[[str], str], ...] = (
    *QUOTED,
    str,
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="!$&'()*+,;=:@/?"),
    lambda text: re.sub("%..", lambda at: at[0].lower(), quote(text, safe="")),
    html.escape,
    lambda text: html.escape(text, quote=False),
    lambda text: text.encode().hex(),
    lambda text: text.encode().hex().upper(),
    *PADDED,
)


def redactions(data: bytes) -> None:
    """The first line is a secret, the second one what stands around it in a text."""
    first, _, rest = data.partition(b"\n")
    secret = first.decode("utf-8", "replace").strip()[:200].strip()
    around = rest.decode("utf-8", "replace")[:200]
    if len(secret) < _SHORTEST or len(set(secret)) < 4 or "[redacted]" in secret:
        return
    redactor = Redactor()
    redactor.register(secret)
    for spelled in SPELLINGS:
        said = spelled(secret)
        if spelled in QUOTED:
            said = said[1:-1]
        if spelled in PADDED:
            said = said.rstrip("=")
        line = redactor(
            None, "", {"a": f"{around}{said}{around}", f"b {said}": [{"c": (said,)}]}
        )
        shown = orjson.dumps(line).decode()
        if said not in around and said not in "[redacted]":
            assert said not in str(line), spelled
            assert secret not in shown, spelled


def lines(data: bytes) -> None:
    """Texts of strangers in a line: it stays one line, and can be written."""
    redactor = Redactor()
    redactor.register("a-secret-of-the-tests")
    line = redactor(
        None,
        "",
        {
            "latin": data.decode("latin-1"),
            "utf": data.decode("utf-8", "surrogateescape"),
            "raw": data,
            "error": ValueError(data.decode("utf-8", "surrogatepass"))
            if _is_text(data)
            else None,
        },
    )
    shown = orjson.dumps(line).decode()
    assert "\n" not in shown
    assert "a-secret-of-the-tests" not in shown


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


_MARK = Mark(
    position=7, listed_at=NOON, list_mark="m", sure_until=NOON, beyond=3, agreed=1
).text(FEED)

TARGETS = (
    Target(
        name="chunks",
        run=chunks,
        seeds=(b"person-1\nperson-2\n\xc3\xa9", b""),
    ),
    Target(
        name="feed-marks",
        run=marks,
        seeds=(_MARK.encode(), b"zz1a2b3c@1767225600"),
        found=(
            b'{"feed": 1, "position": null, "list_mark": {}}',
            _MARK.replace("listed_at", "listed").encode(),
        ),
    ),
    Target(
        name="redacted-secrets",
        run=redactions,
        seeds=(
            b's3cret/with+odd "chars" ~~?? & 100%\nhttps://user:@host/?key=',
            "pä'ss\"wörd\\<&>-%41\nAuthorization: Basic ".encode(),
        ),
        words=(b'"', b"'", b"\\", b"%", b"&", b"<", "ä".encode(), "😀".encode()),
        found=(b"abc\"d\xc3\xa9fg'h\n", b"abcd&efgh<i\n", b"ab cd!ef(gh)\n"),
    ),
    Target(
        name="log-lines",
        run=lines,
        seeds=(b"a\r\n\x1b[31mb https://u:pw@host a-secret-of-the-tests \xed\xa0\x80",),
        words=(b"://", b":", b"@", b"a-secret-of-the-tests"),
    ),
)
