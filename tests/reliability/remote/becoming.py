"""What is to become of each answer of a vendor, by who reads it.

Written down from the vendors' contract (contract/amplitude.md section 2: retry classes;
contract/segment.md T4, T5; vendor page 1) and read beside the product's own words.
"""

from collections.abc import Mapping
from dataclasses import replace

from syncd.model import Outcome
from syncd.store.runs import OK
from syncd.sync.spec import Report
from tests.reliability.remote.remotes import SECRETS, Kind, Remote
from tests.reliability.remote.scripted import Play


def _names(*texts: str) -> list[str]:
    return [each for text in texts for each in text.split(", ")]


_ODD = (
    "405, 406, 407, 411, 414, 415, 418, 421, 422, 423, 424, 425, 426, 428, 431, 451"
    ", 499"
)
_OTHER = "400, 410, 400 echo, 400 html"
_PAGES = "404, 404 html"
_ALL_403 = "403, 403 key, 403 waf"
_WAITS = (
    "429 seconds, 429 zero, 429 past date, 429 garbage, 429 negative, 429 fraction"
    ", 429 exotic digits, 429, 429 html"
)
_LONG_WAITS = "429 far date, 429 huge"
_FINE = "200 more fields, 200 doubled skipped, 1xx first, 200 chunked, 200 unframed"
_FOREIGN = (
    "200 other operation, 200 other id type, 200 no skipped, 200 two results"
    ", 200 strangers skipped, 200 skipped of numbers"
)
"""Changes of what only a membership's answer has."""
_BARE = "200 list, 200 number, 200 null, 200 string, 200 zero bytes, 200 empty, 204"
_REDIRECTS = (
    "301 http://127.0.0.1:, 302 http://127.0.0.2:, 303 //127.0.0.1:, 307 http://[::1]:"
    ", 308 https://storage.exam, 302 file:///etc/passwd, 302 http://169.254.169.2, 300"
    ", 304"
)
AGAIN, WELL, HALVED, DEAD, STOPPED, HELD, TAKEN = (
    "again",
    "well",
    "halved",
    "dead",
    "stopped",
    "held",
    "taken",
)
"""Asked again within the run; a good run whatever was asked again; halved down to the
person; a dead letter and the next run plans anew; the connection stops and is tried
later; a person decides; believed."""
UNAVAILABLE = "failed source.unavailable"

BECOMES: Mapping[str, Mapping[str, list[str]]] = {
    "upload": {
        AGAIN: [],
        "failed http_4xx": _names(_ODD, _OTHER),
        "failed not_found": _names(_PAGES),
        "failed forbidden": _names("403, 403 waf"),
        STOPPED: _names("401, 403 key"),
        HALVED: ["413"],
        TAKEN: _names(_FINE, _FOREIGN, "400 ids"),
        HELD: ["200 another cohort"],
    },
    "membership": {
        AGAIN: [],
        DEAD: _names(_ODD, _OTHER),
        HELD: _names(_PAGES),
        "failed forbidden": _names("403, 403 waf"),
        STOPPED: _names("401, 403 key"),
        HALVED: _names("413, 400 ids"),
        TAKEN: _names(_FINE),
    },
    "list": {
        WELL: [],
        "failed delivery.http_4xx": _names(_ODD, _OTHER, "413, 400 ids"),
        "failed delivery.not_found": _names(_PAGES),
        "failed delivery.forbidden": _names("403, 403 waf"),
        STOPPED: _names("401, 403 key"),
    },
    "source-list": {
        UNAVAILABLE: [],
        STOPPED: _names("401, 403 key"),
        WELL: _names(_FINE, _FOREIGN, "200 another cohort, 200 error beside"),
    },
    "usage": {
        "failed source.quota_unknown": [],
        "skipped rate": _names(_WAITS, _LONG_WAITS),
        STOPPED: _names("401, 403 key"),
        WELL: _names(_PAGES, _FINE, _FOREIGN, "200 another cohort, 200 error beside"),
    },
    "request": {
        UNAVAILABLE: [],
        "failed source.not_found": _names(_PAGES),
        "skipped rate": _names(_LONG_WAITS),
        STOPPED: _names("401, 403 key"),
        WELL: _names(_WAITS, _FINE, _FOREIGN, "200 error beside"),
    },
    "status": {
        WELL: [],
        UNAVAILABLE: _names(_ODD, _OTHER, "413, 400 ids, 403, 403 waf, 408, 409"),
        STOPPED: _names("401, 403 key"),
    },
    "file": {
        WELL: [],
        UNAVAILABLE: _names(_ODD, _OTHER, "413, 400 ids, 403, 403 waf"),
        "failed source.file_gone": _names(_PAGES),
        "failed source.no_column": _names("200 number, 200 null, 200 string"),
        "failed source.file_malformed": _names("200 nul, 200 huge"),
        "failed source.broken_file": ["200 bomb"],
        "failed source.foreign_link": _names(_REDIRECTS),
        STOPPED: _names("401, 403 key"),
    },
    "storage": {
        WELL: [],
        "failed source.no_column": _names("200 number, 200 null, 200 string"),
        "failed source.file_malformed": _names("200 nul, 200 huge"),
        "failed source.broken_file": _names(_REDIRECTS, "200 bomb"),
    },
    "segment": {
        AGAIN: [],
        DEAD: _names(_ODD),
        STOPPED: _names("401", _ALL_403),
        HALVED: _names("413, 400, 400 echo, 400 ids"),
        TAKEN: _names(_FINE, _FOREIGN, "200 another cohort, 200 no result"),
    },
    "partner-create": {
        AGAIN: [],
        "failed http_4xx": _names(_ODD, _OTHER, "400 ids"),
        "failed not_found": _names(_PAGES),
        "failed bad_response": _names(_BARE),
        STOPPED: _names("401", _ALL_403),
        HALVED: ["413"],
        TAKEN: _names(_FINE, _FOREIGN, "200 another cohort, 200 no result"),
    },
    "partner": {
        AGAIN: [],
        DEAD: _names(_ODD, "410"),
        STOPPED: _names("401", _ALL_403),
        HALVED: _names("413, 400, 404, 400 echo, 400 ids"),
        # Vendor page 1 defines no body: whatever reports no failure is believed.
        TAKEN: _names(_FINE, _FOREIGN, _BARE, "200 another cohort, 200 no result"),
    },
}
"""Reader -> what becomes -> the answers; the first has all that are not named."""


def becomes(family: str, answer: str) -> str:
    words = BECOMES[family]
    named = [word for word, answers in words.items() if answer in answers]
    return named[0] if named else next(iter(words))


def fit(kind: Kind, play: Play, word: str) -> Play:
    """What is believed is true; a vendor that lies is beyond proof."""
    if word != TAKEN or play.name == "400 ids":
        return play
    return replace(play, apply=True, proves=True)


def seen(remote: Remote, report: Report) -> str:
    """What became of it, in the words of the table."""
    results = {result for result, _ in remote.results(report)}
    if remote.stopped():
        return STOPPED
    if report.outcome is Outcome.HELD:
        return HELD
    if report.outcome is Outcome.PARTIAL:
        return DEAD if "dead" in results else "given up"
    if report.outcome not in OK:
        return f"{report.outcome} {report.reason}"
    words = {"split": HALVED, "rejected": "rejected", "retried": AGAIN}
    return next((word for one, word in words.items() if one in results), TAKEN)


def leaked(output: str) -> list[str]:
    """Whoever or whatever may not be named."""
    return [f"{each} is named" for each in ("person-", *SECRETS) if each in output]
