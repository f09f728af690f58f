"""What a lane learns from one request. A value: a failure is told, never raised."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.errors import DeliveryError, SyncdError
from syncd.model import Settled, Settlement
from syncd.store.outbox import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What comes next."""

    put_back: Sequence[Waiting] = ()
    ended: Settlement | None = None
    throttled_until: datetime | None = None
    """The whole connection waits until then."""
    empty_creation: bool = False
    bound: bool = False
    """The target exists from now on."""
    accepted: int = 0
    """Ids that the destination took."""
    made_way: bool = False
    """The lane went on before this was durable."""
    rejected: int = 0
    """Ids that it refused one by one."""


def ended(state: Settled, error: SyncdError) -> Step:
    """The lane comes to rest."""
    return Step(ended=stopped(state, error))


def stopped(state: Settled, error: SyncdError) -> Settlement:
    """Why it does."""
    code = error.error_type if isinstance(error, DeliveryError) else error.code
    return Settlement(state=state, code=code, message=str(error))
