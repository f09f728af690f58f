"""Where changes go. A sink makes somebody else agree about membership."""

from dataclasses import dataclass
from typing import Protocol

from syncd.model import Batch, Found, Receipt, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the engine may ask of a sink; data, asked before use."""

    max_in_flight: int
    """Requests at once for one target. Amplitude answers 429 to a second one."""
    max_batch: int
    """Ids in one request."""
    replaces: int | None = None
    """Ids that one request takes in the place of all members (`Operation.REPLACE`);
    None: there is no such request."""
    can_probe: bool = True
    """Whether `probe` proves anything. Else an open batch shows, once its turn comes,
    whether a stopped connection works again."""


class Sink(Protocol):
    """One way of writing membership to one connection. Thread-safe."""

    @property
    def capabilities(self) -> Capabilities: ...

    def find(self, target: Target) -> Found | None:
        """Look the target up without spending any quota; None when it is not listed.

        Bound targets are looked up by id, unbound ones by name and owner. Raises
        `TargetUnusable` when it is there but must not be written (archived, dynamic,
        several of that name), `DeliveryError` when the vendor cannot be asked.
        """
        ...

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """Send one batch; create the target first if it is unbound.

        Delivering a batch twice has the effect of once. Raises `DeliveryError` when
        nothing is proven (the ids stay uncertain) and `TargetUnusable` when an
        ambiguous creation cannot be resolved. Never retries by itself.
        """
        ...

    def probe(self) -> None:
        """Check the credentials with a free call; raise `DeliveryError` if refused."""
        ...
