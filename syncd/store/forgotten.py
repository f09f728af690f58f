"""Who asked to be forgotten: nobody takes their ids in again while this remembers them.

Only an HMAC-SHA256 under the installation's key is kept: a plain hash of an id is found
by hashing guesses, this one only by whoever has the key too. Each request to forget has
a position. Once a binding holds nobody who was forgotten up to a position, that is
noted; until then it is *due*. Positions, not times: clocks are set back.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Integer, Text, cast, delete, exists, func, select

from syncd.model import IdType
from syncd.store.database import insert_into
from syncd.store.direct import Direct
from syncd.store.installation import hash_key, known_hash_key
from syncd.store.tables import forgotten, meta

KEEP = timedelta(days=30)
"""Of what is remembered; by then the sources must have deleted the person."""
POSITION = "forgotten"
"""The row of `meta` that holds the newest position; one a binding stands beside it."""
REWRITTEN = "forgotten:rewritten"
"""The row of `meta` with the position up to which the store's file was written anew."""
_TOGETHER = 500
_BLOCK = 64
"""Bytes of a block of SHA-256: HMAC pads its key to that (RFC 2104)."""

Person = tuple[bytes, IdType]
_ANYBODY = Direct(select(exists().where(forgotten.c.hash.is_not(None))))


class Hashing:
    """HMAC-SHA256 of ids of one type; half the time of `hmac.digest`, since the key is
    taken in once."""

    def __init__(self, key: bytes, id_type: IdType) -> None:
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(each ^ 0x36 for each in padded))
        # A user id that reads like an Amplitude id is somebody else's.
        self._inner.update(id_type.value.encode() + b"\0")
        self._outer = hashlib.sha256(bytes(each ^ 0x5C for each in padded))

    def __call__(self, member_id: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(member_id)
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Everybody who is forgotten, to be asked about ids of one type."""

    hashes: frozenset[bytes] = frozenset()
    hashing: Hashing | None = None
    position: int = 0
    """Up to which this knows of everybody."""

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def among(self, ids: Iterable[bytes]) -> list[bytes]:
        """Those of these ids that are forgotten; 0.7 µs an id, nothing if nobody is."""
        if not self.hashes or self.hashing is None:
            return []
        hashing, hashes = self.hashing, self.hashes
        return [member_id for member_id in ids if hashing(member_id) in hashes]


NOBODY = Forgotten()


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Whom a binding must not hold, and whether it was seen to hold none of them."""

    people: Forgotten = field(default=NOBODY)
    due: bool = False
    """It may still hold some."""


def add(connection: Connection, people: Sequence[Person], now: datetime) -> int:
    """Remember these people from `now` on; returns the position of the request."""
    key = hash_key(connection)
    of_type = {id_type: Hashing(key, id_type) for _, id_type in people}
    # In one order everywhere: two replicas must not wait for each other.
    hashes = sorted({of_type[id_type](member_id) for member_id, id_type in people})
    upsert = insert_into(connection, forgotten)
    upsert = upsert.on_conflict_do_update(
        index_elements=[forgotten.c.hash], set_={"at": upsert.excluded.at}
    )
    for some in _blocks(hashes):
        connection.execute(upsert, [{"hash": each, "at": now} for each in some])
    return _advance(connection)


def _advance(connection: Connection) -> int:
    following = cast(cast(meta.c.value, Integer) + 1, Text)
    upsert = (
        insert_into(connection, meta)
        .values(key=POSITION, value="1")
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": following})
        .returning(meta.c.value)
    )
    return int(connection.execute(upsert).scalar_one())


def position(connection: Connection) -> int:
    """Of the newest request; 0 where there was none."""
    return _number(connection, POSITION)


def count(connection: Connection) -> int:
    """How many ids are remembered."""
    query = select(func.count()).select_from(forgotten)
    return int(connection.execute(query).scalar_one())


def load(connection: Connection, id_type: IdType) -> Forgotten:
    """Everybody who is forgotten."""
    # The position first: whoever is recorded meanwhile is among the hashes at least.
    reached = position(connection)
    if not reached:
        return NOBODY
    key = known_hash_key(connection)
    hashes = frozenset(connection.execute(select(forgotten.c.hash)).scalars())
    if key is None or not hashes:
        return Forgotten(position=reached)
    return Forgotten(hashes=hashes, hashing=Hashing(key, id_type), position=reached)


def since(connection: Connection, person: Person) -> datetime | None:
    """When this person was forgotten; None: they are not."""
    key = known_hash_key(connection)
    if key is None:
        return None
    member_id, id_type = person
    wanted = Hashing(key, id_type)(member_id)
    query = select(forgotten.c.at).where(forgotten.c.hash == wanted)
    return connection.execute(query).scalar_one_or_none()


def named(connection: Connection, ids: Sequence[bytes], id_type: IdType) -> list[bytes]:
    """Those of a batch's ids that are forgotten; asks for their rows alone."""
    ((anybody,),) = _ANYBODY.rows(connection)
    if not anybody:
        return []
    key = known_hash_key(connection)
    if key is None:
        return []
    hashing = Hashing(key, id_type)
    found: set[bytes] = set()
    by_hash = {hashing(member_id): member_id for member_id in ids}
    for some in _blocks(list(by_hash)):
        rows = connection.execute(
            select(forgotten.c.hash).where(forgotten.c.hash.in_(some))
        )
        found.update(by_hash[each] for each in rows.scalars())
    return [member_id for member_id in ids if member_id in found]


# ---- who has let them go ------------------------------------------------------------


def left(connection: Connection, binding_id: int | None, id_type: IdType) -> Left:
    """What a plan of this binding has to mind; None: a binding that is not made yet."""
    people = load(connection, id_type)
    if not people:
        return Left(people=people)
    return Left(
        people=people,
        due=binding_id is None or reached(connection, binding_id) < people.position,
    )


def is_due(connection: Connection, binding_id: int) -> bool:
    """Whether somebody was forgotten since this binding was seen to hold none."""
    newest = position(connection)
    return newest > 0 and reached(connection, binding_id) < newest


def reached(connection: Connection, binding_id: int) -> int:
    """The position up to which this binding holds nobody who is forgotten."""
    return _number(connection, _key(binding_id))


def note_left(connection: Connection, binding_id: int, position: int) -> None:
    """This binding, and all that is stored for it, names nobody up to the position."""
    _put(connection, _key(binding_id), position)


def look_again(connection: Connection, binding_id: int) -> None:
    """Members came to this binding in another way than by a plan: it is due."""
    connection.execute(delete(meta).where(meta.c.key == _key(binding_id)))


def is_rewritten(connection: Connection, position: int) -> bool:
    """Whether the store's file was written anew since then."""
    return _number(connection, REWRITTEN) >= position


def note_rewritten(connection: Connection, position: int) -> None:
    """The store's file holds nobody any more who was forgotten up to the position."""
    _put(connection, REWRITTEN, position)


def prune(connection: Connection, now: datetime, *, waiting: bool) -> int:
    """Let go of those who were forgotten `KEEP` ago; returns how many.

    Nobody while a sync still has to let them go (`waiting`): it would keep them.
    """
    if waiting:
        return 0
    old = forgotten.c.at < now - KEEP
    return connection.execute(delete(forgotten).where(old)).rowcount


def _blocks(hashes: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for first in range(0, len(hashes), _TOGETHER):
        yield hashes[first : first + _TOGETHER]


def _key(binding_id: int) -> str:
    return f"{POSITION}:{binding_id}"


def _put(connection: Connection, key: str, position: int) -> None:
    value = str(position)
    connection.execute(
        insert_into(connection, meta)
        .values(key=key, value=value)
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": value})
    )


def _number(connection: Connection, key: str) -> int:
    query = select(meta.c.value).where(meta.c.key == key)
    return int(connection.execute(query).scalar_one_or_none() or 0)
