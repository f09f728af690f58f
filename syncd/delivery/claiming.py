"""What is read before a request: may the batch go, whom does it name, and where to.

One read-only transaction, at the last moment: a lease that is nearly over, a wait that
another process was told of, and people who are to be forgotten since the plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.clock import Clock
from syncd.delivery.lane import Lane, Route
from syncd.model import Batch, Operation, Target
from syncd.store import bindings, connections, forgotten, leases, outbox
from syncd.store.bindings import Binding
from syncd.store.database import Connection, Database
from syncd.store.outbox import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A batch that may go now."""

    batch: Batch
    binding: Binding
    """The target it is for."""
    gone: Sequence[bytes]
    """Whom it must not add any more: then it does not go as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """Another process was told to send the connection nothing."""

    until: datetime


def claim(
    database: Database, clock: Clock, lane: Lane, waiting: Waiting
) -> Claimed | Throttled:
    """Read the batch and its target. Raises `LeaseLost`, `StoreError`."""
    with database.read() as connection:
        leases.require(
            connection, lane.lease, clock.wall(), lane.route.request_deadline
        )
        until = _throttled_elsewhere(connection, lane.route, clock)
        if until is not None:
            return Throttled(until=until)
        batch = outbox.claim(connection, waiting.id)
        binding = bindings.get(connection, waiting.binding_id)
        gone = _to_be_forgotten(connection, batch, binding)
    return Claimed(batch=batch, binding=binding, gone=gone)


def _throttled_elsewhere(
    connection: Connection, route: Route, clock: Clock
) -> datetime | None:
    """Until when another process was told to send nothing; one alone knows."""
    if connection.dialect.name == "sqlite":
        return None
    until = connections.get(connection, route.connection).throttled_until
    return until if until is not None and until > clock.now() else None


def _to_be_forgotten(
    connection: Connection, batch: Batch, binding: Binding
) -> list[bytes]:
    """Whom a batch must not add any more, whenever it was planned."""
    if batch.operation is Operation.REMOVE:
        return []
    return forgotten.named(connection, batch.ids, binding.id_type)


def target_of(binding: Binding) -> Target:
    """The binding as a sink sees it."""
    return Target(
        sync=binding.sync,
        name=binding.external_name or binding.target.partition(":")[2],
        owner=binding.owner,
        id_type=binding.id_type,
        external_id=binding.external_id,
        creation_intent_at=binding.creation_intent_at,
    )
