"""Which cohorts are not read at all. Pure: what the free list says, and who writes it.

Refusing is loud (a failed run), since every one of these would otherwise look like a
cohort that everybody left.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncd.clients.amplitude_answers import Cohort

MAX_SIZE = 2_000_000
"""Users in a cohort that may be downloaded (contract section 3)."""
SEGMENT_PREFIX = "[Segment] "
"""How cohorts begin that Segment's own destination writes, and ours by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a cohort is not read."""

    code: str
    message: str
    hint: str


def refusal(cohort: Cohort, *, writers: Sequence[str], linked: bool) -> Refusal | None:
    """Why this cohort must not be read, or None.

    `writers` are the syncs of ours that write to it, or ever did.
    """
    if cohort.archived:
        return Refusal(
            code="source.archived",
            message=f"cohort {cohort.id} ({cohort.name}) is archived",
            hint="unarchive it in Amplitude, or disable the sync",
        )
    if cohort.count_group != "User":
        return Refusal(
            code="source.group",
            message=f"cohort {cohort.id} counts {cohort.count_group}, not people",
            hint="choose a cohort whose count group is User",
        )
    if cohort.size is not None and cohort.size > MAX_SIZE:
        return Refusal(
            code="source.too_large",
            message=f"cohort {cohort.id} has {cohort.size} members; Amplitude hands out"
            f" at most {MAX_SIZE}",
            hint="split the cohort, or let Amplitude push it to a receiver",
        )
    return None if linked else _echo(cohort, writers)


def our_writers(
    bound: Iterable[tuple[str, str]], project_of: Mapping[str, str], project: str
) -> list[str]:
    """The syncs among (sync, connection) that write, or wrote, to this project.

    A connection that is not configured any more counts as of this project: its name is
    all that is known of it, and a cohort's id is hardly found twice by chance.
    """
    return [sync for sync, name in bound if project_of.get(name, project) == project]


def never_computed(cohort: Cohort) -> bool:
    """Whether Amplitude does not know yet who is in it (contract 4.1)."""
    return cohort.last_computed is None and (
        cohort.finished is False or cohort.size is None
    )


def _echo(cohort: Cohort, writers: Sequence[str]) -> Refusal | None:
    """A cohort that is written from Segment must not go back there by accident."""
    if writers:
        by = f"syncd writes it ({', '.join(sorted(set(writers)))})"
    elif cohort.name.startswith(SEGMENT_PREFIX):
        by = f"its name begins with {SEGMENT_PREFIX!r}, so Segment writes it"
    else:
        return None
    return Refusal(
        code="source.echo",
        message=f"cohort {cohort.id} ({cohort.name}) is a copy: {by}",
        hint="read the original, or say `linked: true` under `from:` of this sync",
    )
