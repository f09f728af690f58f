"""What a vendor, or something in between, may answer: more than a hundred answers.

Each is a `Play` under a short name. Those that may come before or after the effect of
a request are made either way by `Answers(apply=…)`.
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from tests.reliability.remote.scripted import Asked, End, Play, Truth, written

JSON = ("content-type", "application/json")
HTML = ("content-type", "text/html")
PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body>SSO</body></html>"
BOMB = gzip.compress(b"\0" * (64 << 20))
"""64 MiB in 64 KiB."""
HUGE = 8 << 20
"""Bytes of a body that nobody needs."""
NESTING = 50_000

Make = Callable[[Asked, Truth | None], bytes]


# ---- how an answer is made ---------------------------------------------------------


def plain(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Make:
    """Whatever was asked."""
    return lambda *_: written(status, headers or (JSON,), body)


def envelope(status: int, details: str, **metadata: Any) -> Make:
    """As Amplitude puts an error (contract section 2)."""
    about = {"details": details} | metadata
    error = {"http_code": status, "type": "unspecified", "metadata": about}
    return plain(status, json.dumps({"error": error}).encode())


def with_wait(status: int, wait: str) -> Make:
    body = b'{"error":{"metadata":{"details":"Too Many Requests"}}}'
    return plain(status, body, JSON, ("retry-after", wait))


def echo(asked: Asked, _: Truth | None) -> bytes:
    """A refusal that repeats all it was sent, credentials too."""
    token = asked.headers.get("authorization", "").partition(" ")[2]
    keys = base64.b64decode(token + "===").decode("latin-1") if token else ""
    body = {"error": f"bad request {token} {keys}: {asked.body.decode('latin-1')}"}
    return written(400, [JSON], json.dumps(body).encode())


def altered(change: Callable[[Any], Any]) -> Make:
    """The true answer, its JSON changed."""

    def make(_: Asked, true: Truth | None) -> bytes:
        assert true is not None
        try:
            content = json.loads(true.body)
        except ValueError:
            content = {}
        body = json.dumps(change(content)).encode()
        return written(true.status, true.headers, body)

    return make


def truly(asked: Asked, true: Truth | None) -> bytes:
    """The true answer."""
    assert true is not None
    return written(true.status, true.headers, true.body)


def results(content: Any) -> dict[str, Any]:
    """The only entry of a membership's answer; an empty one of any other."""
    found = content.get("memberships_result") if isinstance(content, dict) else None
    return found[0] if found else {}


# ---- changes of a true answer ------------------------------------------------------


def another_cohort(content: Any) -> Any:
    """About somebody else: cohort, request, list, whatever the answer names."""
    names = ("cohort_id", "request_id", "cohortId")
    other = {name: "zzzzzzz" for name in names if name in content}
    return {**content, **other} if isinstance(content, dict) else content


def other_operation(content: Any) -> Any:
    entry = results(content)
    if entry:
        entry["operation"] = "REMOVE" if entry["operation"] == "ADD" else "ADD"
    return content


def other_id_type(content: Any) -> Any:
    if results(content):
        results(content)["id_type"] = "BY_SOMETHING"
    return content


RESULTS = frozenset(
    "memberships_result cohortId cohort_id cohorts rest_download request_id"
    " async_status success response listId id".split()
)


def without_result(content: Any) -> Any:
    return {key: value for key, value in content.items() if key not in RESULTS}


def without_skipped(content: Any) -> Any:
    results(content).pop("skipped_ids", None)
    return content


def two_results(content: Any) -> Any:
    if results(content):
        content["memberships_result"] *= 2
    return content


def strangers_skipped(content: Any) -> Any:
    if results(content):
        results(content)["skipped_ids"].append("never-sent-by-us")
    return content


def skipped_of_another_type(content: Any) -> Any:
    if results(content):
        results(content)["skipped_ids"] = [1, None]
    return content


def error_beside(content: Any) -> Any:
    return {**content, "error": {"message": "some of it failed"}}


def more_fields(content: Any) -> Any:
    more = {"served_by": "edge-7", "nested": {"deep": [1, 2, {"x": None}]}}
    return {**content, **more} if isinstance(content, dict) else content


def doubled_skipped(content: Any) -> Any:
    if results(content):
        results(content)["skipped_ids"] *= 2
    return content


# ---- the list ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All of them, with the effect or without where either may be."""

    apply: bool
    trap: int = 9
    """A port where nobody may come, for redirects."""

    def all(self) -> dict[str, Play]:
        """By name."""
        every = (
            *self._refusals(),
            *self._waits(),
            *self._faults(),
            *self._bodies(),
            *self._shapes(),
            *self._wire(),
            *self._redirects(),
        )
        return {each.name: each for each in every}

    def _either(self, name: str, make: Make, end: End = "close") -> Play:
        return Play(name=name, make=make, end=end, apply=self.apply)

    def _refusals(self) -> Iterator[Play]:
        """4xx: nothing was carried out."""
        for status in (400, 401, 404, 405, 406, 410, 411, 413, 414, 415, 418, 421):
            yield Play(name=f"{status}", make=plain(status))
        for status in (422, 423, 424, 425, 426, 428, 431, 451, 499):
            yield Play(name=f"{status}", make=plain(status))
        yield Play(name="400 echo", make=echo)
        yield Play(name="400 html", make=plain(400, PAGE, HTML))
        yield Play(
            name="400 ids", make=envelope(400, "Invalid ids", invalid_ids_sample=["x"])
        )
        yield Play(name="403", make=plain(403))
        yield Play(name="403 key", make=envelope(403, "Invalid API Key"))
        yield Play(name="403 waf", make=plain(403, PAGE, HTML))
        yield Play(name="404 html", make=plain(404, PAGE, HTML))
        yield Play(name="407", make=plain(407))

    def _waits(self) -> Iterator[Play]:
        past = format_datetime(datetime(2000, 1, 1, tzinfo=UTC))
        soon = format_datetime(datetime(2100, 1, 1, tzinfo=UTC))
        for name, wait in (
            ("seconds", "2"),
            ("zero", "0"),
            ("past date", past),
            ("far date", soon),
            ("garbage", "soon; or later"),
            ("negative", "-5"),
            ("huge", "9" * 30),
            ("fraction", "1.5"),
            ("exotic digits", "\xb2\xb9"),
        ):
            yield Play(name=f"429 {name}", make=with_wait(429, wait))
        yield Play(name="429", make=envelope(429, "Exceeded rate limit"))
        yield Play(name="429 html", make=plain(429, PAGE, HTML))
        yield self._either("503 wait", with_wait(503, "2"))

    def _faults(self) -> Iterator[Play]:
        """5xx and their like: the state is unknown."""
        for status in (408, 409, 500, 501, 503, 504, 505, 507, 511, 520, 524, 599):
            yield self._either(f"{status}", plain(status))
        yield self._either("502 html", plain(502, PAGE, HTML))
        yield self._either("500 huge", plain(500, b"x" * HUGE))

    def _bodies(self) -> Iterator[Play]:
        """A 2xx that proves nothing."""
        for name, body in (
            ("list", b"[]"),
            ("number", b"17"),
            ("null", b"null"),
            ("string", b'"ok"'),
            ("nan", b'{"cohort_id": NaN, "success": NaN}'),
            ("deep", b"[" * NESTING),
            ("cut", b'{"cohort_id": "abc", "memberships_re'),
            ("zero bytes", b""),
            ("nul", b"\0\0\0\0"),
            ("not utf-8", b'{"success": "\xff\xfe"}'),
        ):
            yield self._either(f"200 {name}", plain(200, body))
        yield self._either("200 html", plain(200, PAGE, HTML))
        yield self._either("200 html as json", plain(200, PAGE))
        yield self._either(
            "200 empty", lambda *_: written(200, [JSON], b"", framed=False)
        )
        yield self._either("200 huge", plain(200, b"x" * HUGE))
        bomb = plain(200, BOMB, JSON, ("content-encoding", "gzip"))
        yield self._either("200 bomb", bomb)
        yield self._either("204", plain(204))
        yield self._either("299 html", plain(299, PAGE, HTML))
        yield Play(name="200 packed", make=_packed, apply=True)
        yield Play(name="200 odd encoding", make=_oddly_encoded, apply=True)
        yield Play(name="206 half", make=_half, apply=True)

    def _shapes(self) -> Iterator[Play]:
        """The true answer, changed."""
        for name, change in (
            ("another cohort", another_cohort),
            ("other operation", other_operation),
            ("other id type", other_id_type),
            ("no result", without_result),
            ("no skipped", without_skipped),
            ("two results", two_results),
            ("strangers skipped", strangers_skipped),
            ("skipped of numbers", skipped_of_another_type),
            ("error beside", error_beside),
        ):
            yield Play(name=f"200 {name}", make=altered(change), apply=True)
        for name, change in (
            ("more fields", more_fields),
            ("doubled skipped", doubled_skipped),
        ):
            make = altered(change)
            yield Play(name=f"200 {name}", make=make, apply=True, proves=True)
        yield Play(name="1xx first", make=_informed, apply=True, proves=True)
        yield Play(name="200 chunked", make=_chunked, apply=True, proves=True)
        yield Play(name="200 unframed", make=_unframed, apply=True, proves=True)

    def _wire(self) -> Iterator[Play]:
        """No answer, or none that ends well."""
        yield self._either("reset", lambda *_: b"", "reset")
        yield self._either("reset half way", _head_only, "reset")
        yield self._either("no answer", lambda *_: b"")
        yield self._either("hang", lambda *_: b"", "hang")
        yield self._either("hang half way", _head_only, "hang")
        yield self._either("no http", lambda *_: b"SSH-2.0-OpenSSH_9.2\r\n")
        yield self._either("http/0.9", lambda *_: b"ok")
        yield self._either("broken chunks", _broken_chunks)
        yield self._either("header flood", _flood)
        yield self._either("two lengths", _two_lengths)
        yield self._either("negative length", _negative_length)
        yield self._either(
            "huge status line", lambda *_: b"HTTP/1.1 200 " + b"x" * HUGE
        )
        yield Play(name="short body", make=_short, apply=True)
        yield Play(name="drip", make=truly, apply=True, end="drip")

    def _redirects(self) -> Iterator[Play]:
        for status, where in (
            (301, "http://127.0.0.1:{trap}/api"),
            (302, "http://127.0.0.2:{trap}/"),
            (303, "//127.0.0.1:{trap}/"),
            (307, "http://[::1]:{trap}/"),
            (308, "https://storage.example/"),
            (302, "file:///etc/passwd"),
            (302, "http://169.254.169.254/latest/meta-data/"),
            (300, ""),
            (304, ""),
        ):
            name = f"{status} {where.partition('{')[0][:20]}".strip()
            there = where.replace("{trap}", str(self.trap))
            headers = (("location", there),) if where else ()
            yield self._either(name, plain(status, b"", *headers))


# ---- how a whole answer is spoilt --------------------------------------------------


def _packed(_: Asked, true: Truth | None) -> bytes:
    """Compressed although we asked for identity."""
    assert true is not None
    headers = [*true.headers, ("content-encoding", "gzip")]
    return written(true.status, headers, gzip.compress(true.body))


def _oddly_encoded(_: Asked, true: Truth | None) -> bytes:
    assert true is not None
    headers = [*true.headers, ("content-encoding", "br")]
    return written(true.status, headers, b"\x1b" + true.body[::-1])


def _half(_: Asked, true: Truth | None) -> bytes:
    assert true is not None
    half = true.body[: len(true.body) // 2]
    return written(206, [*true.headers, ("content-range", "bytes 0-1/9")], half)


def _informed(_: Asked, true: Truth | None) -> bytes:
    assert true is not None
    first = b"HTTP/1.1 100 Continue\r\n\r\n"
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n"
    return first + hints + written(true.status, true.headers, true.body)


def _chunked(_: Asked, true: Truth | None) -> bytes:
    assert true is not None
    head = written(
        true.status,
        [*true.headers, ("transfer-encoding", "chunked")],
        b"",
        framed=False,
    )
    pieces = [true.body[at : at + 7] for at in range(0, len(true.body), 7)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces)
    return head + chunks + b"0\r\n\r\n"


def _unframed(_: Asked, true: Truth | None) -> bytes:
    """Neither a length nor chunks: it ends with the connection."""
    assert true is not None
    return written(true.status, true.headers, true.body, framed=False)


def _short(_: Asked, true: Truth | None) -> bytes:
    """Fewer bytes than it says."""
    assert true is not None
    return written(true.status, true.headers, true.body)[:-1]


def _head_only(*_: object) -> bytes:
    return b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"coh'.replace(
        b"\r\n\r\n", b"\r\ncontent-length: 900\r\n\r\n"
    )


def _broken_chunks(*_: object) -> bytes:
    head = written(200, [JSON, ("transfer-encoding", "chunked")], b"", framed=False)
    return head + b"5\r\n{}\r\nzz\r\n"


def _flood(*_: object) -> bytes:
    headers = [(f"x-flood-{number}", "y" * 100) for number in range(20_000)]
    return written(200, headers, b"{}")


def _two_lengths(*_: object) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    return head + b"content-length: 2\r\ncontent-length: 40\r\n\r\n{}"


def _negative_length(*_: object) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    return head + b"content-length: -2\r\n\r\n{}"
