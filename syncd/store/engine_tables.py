"""Tables of the job engine beside ours: which step they are at, and a step carried out.

The engine keeps no version of its own, so the step is noted in our `meta`.
"""

from sqlalchemy import Connection, inspect, select, text

from syncd.store.database import insert_into
from syncd.store.tables import meta

STEP = "job_engine_step"
_ADVISORY_KEY = 0x73796E63646A  # "syncdj"


def alone(connection: Connection) -> None:
    """One process at a time from here to the end of the transaction."""
    query = text("SELECT pg_advisory_xact_lock(:key)")
    connection.execute(query, {"key": _ADVISORY_KEY})


def step(connection: Connection) -> str | None:
    """The last step carried out here; None where there was none."""
    query = select(meta.c.value).where(meta.c.key == STEP)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def has_table(connection: Connection, name: str) -> bool:
    """Whether such a table is there, whoever made it."""
    return inspect(connection).has_table(name)


def carry_out(connection: Connection, script: str, step: str) -> None:
    """Run the engine's script, and note the step it leads to."""
    # Without parameters the driver takes several statements, and a % is one.
    connection.exec_driver_sql(script, execution_options={"no_parameters": True})
    connection.execute(
        insert_into(connection, meta)
        .values(key=STEP, value=step)
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": step})
    )
