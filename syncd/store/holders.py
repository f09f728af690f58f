"""Who has leases, as a person would look for it: a process on a machine."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from syncd.store.leases import is_dead
from syncd.store.tables import lease
from syncd.store.tables import sync as known_sync


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Where to look for whoever has a lease."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def process_of(holder: str) -> Process | None:
    """What `leases.holder_name` made of a process; None where the text is none."""
    machine, _, rest = holder.partition("/")
    pid, _, _ = rest.partition("/")
    if not pid.isdecimal():
        return None
    return Process(host=machine.rsplit(":", 2)[0], pid=int(pid))


def shown(holder: str) -> str:
    """`process 21280 on vm`."""
    return str(process_of(holder) or holder)


def at_work(connection: Connection, now: datetime) -> list[tuple[str, str]]:
    """(sync, holder) of every sync that somebody may still write to, by name.

    Neither of leases that are over, nor of processes of this machine that are gone.
    """
    # Whoever tells notifications has a lease as well, of that.
    syncs = select(known_sync.c.name)
    query = select(lease.c.sync, lease.c.holder).where(
        lease.c.released.is_(False),
        lease.c.expires_at > now,
        lease.c.sync.in_(syncs),
    )
    rows = connection.execute(query.order_by(lease.c.sync)).all()
    gone = {each for each in {row.holder for row in rows} if is_dead(each)}
    return [(row.sync, row.holder) for row in rows if row.holder not in gone]
