"""The nouns of the product, as frozen values. No behaviour beyond their own shape.

Words are the glossary's (README): a *member* is one id in an audience; a *change* is
one member and an operation; a *batch* is up to `batch_size` changes of one operation
for one target; a *receipt* is what a destination answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Operation(StrEnum):
    """What a batch asks the destination to do with its ids."""

    ADD = "add"
    """The ids entered: they must be members afterwards."""
    REMOVE = "remove"
    """The ids exited: they must not be members afterwards."""
    REPLACE = "replace"
    """The ids are all there shall be; nobody else may be a member afterwards.

    The answer proves nothing of anybody: ADD and REMOVE of the same plan follow and do.
    """


class IdType(StrEnum):
    """Which id of a person a sync matches on (`match:` in the config)."""

    USER_ID = "user_id"
    """The customer's own id, case-sensitive and opaque."""
    AMPLITUDE_ID = "amplitude_id"
    """Amplitude's numeric id, carried as a decimal string."""


class Trigger(StrEnum):
    """Why a run exists."""

    SCHEDULE = "schedule"
    """Its slot came due."""
    CATCH_UP = "catch_up"
    """Slots were missed while no daemon was alive; one run makes up for all."""
    PUSH = "push"
    """News was pushed to us, and the sync is to run soon after it (`run_after`)."""
    MANUAL = "manual"
    """A person typed `syncd run`."""
    APPROVE = "approve"
    """A person approved a held plan; sends exactly that plan, reads no source."""
    RESUME = "resume"
    """A run was cut off; sends its open batches, reads no source."""
    FORGET = "forget"
    """People are to be forgotten; removes them, reads no source."""
    REPAIR = "repair"
    """A person typed `syncd verify --repair`: sends what was found to differ."""
    RESYNC = "resync"
    """A person typed `syncd resync`: begins anew with the target."""
    DETACH = "detach"
    """A person typed `syncd detach --empty`: removes everybody, reads no source."""


class Outcome(StrEnum):
    """How a run ended. The first two are OK."""

    SUCCESS = "success"
    """Everything sent was acknowledged; the acknowledged set equals the snapshot."""
    NO_CHANGE = "no_change"
    """Nothing had to be sent."""
    PARTIAL = "partial"
    """Some batches still wait or are dead; the next due run takes them over."""
    HELD = "held"
    """A guard stopped it before the first byte; a person decides."""
    FAILED = "failed"
    """It could not be carried out; nothing is forgotten."""
    SKIPPED = "skipped"
    """Its slot was not run (overlap, held, paused), on purpose and recorded."""
    INTERRUPTED = "interrupted"
    """The daemon was asked to stop; another one goes on with it, or its next start."""
    ABANDONED = "abandoned"
    """Found unfinished at start: the process had died."""


class BatchState(StrEnum):
    """Where a batch is in the outbox."""

    OPEN = "open"
    """To be sent, or sent without a proven answer: its ids are uncertain."""
    HELD = "held"
    """Part of a plan that waits for a person; never sent while held."""
    ACKNOWLEDGED = "acknowledged"
    """A parsed 2xx settled every id of it."""
    DEAD = "dead"
    """A terminal answer: not sent again, blocks nobody, its ids stay uncertain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a sink writes to: one Amplitude cohort, one partner list, one trait."""

    sync: str
    """The sync that writes here."""
    name: str
    """The name it has, or gets when it is created."""
    owner: str
    """Login e-mail of the owner at the vendor; empty where the vendor has none."""
    id_type: IdType
    external_id: str | None
    """The vendor's id once known (bound), else None."""
    creation_intent_at: datetime | None = None
    """When we durably decided to create it; None if that was never decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A target as the destination lists it now (free to ask)."""

    external_id: str
    name: str
    size: int | None
    """Members the vendor counts; None when it was never computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How many ids answers proved in and out over a span of time."""

    entered: int = 0
    exited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBatch:
    """A batch as a plan made it, before it has a key in the outbox."""

    operation: Operation
    ids: Sequence[bytes]
    first_bucket: int
    """The lowest bucket any of its ids is in."""
    last_bucket: int
    """The highest bucket any of its ids is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One audience or cohort as its owner pushes it to us, by one kind of id."""

    connection: str
    key: str
    """Key of the audience (Engage) or id of the cohort (Amplitude)."""
    id_type: IdType


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What is pushed to a sync, and what corrects it."""

    feed: Feed
    list_lag: timedelta | None
    """How far a whole list may be behind; None: none is ever read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a message says of one audience or cohort: these people are in, or out.

    Who is told of last holds, not how often: in and out are states, no steps.
    """

    feed: Feed
    ids: Sequence[bytes]
    """UTF-8 member ids that passed hygiene; duplicates allowed."""
    inside: bool
    at: datetime | None = None
    """When that became so, by the sender's clock; None where the sender gives no time:
    then the order of arrival decides."""
    tie: str = ""
    """Decides between two that became so at the same time; the greater one wins, of
    equal ones the later arrival."""
    name: str = ""
    """What the audience or cohort is called, where the message says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One pushed message: taken whole, and once."""

    connection: str
    id: str
    """The sender's id of it, the same for every retry; empty where there is none."""
    told: tuple[Told, ...] = ()
    deleted: tuple[tuple[bytes, IdType], ...] = ()
    """People to be forgotten: out of every audience of this connection."""
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One request worth of changes: one operation, one target, distinct ids."""

    id: int
    """Primary key in the outbox; the order of ids is the order of application."""
    binding_id: int
    run_id: str
    """The run that sends it now; the run of a later resumption is another one."""
    operation: Operation
    ids: tuple[bytes, ...]
    """UTF-8 member ids, 1 to `batch_size`, no duplicates."""
    plan_id: str = ""
    """The run whose plan made it: the same over retries, halves and resumptions, and
    new for every plan. A plan names an id once, so (plan_id, id) is one transition."""
    planned_at: datetime | None = None
    """When that plan was made; None for batches of the first schema."""
    attempts: int = 0
    """Requests already made for it in this run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A parsed answer that proves what happened to every id of a batch.

    `accepted` + `unmatched` + `rejected` are exactly the batch's ids, unless `created`
    is set (then nobody was acknowledged yet and the batch is sent again) or `replaced`.
    """

    accepted: tuple[bytes, ...] = ()
    unmatched: tuple[bytes, ...] = ()
    """Ids the destination does not know: not members, offered again later."""
    rejected: Mapping[bytes, str] = field(default_factory=dict)
    """Ids refused for good, with the reason."""
    created: Found | None = None
    """Set when this request created (or adopted) the target."""
    status: int = 200
    """HTTP status of the answer."""
    request_id: str = ""
    """The vendor's own id of the request, where it names one."""
    replaced: bool = False
    """True when the target took the ids in the place of all members. Nobody was
    acknowledged by that."""
    created_empty_handed: bool = False
    """True when creation was refused because every id was unknown (all unmatched)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDigest:
    """Order-free fingerprint of a source's list.

    Two lists with equal digests hold the same ids (but for a 2**-64 chance).
    """

    count: int
    """Ids read, duplicates included, refused ids excluded."""
    total: int
    """Sum of xxh3-64 of each id, modulo 2**64."""


class Settled(StrEnum):
    """How far the batches of a run got."""

    DONE = "done"
    """Every batch is acknowledged or dead."""
    WAITING = "waiting"
    """Retries are used up or time is over; open batches wait for the next due run."""
    TARGET = "target"
    """The target must not be written any more: hold the sync."""
    CREDENTIALS = "credentials"
    """The connection was stopped: its credentials are refused."""
    REFUSED = "refused"
    """The destination refused in a way that every further batch would meet."""
    INTERRUPTED = "interrupted"
    """The process was asked to stop."""
    LOST = "lost"
    """Another process took the sync over, or the store failed: nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of a delivery: how far, and the code and words of what stopped it."""

    state: Settled
    code: str = ""
    message: str = ""
    in_flight: bool = False
    """True when a request was left on the wire: nobody waits for its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that one channel tells people of: one row of `condition`.

    Open until `resolved_at`, and closed once that was told as well.
    """

    channel: str
    kind: str
    """A word of `syncd.notify.Kind`."""
    subject: str
    """The sync, connection, project or host that it is about."""
    sync: str | None
    """Set where the subject is a sync."""
    cause: str
    """What is equal in those that are told together."""
    text: str
    """The headline as it was last seen."""
    opened_at: datetime
    told_at: datetime | None = None
    """When the channel took the last message about it; None: nobody was told yet."""
    resolved_at: datetime | None = None

    @property
    def key(self) -> str:
        """`growth-oncall/held/churn-risk`."""
        return f"{self.channel}/{self.kind}/{self.subject}"
