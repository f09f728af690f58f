"""How far each sync's destination was from what it acknowledged, when last looked."""

from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, delete, select

from syncd.store.database import insert_into
from syncd.store.tables import meta

_PREFIX = "verified:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The last one of a sync."""

    at: datetime
    drift: float
    """Share of people who differed, 0 to 1."""


def note(connection: Connection, sync: str, done: Verification) -> None:
    """Keep it, in the place of the one before."""
    text = orjson.dumps({"at": done.at, "drift": done.drift}).decode()
    connection.execute(
        insert_into(connection, meta)
        .values(key=_PREFIX + sync, value=text)
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": text})
    )


def forget(connection: Connection, sync: str) -> None:
    """Its target is none of ours any more."""
    connection.execute(delete(meta).where(meta.c.key == _PREFIX + sync))


def known(connection: Connection) -> dict[str, Verification]:
    """The last verification of each sync that ever had one."""
    rows = connection.execute(
        select(meta.c.key, meta.c.value).where(
            meta.c.key.startswith(_PREFIX, autoescape=True)
        )
    )
    return {key.removeprefix(_PREFIX): _verification(value) for key, value in rows}


def _verification(text: str) -> Verification:
    found = orjson.loads(text)
    return Verification(
        at=datetime.fromisoformat(found["at"]), drift=float(found["drift"])
    )
