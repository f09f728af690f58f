"""Parts for tests that run in one process: a source, a destination, clocks, an engine.

The destination is a fake in memory that keeps the rules of a vendor: it knows some
people, skips the others, creates a cohort with the first real batch, and does what a
script says: fail before the effect or after it, throttle, refuse, be gone. It looks at
itself while a request is under way, so that a test can judge at the worst moment.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from syncd.app.build import Blueprint
from syncd.app.engine import Engine
from syncd.app.store import OpenStore
from syncd.clock import Clock
from syncd.config.feeds import feed_of
from syncd.config.place import Place
from syncd.config.settings import (
    DeliverySettings,
    Events,
    FromAudience,
    GuardSettings,
    LogSettings,
    Settings,
    StoreSettings,
    SyncSettings,
    ToCohort,
    WebSettings,
)
from syncd.delivery.lane import Route
from syncd.delivery.retry import RetryPolicy
from syncd.errors import DeliveryError, Fault, StoreUnavailable, TargetUnusable
from syncd.model import (
    Batch,
    Fed,
    Found,
    IdType,
    Message,
    Operation,
    Receipt,
    Target,
    Told,
)
from syncd.schedule import Manual
from syncd.sinks import Capabilities
from syncd.sources import (
    Answer,
    Postponed,
    Question,
    Source,
    Standing,
    Unchanged,
    WholeList,
)
from syncd.sources.pushed import FeedSettings, PushedSource
from syncd.store import acknowledged, bindings, inbox, runs
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import migrate
from syncd.sync.guard import Limits
from syncd.sync.identity import Identity
from syncd.sync.spec import Spec

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""
HASH_KEY = b"k" * 32
PATIENCE = 30.0
"""Real seconds after which something that was to happen did not."""
NO_DELAY = RetryPolicy(first_delay=timedelta(0), max_delay=timedelta(0))


# ---- time ---------------------------------------------------------------------------


class ManualClock(Clock):
    """Stands still until a test moves it; durations (`monotonic`) are real."""

    def __init__(self, at: datetime = NOW) -> None:
        super().__init__()
        object.__setattr__(self, "_shown", [at])  # a frozen value with one hand

    def now(self) -> datetime:
        """What it shows."""
        shown: list[datetime] = self.__dict__["_shown"]
        return shown[0]

    def wall(self) -> datetime:
        """The same: there is one hand only."""
        return self.now()

    def advance(self, by: timedelta) -> None:
        """Let time pass at once."""
        self.__dict__["_shown"][0] += by


def fast_clock(speed: float = 20_000.0) -> Clock:
    """A real clock on which the 255 s of eight retries pass in 13 ms."""
    return Clock(speed=speed, origin=datetime.now(UTC))


# ---- where members come from --------------------------------------------------------


class ListSource:
    """A source whose list a test writes down."""

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        self.members = set(members)
        self.reads = 0
        self.named = "list"
        """Its fingerprint."""
        self.while_reading: Callable[[], None] = lambda: None
        """Called once per read, between two blocks; may raise a `SourceError`."""

    def blocks(self) -> Iterator[list[bytes]]:
        """Two blocks at least, with an id in both."""
        self.reads += 1
        listed = sorted(self.members)
        yield listed[: len(listed) // 2 + 1]
        self.while_reading()
        yield listed[len(listed) // 2 :]

    def fingerprint(self) -> str:
        """What it is called."""
        return self.named


class AskedSource(ListSource):
    """A source that must be asked first: it has marks, and may say no."""

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        super().__init__(members)
        self.version = "1"
        """The mark of the list as it is now."""
        self.answer: Unchanged | Postponed | None = None
        """Said whatever is asked; None: unchanged if the mark is the same."""
        self.refuses: DeliveryError | None = None
        self.free = True
        """Whether an unchanged list may be read again for nothing."""
        self.questions: list[Question] = []
        self.anonymous = 0

    def ask(self, question: Question) -> "AskedSource | Unchanged | Postponed":
        """See `Source.ask`."""
        self.questions.append(question)
        if self.refuses is not None:
            raise self.refuses
        if self.answer is not None:
            return self.answer
        known = question.mark == self.version
        return Unchanged() if known and not (question.again and self.free) else self

    def left_out(self) -> Mapping[str, int]:
        """See `Listing.left_out`."""
        return {"anonymous": self.anonymous} if self.anonymous else {}

    def as_of(self) -> datetime | None:
        return None

    def mark(self) -> str | None:
        """See `Listing.mark`."""
        return self.version


class PushedFeed:
    """A source that is fed by what a test says, above a whole list where it has one.

    It says things as a door would: into the store's inbox.
    """

    def __init__(
        self,
        sync: SyncSettings,
        database: Database,
        clock: Clock,
        whole: ListSource | None = None,
        *,
        begins_whole: bool = False,
        list_costs: bool = False,
    ) -> None:
        feed, told = feed_of(sync), sync.source.events
        assert feed is not None
        assert told is not None
        self.feed, self.whole = feed, whole
        self.size: int | None = None
        """What the owner gives as its size."""
        self._database, self._clock = database, clock
        self.fed = Fed(feed=feed, list_lag=told.snapshot_lag if whole else None)
        self._settings = FeedSettings(
            feed=feed,
            snapshot_lag=told.snapshot_lag,
            relist_every=told.relist_every,
            begins_whole=begins_whole,
            list_costs=list_costs,
        )

    def ask(self, question: Question) -> Answer:
        """See `Source.ask`."""
        return self._source().ask(question)

    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return self._source().fingerprint()

    def say(
        self,
        *,
        enter: Iterable[bytes] = (),
        leave: Iterable[bytes] = (),
        forget: Iterable[bytes] = (),
        at: datetime | None = None,
    ) -> None:
        """One message: who entered, who left, who was deleted; `at` by the sender's
        clock, None where it has none."""
        said = (sorted(enter), True), (sorted(leave), False)
        message = Message(
            connection=self.feed.connection,
            id="",
            told=tuple(
                Told(feed=self.feed, ids=ids, inside=inside, at=at)
                for ids, inside in said
                if ids
            ),
            deleted=tuple((each, self.feed.id_type) for each in sorted(forget)),
            deleted_at=at,
        )
        with self._database.begin() as connection:
            inbox.take(connection, [message], self._clock.now())

    def _source(self) -> PushedSource:
        whole: Source | None = None
        if isinstance(self.whole, AskedSource):
            whole = self.whole
        elif self.whole is not None:
            whole = Standing(self.whole)
        return PushedSource(
            self._settings, self._clock, whole=whole, sized=lambda: self.size
        )


# ---- where they go ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What becomes of one request."""

    fault: Fault
    error_type: str = "http_5xx"
    status: int | None = 503
    applied: bool = False
    """True: the effect took place, and only the answer was lost."""
    late: bool = False
    """True: the effect takes place when the test calls `land`."""
    retry_after: float | None = None

    def error(self) -> DeliveryError:
        """As the sink raises it."""
        return DeliveryError(
            f"scripted {self.fault}",
            fault=self.fault,
            error_type=self.error_type,
            status=self.status,
            vendor_message="scripted",
            retry_after=self.retry_after,
        )


FAILED_BEFORE = Trouble(fault=Fault.PASSING)
LOST_ANSWER = Trouble(
    fault=Fault.PASSING, error_type="timeout", status=None, applied=True
)
LANDS_LATE = Trouble(fault=Fault.PASSING, error_type="timeout", status=None, late=True)
THROTTLED = Trouble(
    fault=Fault.THROTTLED, error_type="rate_limited", status=429, retry_after=0.0
)
REFUSED = Trouble(fault=Fault.REFUSED, error_type="http_4xx", status=400)
UNAUTHORIZED = Trouble(fault=Fault.CREDENTIALS, error_type="auth", status=403)
GONE = Trouble(fault=Fault.TARGET_GONE, error_type="not_found", status=404)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One membership or creation request, as it arrived."""

    operation: Operation
    ids: tuple[bytes, ...]
    run_id: str
    cohort: str | None
    """None: it asked for the creation."""


@dataclass(slots=True, kw_only=True)
class Cohort:
    """One cohort, in truth."""

    id: str
    name: str
    members: set[bytes] = field(default_factory=set)
    archived: bool = False
    gone: bool = False


@dataclass(kw_only=True)
class FakeVendor:
    """The destination: people, cohorts, a script of troubles, a log. A `Sink` too."""

    known: set[bytes] = field(default_factory=set)
    """Who exists there. Everybody else is skipped."""
    max_in_flight: int = 1
    can_probe: bool = True
    """Whether its free call proves anything."""
    largest: int = 1_000_000
    """Ids above which it answers 413."""
    invalid: set[bytes] = field(default_factory=set)
    """Ids that make it refuse the whole request (400), ADD or REMOVE."""
    refusal: str = "invalid_id"
    """`error_type` of that refusal."""
    cohorts: dict[str, Cohort] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    ever_sent: set[bytes] = field(default_factory=set)
    script: deque[Trouble | None] = field(default_factory=deque)
    """What happens to the next requests; None lets one through. Empty: all is well."""
    always: Trouble | None = None
    """What happens to every request the script says nothing about."""
    locked_out: bool = False
    """Credentials are refused, also by the free calls."""
    watch: Callable[[Request], None] = lambda _: None
    """Called with each request before its effect, and again after it."""
    most_in_flight: Counter[str] = field(default_factory=Counter)
    """Per cohort or name: the most requests that were ever under way together."""
    probes: int = 0
    late: list[tuple[Request, Target]] = field(default_factory=list)
    """Requests nobody got an answer to, that take effect once they `land`."""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._in_flight: Counter[str] = Counter()

    # -- as a sink --

    @property
    def capabilities(self) -> Capabilities:
        """As the test wishes."""
        return Capabilities(
            max_in_flight=self.max_in_flight,
            max_batch=1000,
            can_probe=self.can_probe,
        )

    def find(self, target: Target) -> Found | None:
        """See `Sink.find`."""
        self.probe()
        with self._lock:
            found = self._listed(target)
            if not found:
                return None
            if found[0].archived:
                raise TargetUnusable("the cohort is archived", code="target.archived")
            return _found(found[0])

    def probe(self) -> None:
        """See `Sink.probe`."""
        self.probes += 1
        if self.locked_out:
            raise UNAUTHORIZED.error()

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """See `Sink.deliver`."""
        request = Request(
            operation=batch.operation,
            ids=batch.ids,
            run_id=batch.run_id,
            cohort=target.external_id,
        )
        key = target.external_id or target.name
        with self._under_way(key):
            self.watch(request)
            try:
                return self._answer(request, target)
            finally:
                self.watch(request)

    # -- inside --

    def _answer(self, request: Request, target: Target) -> Receipt:
        with self._lock:
            self.requests.append(request)
            self.ever_sent.update(request.ids)
            trouble = self.script.popleft() if self.script else self.always
            if self.locked_out:
                trouble = UNAUTHORIZED
            if trouble is not None and trouble.late:
                self.late.append((request, target))
            if trouble is not None and not trouble.applied:
                raise trouble.error()
            receipt = self._effect(request, target)
            if trouble is not None:
                raise trouble.error()
            return receipt

    def _effect(self, request: Request, target: Target) -> Receipt:
        if len(request.ids) > self.largest:
            raise Trouble(
                fault=Fault.TOO_LARGE, error_type="too_large", status=413
            ).error()
        if self.invalid & set(request.ids):
            raise Trouble(
                fault=Fault.BAD_IDS, error_type=self.refusal, status=400
            ).error()
        if target.external_id is None:
            return self._create(request, target)
        cohort = self.cohorts[target.external_id]
        if cohort.gone:
            raise GONE.error()
        there = tuple(each for each in request.ids if each in self.known)
        if request.operation is Operation.ADD:
            cohort.members.update(there)
        else:
            cohort.members.difference_update(there)
        return Receipt(
            accepted=there,
            unmatched=tuple(each for each in request.ids if each not in self.known),
            request_id=f"request-{len(self.requests)}",
        )

    def _create(self, request: Request, target: Target) -> Receipt:
        if target.creation_intent_at is not None and (made := self._listed(target)):
            return Receipt(created=_found(made[0]))
        if request.operation is Operation.REMOVE:
            return Receipt(accepted=request.ids)
        there = self.known & set(request.ids)
        if not there:
            return Receipt(unmatched=request.ids, created_empty_handed=True, status=400)
        cohort = Cohort(id=f"c{len(self.cohorts) + 1}", name=target.name, members=there)
        self.cohorts[cohort.id] = cohort
        return Receipt(created=_found(cohort))

    def _listed(self, target: Target) -> list[Cohort]:
        return [
            each
            for each in self.cohorts.values()
            if not each.gone
            and (
                each.id == target.external_id
                if target.external_id
                else each.name == target.name
            )
        ]

    @contextmanager
    def _under_way(self, key: str) -> Iterator[None]:
        with self._lock:
            self._in_flight[key] += 1
            most = max(self.most_in_flight[key], self._in_flight[key])
            self.most_in_flight[key] = most
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[key] -= 1

    # -- for tests --

    def land(self) -> None:
        """Whatever is late takes effect now."""
        with self._lock:
            late, self.late = self.late, []
            for request, target in late:
                self._effect(request, target)

    @property
    def cohort(self) -> Cohort:
        """The only cohort there is."""
        (only,) = self.cohorts.values()
        return only

    def sent(self, operation: Operation) -> list[bytes]:
        """Every id of membership requests of this kind, as often as it was sent."""
        return [
            each
            for request in self.requests
            if request.operation is operation and request.cohort is not None
            for each in request.ids
        ]


def _found(cohort: Cohort) -> Found:
    return Found(external_id=cohort.id, name=cohort.name, size=len(cohort.members))


AnySource = WholeList | PushedFeed

# ---- settings and parts of one sync -------------------------------------------------


def sync_settings(name: str = "vip", **changes: Any) -> SyncSettings:
    """One sync as the configuration resolves it."""
    values: dict[str, Any] = {
        "name": name,
        "description": "",
        "team": "growth",
        "source": FromAudience(
            connection="engage",
            audience=name,
            query=None,
            freshness_query=None,
            max_age=None,
            column=None,
            path=None,
            events=None,
            built_on=(),
        ),
        "target": ToCohort(
            connection="amplitude", cohort_id=None, cohort=f"Cohort {name}", owner="o@x"
        ),
        "match": IdType.USER_ID,
        "schedule": Manual(),
        "timezone": "UTC",
        "jitter": timedelta(0),
        "catch_up": "once",
        "max_runtime": timedelta(days=3),
        "fresh_within": None,
        "guard": GuardSettings(
            max_exit=0.2, max_enter=10.0, ignore_below=50, on_trip="hold"
        ),
        "delivery": DeliverySettings(
            batch_size=3,
            retries=8,
            first_delay=timedelta(0),
            max_delay=timedelta(0),
            late_landings=timedelta(0),
        ),
        "budget": None,
        "enabled": True,
        "place": Place(file="syncd.yaml", line=1, column=1),
    }
    return SyncSettings(**(values | changes))


def settings_of(
    *syncs: SyncSettings, store_url: str = "sqlite:///unused", spool: Path | None = None
) -> Settings:
    """A whole configuration of these syncs."""
    return Settings(
        instance="test",
        store=StoreSettings(
            url=store_url,
            password=None,
            migrate="auto",
            lease=timedelta(seconds=90),
            replication="asynchronous",
            keep_runs=timedelta(days=400),
            spool_dir=spool,
        ),
        connections={},
        syncs=syncs,
        delivery_workers=4,
        web=WebSettings(
            inbound=None, admin=None, admin_token=None, max_connections=100
        ),
        log=LogSettings(format="json", level="debug"),
        shutdown_grace=timedelta(seconds=8),
    )


def cohort_of(sync: SyncSettings) -> ToCohort:
    """The target of a sync that writes a cohort."""
    assert isinstance(sync.target, ToCohort)
    return sync.target


def identity(sync: SyncSettings, source: AnySource) -> Identity:
    """As `app.build` makes it."""
    return Identity(
        connection=sync.target.connection,
        target=f"name:{cohort_of(sync).cohort}",
        id_type=sync.match,
        source=source.fingerprint(),
    )


def spec_of(
    sync: SyncSettings,
    source: AnySource,
    sink: FakeVendor,
    request_deadline: timedelta = timedelta(seconds=30),
    neighbours: frozenset[str] = frozenset(),
) -> Spec:
    """One sync with its parts."""
    return Spec(
        name=sync.name,
        team=sync.team,
        direction="to-amplitude",
        identity=identity(sync, source),
        target_id=cohort_of(sync).cohort_id,
        naming=lambda: cohort_of(sync).cohort,
        owner=cohort_of(sync).owner or "",
        source=source
        if isinstance(source, AskedSource | PushedFeed)
        else Standing(source),
        source_connection=sync.source.connection,
        neighbours=neighbours,
        sink=sink,
        probes={sync.target.connection: sink.probe} if sink.can_probe else {},
        limits=Limits(
            max_exit=sync.guard.max_exit,
            max_enter=sync.guard.max_enter,
            ignore_below=sync.guard.ignore_below,
            max_exit_24h=sync.guard.max_exit_24h,
        ),
        hold_on_trip=sync.guard.on_trip == "hold",
        batch_size=sync.delivery.batch_size,
        max_runtime=sync.max_runtime,
        request_deadline=request_deadline,
        late_landings=sync.delivery.late_landings,
        config_hash="sha256:00000000",
        fed=source.fed if isinstance(source, PushedFeed) else None,
    )


def route_of(spec: Spec, policy: RetryPolicy = NO_DELAY) -> Route:
    """How the batches of a sync reach its sink."""
    return Route(
        connection=spec.identity.connection,
        sink=spec.sink,
        policy=policy,
        request_deadline=spec.request_deadline,
        late_landings=spec.late_landings,
    )


def blueprint_of(
    settings: Settings,
    sources: Mapping[str, AnySource],
    sinks: Mapping[str, FakeVendor],
    request_deadline: timedelta = timedelta(seconds=30),
) -> Blueprint:
    """What `app.build` makes of a configuration, with fakes for the outside.

    `sources` go by sync, `sinks` by connection.
    """
    specs = {
        sync.name: spec_of(
            sync,
            sources[sync.name],
            sinks[sync.target.connection],
            request_deadline,
            frozenset(each.name for each in settings.syncs if each is not sync),
        )
        for sync in settings.syncs
        if sync.enabled
    }
    policies = {
        sync.name: RetryPolicy(
            retries=sync.delivery.retries,
            first_delay=sync.delivery.first_delay,
            max_delay=sync.delivery.max_delay,
        )
        for sync in settings.syncs
    }
    return Blueprint(
        settings=settings,
        config_hash="sha256:00000000",
        specs=specs,
        routes={name: route_of(spec, policies[name]) for name, spec in specs.items()},
        clients=(),
    )


# ---- a whole installation in memory -------------------------------------------------


@dataclass(kw_only=True)
class World:
    """Syncs, sources and vendors around one store; `engine()` is one process."""

    database: Database
    spool: Path
    clock: Clock = field(default_factory=ManualClock)
    syncs: dict[str, SyncSettings] = field(default_factory=dict)
    sources: dict[str, ListSource] = field(default_factory=dict)
    feeds: dict[str, PushedFeed] = field(default_factory=dict)
    """Of the syncs that are fed by events, which read no source beside."""
    vendors: dict[str, FakeVendor] = field(default_factory=dict)
    request_deadline: timedelta = timedelta(seconds=30)

    def sync(
        self, name: str = "vip", members: Iterable[bytes] = (), **changes: Any
    ) -> ListSource:
        """Configure one sync; returns its source."""
        self.syncs[name] = sync_settings(name, **changes)
        self.vendors.setdefault(self.syncs[name].target.connection, FakeVendor())
        return self.sources.setdefault(name, ListSource(members))

    def asked(self, members: Iterable[bytes] = (), **changes: Any) -> AskedSource:
        """Configure the sync `vip` with a source that must be asked first."""
        source = AskedSource(members)
        self.sources["vip"] = source
        self.sync(**changes)
        return source

    def fed(
        self,
        name: str = "vip",
        *,
        whole: ListSource | None = None,
        snapshot_lag: timedelta = timedelta(hours=2),
        relist_every: timedelta | None = None,
        begins_whole: bool = False,
        list_costs: bool = False,
        audience: str = "",
        **changes: Any,
    ) -> PushedFeed:
        """Configure one sync that is fed by events; returns what feeds it."""
        before = sync_settings(audience or name).source
        assert isinstance(before, FromAudience)
        told = Events(
            snapshot_lag=snapshot_lag,
            relist_every=relist_every,
            without_value="ignore",
        )
        self.sync(name, **({"source": replace(before, events=told)} | changes))
        self.feeds[name] = PushedFeed(
            self.syncs[name],
            self.database,
            self.clock,
            whole,
            begins_whole=begins_whole,
            list_costs=list_costs,
        )
        with self.database.begin() as connection:  # as whoever listens does at first
            inbox.ensure(connection, [self.feeds[name].feed], self.clock.now())
        return self.feeds[name]

    @property
    def vendor(self) -> FakeVendor:
        """The only vendor there is."""
        (only,) = self.vendors.values()
        return only

    def blueprint(self) -> Blueprint:
        """The configuration as it is now."""
        settings = settings_of(*self.syncs.values(), spool=self.spool)
        sources: dict[str, AnySource] = {**self.sources, **self.feeds}
        return blueprint_of(settings, sources, self.vendors, self.request_deadline)

    def engine(self, database: Database | None = None) -> Engine:
        """One process; use it as a context."""
        store = OpenStore(database=database or self.database, hash_key=HASH_KEY)
        return Engine(self.blueprint(), store, self.clock)


def new_database(folder: Path) -> Database:
    """A SQLite store with this program's schema."""
    create_file(folder / "syncd.db")
    database = Database(f"sqlite:///{folder / 'syncd.db'}")
    migrate(database)
    return database


class Mortal(Database):
    """The store as a process sees it that dies at a chosen moment.

    From then on nothing of that process is written or read any more: what is durable
    is exactly what had been committed. It shares the connections of the whole store.
    """

    def __init__(self, whole: Database) -> None:
        self.url = whole.url
        self._whole = whole
        self._left: int | None = None
        self._before_commit = False
        self.dead = False

    def die_at(self, transaction: int, *, before_commit: bool = False) -> None:
        """Die at the n-th write transaction from now: before it, or before its end."""
        self._left, self._before_commit = transaction, before_commit

    def die(self) -> None:
        """Now."""
        self.dead = True

    @property
    def dialect(self) -> str:
        return self._whole.dialect

    @contextmanager
    def begin(self, *, brief: bool = False) -> Iterator[Connection]:
        self._count()
        with self._whole.begin(brief=brief) as connection:
            yield connection
            if self._left is not None and self._left <= 0:
                self.dead = True
            self._require_life()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._require_life()
        with self._whole.read() as connection:
            yield connection

    def rewrite(self) -> None:
        self._count()
        self._whole.rewrite()

    def close(self) -> None:
        """The whole store goes on."""

    def _count(self) -> None:
        self._require_life()
        if self._left is not None:
            self._left -= 1
            if self._left <= 0 and not self._before_commit:
                self.dead = True
                self._require_life()

    def _require_life(self) -> None:
        if self.dead:
            raise StoreUnavailable("this process is dead")


# ---- looking at the store -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What the store holds about one binding's ids."""

    acknowledged: frozenset[bytes]
    uncertain: frozenset[bytes]
    unaccepted: frozenset[bytes]
    doubtful: frozenset[bytes] = frozenset()
    """Whom a request that may still land would move the wrong way."""
    overdue: frozenset[bytes] = frozenset()
    """Those whose request has landed by now if it ever does."""


NOTHING = Belief(
    acknowledged=frozenset(), uncertain=frozenset(), unaccepted=frozenset()
)


def belief(connection: Connection, binding: Binding | None, now: datetime) -> Belief:
    """What is believed of a binding; nothing where there is none."""
    if binding is None:
        return NOTHING
    buckets = list(acknowledged.read(connection, binding.id, binding.n_buckets, now))
    return Belief(
        acknowledged=frozenset().union(*(each.acknowledged for each in buckets)),
        uncertain=frozenset().union(*(each.uncertain for each in buckets)),
        unaccepted=frozenset().union(*(each.unaccepted for each in buckets)),
        doubtful=frozenset().union(*(each.doubtful for each in buckets)),
        overdue=frozenset().union(*(each.overdue for each in buckets)),
    )


def believed(database: Database, sync: str = "vip", now: datetime = NOW) -> Belief:
    """What the store believes of a sync's current target."""
    with database.read() as connection:
        return belief(connection, bindings.current(connection, sync), now)


def held_run(database: Database, sync: str = "vip") -> runs.Run | None:
    """The run whose plan waits for a person."""
    with database.read() as connection:
        return runs.waiting_for_a_person(connection, sync)


def rows(database: Database, query: str, **values: object) -> list[tuple[Any, ...]]:
    """Plain SQL, as an operator would ask."""
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query), values)]


def people(*numbers: int) -> set[bytes]:
    """Their ids."""
    return {f"person-{number:04}".encode() for number in numbers}


def canonical(lines: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How many canonical lines each run has among captured log lines."""
    names = {"run.finished", "run.abandoned"}
    return Counter(str(line["run_id"]) for line in lines if line["event"] in names)
