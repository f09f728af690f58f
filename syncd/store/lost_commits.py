"""What a failover may have lost, and the next command, in words: for runs and pages."""

from datetime import datetime

from syncd.model import Fed, Trigger


def lost_acknowledgements(at: datetime, *, also_events: bool) -> str:
    """What a failover did to the target."""
    what = "what was acknowledged last"
    if also_events:
        what += ", and events that were answered"
    return f"{_failed_over(at)} {what}: reconcile first"


def lost_events(at: datetime, fed: Fed) -> str:
    """What a failover did to what was pushed, and what ends that."""
    if fed.list_lag is None:
        ends = "have its sender send everybody again, then say so"
    else:
        ends = f"a whole list made after {at + fed.list_lag:%Y-%m-%d %H:%M} UTC tells"
    return f"{_failed_over(at)} events that were answered: {ends}"


def _failed_over(at: datetime) -> str:
    return f"the database failed over ({at:%Y-%m-%d %H:%M} UTC) and may have lost"


def reconciling(name: str, *, readable: bool, tried: Trigger | None = None) -> str:
    """The next command towards knowing who is at the target. `tried`: what a run did
    that was not enough."""
    adopt = f'syncd resync {name} --adopt --reason "..."'
    if readable:
        # A repair leaves strangers, who may be whom a lost commit named.
        return adopt if tried is Trigger.REPAIR else f"syncd verify {name} --repair"
    push = f'syncd resync {name} --push --reason "..."'
    return adopt if tried is Trigger.RESYNC else push


def hearing(name: str, fed: Fed) -> str:
    """The next command towards having heard everything."""
    if fed.list_lag is not None:
        return f"syncd run {name}"
    return f'syncd resync {name} --heard --reason "..."'
