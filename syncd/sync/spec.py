"""What a run needs to know of its sync, and what it says afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from syncd.model import Fed, Outcome, Target, Trigger
from syncd.sinks import Sink
from syncd.sources import Source
from syncd.store.bindings import Binding
from syncd.sync.guard import Limits
from syncd.sync.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One sync as configured, with its parts; built by `app`."""

    name: str
    team: str
    """Who to ask about it; empty when nobody is named."""
    direction: str
    """`to-amplitude`, `to-engage` or `to-partner`."""
    identity: Identity
    target_id: str | None
    """Set when the configuration names an existing cohort or list."""
    naming: Callable[[], str]
    """The name the target gets; may ask a vendor, for free (a template). Asked until
    the first plan is stored: afterwards the target keeps its name."""
    owner: str
    """Login e-mail of the cohort's owner at the vendor."""
    source: Source
    source_connection: str
    """The connection read from; its credentials may be refused as well."""
    neighbours: frozenset[str]
    """The other syncs of the configuration: none of them may write the same target."""
    sink: Sink
    probes: Mapping[str, Callable[[], object]]
    """Connection -> a free call that checks its credentials; both ends that have one"""
    limits: Limits
    hold_on_trip: bool
    """False: a tripped guard fails the run instead of holding it."""
    batch_size: int
    max_runtime: timedelta
    request_deadline: timedelta
    """Real time."""
    late_landings: timedelta
    """How long a request without a known outcome may still take effect; 0: never."""
    config_hash: str
    fed: Fed | None = None
    """None: whole lists do alone."""

    @property
    def is_readable(self) -> bool:
        """Whether the destination says who is there; only Amplitude does."""
        return self.direction == "to-amplitude"

    def target(self, binding: Binding | None, name: str) -> Target:
        """Where to look for the target: by the id it has, else as configured."""
        bound_to = binding.external_id if binding is not None else None
        return Target(
            sync=self.name,
            name=name,
            owner=self.owner,
            id_type=self.identity.id_type,
            external_id=bound_to or self.target_id,
            creation_intent_at=binding.creation_intent_at if binding else None,
        )


@dataclass(slots=True, kw_only=True)
class Report:
    """A run's end: the canonical line's content."""

    run_id: str
    sync: str
    trigger: Trigger
    started_at: datetime
    slot: datetime | None = None
    outcome: Outcome = Outcome.FAILED
    reason: str = ""
    """Stable code of what stopped it; empty for a success."""
    message: str = ""
    """The same in a sentence."""
    hint: str = ""
    """The next command, where the error names one."""
    error_type: str | None = None
    phase: str = "collect"
    phase_ms: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    """members_before, members_after, entered, exited, refused, batches, …"""

    @property
    def short_id(self) -> str:
        """The last 8 characters, as people type them."""
        return self.run_id[-8:]

    @property
    def stopped_in(self) -> str | None:
        """The phase that kept the run from a good end; None where nothing did."""
        if self.outcome in (Outcome.SUCCESS, Outcome.NO_CHANGE):
            return None
        return self.phase

    def summary(self) -> Mapping[str, Any]:
        """What the run's row keeps, as JSON."""
        kept = dict(self.numbers)
        kept["phase_ms"] = self.phase_ms
        if self.stopped_in:
            kept["last_phase"] = self.stopped_in
        if self.message:
            kept["message"] = self.message
        if self.hint:
            kept["hint"] = self.hint
        if self.error_type:
            kept["error_type"] = self.error_type
        return kept
