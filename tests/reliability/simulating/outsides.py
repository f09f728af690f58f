"""The world outside one simulated history: lists, words, destinations with troubles.

Each says what it did to whoever judges: a list, once it was told whole; a request,
before its effect, after it, and once its answer is on the way.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from syncd.config.settings import Events, FromAudience, SyncSettings
from syncd.errors import DeliveryError, Fault, SourceUnavailable, SourceUntrusted
from syncd.model import Batch, Found, IdType, Operation, Receipt, Target
from syncd.sinks import Capabilities
from syncd.sources import Answer, Postponed, Question, Unchanged
from syncd.store.database import Database
from syncd.sync import ids as hygiene
from tests.builders import (
    FAILED_BEFORE,
    GONE,
    LOST_ANSWER,
    REFUSED,
    UNAUTHORIZED,
    AskedSource,
    Cohort,
    FakeVendor,
    ListSource,
    PushedFeed,
    Trouble,
)
from tests.reliability.simulating.stepwise import VirtualClock

Told = Callable[[frozenset[bytes]], None]
"""Called with the ids that a list or words say, those that hygiene lets through."""

ODD_IDS: tuple[bytes, ...] = (
    b"",
    b" ",
    b" person-0001",
    b"person-0001\x00",
    b"\xed\xa0\x80",  # a lone surrogate
    b"\xff\xfe",
    b"x" * 1025,
    b"007",
    b"7",
    b"1e3",
    b"1.0",
    b"null",
    "rené-0001".encode(),  # é as one character …
    "rene\u0301-0001".encode(),  # … and as two
    b"Person-0001",
)
"""What lists hold beside people's ids. Those that may go out are strangers there."""

TROUBLES: dict[str, Trouble] = {
    "5xx": FAILED_BEFORE,
    "5xx_applied": replace(FAILED_BEFORE, applied=True),
    "reset": Trouble(fault=Fault.PASSING, error_type="connect", status=None),
    "lost": LOST_ANSWER,
    "409": Trouble(fault=Fault.PASSING, error_type="http_4xx", status=409),
    "409_applied": Trouble(
        fault=Fault.PASSING, error_type="http_4xx", status=409, applied=True
    ),
    "429": Trouble(fault=Fault.PASSING, error_type="rate_limited", status=429),
    "429_60": Trouble(
        fault=Fault.THROTTLED, error_type="rate_limited", status=429, retry_after=60.0
    ),
    "429_900": Trouble(
        fault=Fault.THROTTLED, error_type="rate_limited", status=429, retry_after=900.0
    ),
    "400": REFUSED,
    "401": replace(UNAUTHORIZED, status=401),
    "403": UNAUTHORIZED,
    "404": GONE,
    "forbidden": Trouble(fault=Fault.REFUSED, error_type="forbidden", status=403),
    "garbled": Trouble(
        fault=Fault.PASSING, error_type="bad_response", status=200, applied=True
    ),
    "elsewhere": Trouble(fault=Fault.PASSING, error_type="bad_response", status=200),
}
"""Answers by name. `garbled` is a 200 that nobody can read, `elsewhere` one that names
another cohort: the client raises the same for both (its contract tests show that)."""


LATE = {
    "late_25": timedelta(seconds=25),
    "late_600": timedelta(minutes=10),
    "late_3000": timedelta(minutes=50),
}
"""Nobody answers, and it takes effect so much later: within `late_landings`."""


def valid(listed: set[bytes], id_type: IdType) -> frozenset[bytes]:
    """Those that may go out, one by one by the rule itself."""
    return frozenset(each for each in listed if hygiene.reason(each, id_type) is None)


# ---- lists and words ----------------------------------------------------------------


class ToldList(ListSource):
    """A list that can be read at any time, and goes wrong as it is told to."""

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        super().__init__(members)
        self.told: Told = lambda _: None
        self.odd: set[bytes] = set()
        self.trouble = ""
        """Of the next read: down, midway, short, stale; of all: `always_` before it."""
        self.id_type = IdType.USER_ID

    def everybody(self) -> set[bytes]:
        """Whom it lists now, by the ids that the sync matches on."""
        listed = {as_type(each, self.id_type) for each in self.members}
        if self.id_type is IdType.AMPLITUDE_ID:
            return listed | {each for each in self.odd if not each.isdigit()}
        return listed | self.odd

    def blocks(self) -> Iterator[list[bytes]]:
        """See `WholeList.blocks`."""
        trouble = self.trouble.removeprefix("always_")
        if trouble == self.trouble:
            self.trouble = ""
        if trouble == "down":
            raise SourceUnavailable("no answer")
        if trouble == "stale":
            raise SourceUntrusted("older than the last list", code="source.stale")
        listed = sorted(self.everybody())
        yield listed[: len(listed) // 2 + 1]
        if trouble == "midway":
            raise SourceUnavailable("the connection broke", code="source.broken")
        yield listed[len(listed) // 2 :]
        if trouble == "short":
            raise SourceUntrusted("fewer rows than counted", code="source.short")
        self.told(valid(set(listed), self.id_type))


class AskedList(AskedSource, ToldList):
    """A list that must be asked for first: it has a mark, and may say not now."""

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        super().__init__(members)
        self.edition = 0

    def postpone(self) -> None:
        """Say "not now" to the next question."""
        self.answer = Postponed(reason="quota", message="the quota is used up")

    def ask(self, question: Question) -> "AskedSource | Unchanged | Postponed":
        """See `Source.ask`; what it says once is not said again."""
        self.version = str(self.edition)
        said = super().ask(question)
        self.answer = None
        return said


def as_type(person: bytes, id_type: IdType) -> bytes:
    """A person's id of that type."""
    if id_type is IdType.USER_ID:
        return person
    return b"7" + person[-4:].rjust(9, b"0")


def type_of(member: bytes) -> IdType:
    """Which id of a person it is."""
    numeric = len(member) == 10 and member.isdigit()
    return IdType.AMPLITUDE_ID if numeric else IdType.USER_ID


class ToldFeed(PushedFeed):
    """Words about people, with the newest of each kept beside as the truth."""

    def __init__(
        self, sync: SyncSettings, database: Database, clock: VirtualClock
    ) -> None:
        assert isinstance(sync.source, FromAudience)
        heard = Events(
            snapshot_lag=timedelta(hours=2), relist_every=None, without_value="ignore"
        )
        fed = replace(sync, source=replace(sync.source, events=heard))
        super().__init__(fed, database, clock)
        self.settings = fed
        self.told: Told = lambda _: None
        self._true = clock
        self._words: dict[bytes, tuple[datetime, bool]] = {}
        self._number = 0

    def ask(self, question: Question) -> Answer:
        """See `Source.ask`."""
        self.told(frozenset(self.wanted()))
        return super().ask(question)

    def wanted(self) -> set[bytes]:
        """Whose newest word says that they are in."""
        return {each for each, (_, inside) in self._words.items() if inside}

    def speak(self, enter: set[bytes], leave: set[bytes], ago: timedelta) -> None:
        """One message, of a moment that may lie back; no two are of the same moment."""
        self._number += 1
        at = self._true.true() - ago + timedelta(microseconds=self._number)
        self.say(enter=enter, leave=leave, at=at)
        for each in enter | leave:
            if each not in self._words or self._words[each][0] < at:
                self._words[each] = at, each in enter


# ---- destinations -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, as it arrived."""

    sync: str
    operation: Operation
    ids: tuple[bytes, ...]
    run_id: str
    plan_id: str
    attempts: int
    cohort: str
    """Its id; where it is to be created, its name."""
    name: str
    """As we call it."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """Who is told of each request."""

    before: Callable[[Asked], None] = lambda _: None
    after: Callable[[Asked], None] = lambda _: None
    answered: Callable[[Asked, Receipt | None], None] = lambda *_: None
    """It is over for the destination; its answer is on the way."""


@dataclass(kw_only=True)
class Destination(FakeVendor):
    """A `FakeVendor` whose n-th request from now goes wrong as it was told."""

    style: str = "cohort"
    """cohort, trait or partner."""
    orders: dict[int, str] = field(default_factory=dict)
    constant: str = ""
    """What becomes of every request that no order is about."""
    finds: list[str] = field(default_factory=list)
    """What becomes of the next free calls."""
    told: Watch = field(default_factory=Watch)
    sent_to: dict[str, set[bytes]] = field(default_factory=dict)
    """D: every id that was ever sent for a cohort, by its id."""
    edited: dict[str, set[bytes]] = field(default_factory=dict)
    """Whom somebody else put in or out since we last did, by cohort."""
    delayed: list[tuple[timedelta, Asked, Target]] = field(default_factory=list)
    """Requests that nobody waits for any more, and when they take effect."""
    clock: VirtualClock

    @property
    def capabilities(self) -> Capabilities:
        """As the style has it."""
        return Capabilities(
            max_in_flight=1 if self.style == "cohort" else 4,
            max_batch=1000,
            can_probe=self.can_probe,
        )

    def order(self, request: int, what: str) -> None:
        """What becomes of the n-th request from now."""
        self.orders.setdefault(request, what)

    def heal(self) -> None:
        """All is well from now on, and nobody is invalid any more."""
        self.orders.clear()
        self.finds.clear()
        self.constant, self.locked_out = "", False
        self.largest, self.invalid = 1_000_000, set()
        for cohort in self.cohorts.values():
            cohort.archived = cohort.gone = False

    def find(self, target: Target) -> Found | None:
        """See `Sink.find`."""
        if self.finds:
            raise TROUBLES[self.finds.pop(0)].error()
        if self.style == "cohort":
            return super().find(target)
        name = target.external_id or target.name
        self.cohorts.setdefault(name, Cohort(id=name, name=name))
        return Found(external_id=name, name=name, size=None)

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """See `Sink.deliver`."""
        asked = Asked(
            sync=target.sync,
            operation=batch.operation,
            ids=batch.ids,
            run_id=batch.run_id,
            plan_id=batch.plan_id,
            attempts=batch.attempts,
            cohort=self._cohort_of(target),
            name=target.name,
        )
        self.sent_to.setdefault(asked.cohort, set()).update(asked.ids)
        self.orders = {n - 1: what for n, what in self.orders.items()}
        what = self.orders.pop(0, self.constant)
        receipt = None
        try:
            with self._under_way(asked.cohort):
                self.told.before(asked)
                receipt = self._carried_out(asked, target, what)
                self.told.after(asked)
        finally:
            self.told.answered(asked, receipt)
        return receipt

    def _cohort_of(self, target: Target) -> str:
        if target.external_id:
            return target.external_id
        listed = self._listed(target)
        return listed[0].id if listed else target.name

    def _carried_out(self, asked: Asked, target: Target, what: str) -> Receipt:
        trouble = UNAUTHORIZED if self.locked_out else TROUBLES.get(what)
        if what in LATE and target.external_id and not self.locked_out:
            self.delay(asked, target, LATE[what])
            raise LOST_ANSWER.error()
        if trouble is not None and not trouble.applied:
            raise trouble.error()
        receipt = self._applied(asked, target)
        if trouble is not None:
            self.told.after(asked)
            raise trouble.error()
        return receipt

    def _applied(self, asked: Asked, target: Target) -> Receipt:
        if self.style == "cohort":
            receipt = self._effect_of(asked, target)
        else:
            receipt = self._wide_effect(asked, target)
        cohort = self._cohort_of(target)
        self.sent_to.setdefault(cohort, set()).update(asked.ids)  # created just now
        self.edited.setdefault(cohort, set()).difference_update(receipt.accepted)
        return receipt

    def _effect_of(self, asked: Asked, target: Target) -> Receipt:
        """As `FakeVendor` has it, for its kind of request."""
        self.ever_sent.update(asked.ids)
        return self._effect(asked, target)  # type: ignore[arg-type]  # the same fields

    def _wide_effect(self, asked: Asked, target: Target) -> Receipt:
        members = self.cohorts[self._cohort_of(target)].members
        if self.style == "partner" and not self.known >= set(asked.ids):
            raise Trouble(
                fault=Fault.BAD_IDS, error_type="unknown_user", status=404
            ).error()
        if asked.operation is Operation.ADD:
            members.update(asked.ids)
        else:
            members.difference_update(asked.ids)
        return Receipt(accepted=asked.ids, request_id="r")

    # -- whatever nobody waits for --

    def delay(self, asked: Asked, target: Target, by: timedelta) -> None:
        """It takes effect once this time has passed."""
        at = timedelta(seconds=self.clock.monotonic()) + by
        self.delayed.append((at, asked, target))

    def arrive(self) -> list[Asked]:
        """Let delayed requests take effect whose time has come; returns those."""
        now = timedelta(seconds=self.clock.monotonic())
        due = [each for each in self.delayed if each[0] <= now]
        self.delayed = [each for each in self.delayed if each[0] > now]
        for _, asked, target in due:
            if asked.cohort in self.cohorts and not self.cohorts[asked.cohort].gone:
                with suppress(DeliveryError):  # refused, and nobody hears of it
                    self._applied(asked, target)
        return [asked for _, asked, _ in due]

    def edit(self, cohort: str, *, enter: set[bytes], leave: set[bytes]) -> None:
        """A person puts people in and out, those that there are."""
        members, enter = self.cohorts[cohort].members, enter & self.known
        moved = (enter - members) | (leave & members)
        members.update(enter)
        members.difference_update(leave)
        self.edited.setdefault(cohort, set()).update(moved)
