"""Requests at a daemon's doors, byte for byte, and what its store holds after them."""

import hashlib
import hmac
import http.client
import json
import select
import sqlite3
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.installed import Running
from tests.simulated import PATIENCE

SECRET = "s3cr3t-key"
"""Of the signature, as the contract's vectors have it."""
FACTOR = "demo-second-factor"
PUSH_KEY = "demo-push-key"
PUSH_SECRET = "demo-push-secret-of-thirty-two-bytes"
SECRETS = (SECRET, FACTOR, PUSH_KEY, PUSH_SECRET, "demo-api-key", "demo-secret-key")
PERSON = "person-"
"""Every id of a test begins so: it is found wherever it leaks."""

ENGAGE = "/in/engage"
AMPLITUDE = "/in/amplitude"
JSON = {"Content-Type": "application/json"}
TABLES = ("feed", "inbox", "message", "inbox_position", "inbox_tally")

Headers = Mapping[str, str]


def people(count: int, first: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"{PERSON}{number:06d}" for number in range(first, first + count)]


# ---- who asks ------------------------------------------------------------------------


def signature(content: bytes | str, secret: str = SECRET) -> str:
    """Segment's, over exactly these bytes."""
    raw = content.encode() if isinstance(content, str) else content
    return hmac.new(secret.encode(), raw, hashlib.sha1).hexdigest()


def signed(content: bytes | str, secret: str = SECRET, **more: str) -> dict[str, str]:
    """Headers of Engage: the signature of the body, and the second factor."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    both = {"X-Signature": signature(content, secret), "X-Syncd-Key": FACTOR}
    return JSON | both | named


def keyed(key: str = PUSH_KEY) -> dict[str, str]:
    """Headers of Amplitude: Basic with the key as user and no password."""
    return JSON | {"Authorization": f"Basic {b64encode(f'{key}:'.encode()).decode()}"}


def hooked(secret: str = PUSH_SECRET) -> dict[str, str]:
    """Headers of Amplitude's cohort webhook."""
    return JSON | {"X-Syncd-Key": secret, "User-Agent": "Amplitude/Webhook/1.0"}


# ---- what is asked -------------------------------------------------------------------


def ago(seconds: float) -> str:
    """A moment in the past, as Segment writes it."""
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def personas(key: str = "vip", **fields: Any) -> dict[str, Any]:
    """`context.personas` of an audience."""
    defaults: dict[str, Any] = {
        "computation_class": "audience",
        "computation_id": "aud_7Fh",
        "computation_key": key,
        "namespace": "spa_1Ab",
        "space_id": "spa_1Ab",
    }
    return defaults | fields


def identify(
    user_id: str, value: Any = True, *, key: str = "vip", **fields: Any
) -> dict[str, Any]:
    """An identify by which somebody enters (or with False leaves) an audience."""
    defaults: dict[str, Any] = {
        "type": "identify",
        "userId": user_id,
        "messageId": f"personas_{key}_{user_id}_{value}",
        "timestamp": ago(60),
        "traits": {key: value, "email": f"{user_id}@acme.test"},
        "context": {"personas": personas(key)},
        "integrations": {"All": False, "Webhooks (Actions)": True},
    }
    return defaults | fields


def as_bytes(content: Any) -> bytes:
    """As JavaScript writes JSON; bytes stay as they are."""
    if isinstance(content, bytes):
        return content
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


# ---- the door ------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What the daemon answered."""

    status: int
    text: str
    headers: Headers
    """Names in lower case."""

    @property
    def body(self) -> Any:
        """The JSON of it."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """Of a refusal."""
        return str(self.body["error"]["code"])


class Knocking:
    """One kept connection to a daemon's inbound server; made anew where it ended."""

    def __init__(self, url: str, timeout: float = PATIENCE) -> None:
        self.where = urlsplit(url).netloc
        self._timeout = timeout
        self._client = http.client.HTTPConnection(self.where, timeout=timeout)

    def ask(
        self,
        path: str,
        content: Any = b"",
        headers: Headers | None = None,
        method: str = "POST",
    ) -> Answer:
        """One request to its answer. Raises `OSError`, `HTTPException`."""
        if self._was_ended():
            self.close()
        try:
            self._client.request(method, path, as_bytes(content), dict(headers or {}))
            answer = self._client.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, text, named)

    def engage(self, event: Any, path: str = ENGAGE, **headers: str) -> Answer:
        """An event or a batch, signed whole and with the second factor."""
        body = as_bytes(event)
        return self.ask(path, body, signed(body, **headers))

    def amplitude(self, below: str, content: Any) -> Answer:
        """A list's or a property's change, with the key."""
        return self.ask(AMPLITUDE + below, content, keyed())

    def webhook(self, content: Any) -> Answer:
        """A cohort webhook, with the secret."""
        return self.ask(f"{AMPLITUDE}/webhook", content, hooked())

    def _was_ended(self) -> bool:
        """Whether the daemon closed it meanwhile, as it does with idle ones."""
        if self._client.sock is None:
            return False
        # Not `select`: it knows no descriptor above 1,023.
        waiting = select.poll()
        waiting.register(self._client.sock, select.POLLIN)
        return bool(waiting.poll(0))

    def close(self) -> None:
        """End the connection."""
        self._client.close()


@contextmanager
def knocking(daemon: Running, timeout: float = PATIENCE) -> Iterator[Knocking]:
    """A connection to this daemon, closed at the end."""
    client = Knocking(daemon.url(), timeout)
    try:
        yield client
    finally:
        client.close()


# ---- the store -----------------------------------------------------------------------

Word = tuple[str, str, str, str]
"""(connection, key, id type, person)"""


def tables(database: Path, names: Iterable[str] = TABLES) -> dict[str, list[Any]]:
    """Every row of the tables that a request could change."""
    with closing(_opened(database)) as store:
        return {
            name: sorted(store.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in names
        }


def words(database: Path) -> dict[Word, str]:
    """The newest word about each person of each feed: in, out or deleted."""
    with closing(_opened(database)) as store:
        rows = store.execute(
            "SELECT feed.connection, feed.key, feed.id_type, member_id, "
            "CASE WHEN deleted THEN 'deleted' WHEN inside THEN 'in' ELSE 'out' END "
            "FROM inbox JOIN feed ON feed.id = inbox.feed_id"
        ).fetchall()
    return {tuple(row[:4]): row[4] for row in rows}


def tally(database: Path, connection: str) -> dict[str, int]:
    """How many events of a connection came to what."""
    with closing(_opened(database)) as store:
        return dict(
            store.execute(
                "SELECT result, n FROM inbox_tally WHERE connection = ?", (connection,)
            ).fetchall()
        )


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=PATIENCE)


# ---- what nobody may read ------------------------------------------------------------


def assert_nothing_leaked(*texts: str, also: Iterable[str] = ()) -> None:
    """No raw id and no secret, in no line; also as Basic carries it."""
    hidden = [*SECRETS, PERSON, *also]
    hidden += [b64encode(f"{PUSH_KEY}:".encode()).decode().rstrip("=")]
    for text in texts:
        for each in hidden:
            where = text.find(each)
            assert where < 0, text[max(0, where - 200) : where + 100]
