"""A run that some process is to begin, as it stands in the queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self

from syncd.model import Trigger

QUEUE = "syncd"
TASK = "run"


class Queued(StrEnum):
    """What became of a job that was to be queued."""

    NEW = "new"
    """It waits for a worker now."""
    BEFORE = "before"
    """The same is queued, or being carried out, already."""
    OVERLAP = "overlap"
    """The sync's last due time still waits or is being run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one sync."""

    sync: str
    trigger: Trigger
    slot: datetime | None = None
    """The due time it is for; None where it is for none."""

    @property
    def queueing_lock(self) -> str:
        """No two with the same one wait: due times of a sync, or runs of one cause."""
        return f"{self.sync} {'slot' if self.slot else self.trigger}"

    @property
    def arguments(self) -> dict[str, str | None]:
        """As JSON takes them."""
        slot = self.slot.isoformat() if self.slot else None
        return {"sync": self.sync, "trigger": self.trigger.value, "slot": slot}

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """The job with these `arguments`, as they came back from JSON.

        Raises `ValueError` for those of another version, or by somebody's hand.
        """
        try:
            slot = arguments["slot"]
            return cls(
                sync=str(arguments["sync"]),
                trigger=Trigger(str(arguments["trigger"])),
                slot=datetime.fromisoformat(slot) if slot else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no job of ours: {error}") from None


class Jobs(Protocol):
    """Where runs are deferred to; without one a process runs them by itself."""

    def put(self, job: Job, *, instead: bool = False) -> Queued:
        """Have some worker carry it out; `instead` of the one under way of its sync,
        which is ours and about to end. Raises `StoreError`."""

    def waits(self, sync: str, slot: datetime) -> bool:
        """Whether the run of this due time waits or is under way. `StoreError`."""
