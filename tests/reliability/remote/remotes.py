"""A sync of each kind beside an answerer: one call of it is spoilt, then it is healed.

One store, one engine and one simulator live through many cases, as a daemon does. Time
runs fast for both; request deadlines are real and short.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.types import EventDict

from syncd import config
from syncd.app.build import Blueprint, blueprint
from syncd.app.engine import Engine
from syncd.app.store import OpenStore
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.model import Trigger
from syncd.store import connections
from syncd.store.database import Database
from syncd.sync.spec import Report
from tests.builders import HASH_KEY, Belief, believed, new_database, rows
from tests.installed import Installation
from tests.reliability.remote.scripted import Answerer, Asked, Script, answering
from tests.simulated import Simulator

SYNC = "vip"
SIZE = 8
"""Ids in a batch."""
BATCHES = 3
GROUP = SIZE * BATCHES
SECRETS = ("demo-api-key", "demo-secret-key", "demo-write-key", "demo-partner-key")
STRANGER = "person-stranger-{}"
CALM, HASTY = 10.0, 0.4
"""Real seconds of a request's deadline: where nothing hangs, and where something does.
"""
PROBE = timedelta(minutes=20)
"""After so long a stopped connection may be tried again."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One call of one direction, and how it is told from others."""

    name: str
    origin: str
    method: str
    path: str
    words: bytes = b""
    family: str
    """Which clients read its answers."""
    to: str = "cohort"
    """`cohort`, or a connection that a cohort is sent to."""
    batches: int = 1
    """Requests of this kind in a run."""
    size: int = SIZE
    speed: int = 5000
    fresh: bool = False
    """Every case begins with an empty store and a new world."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Of the connection it writes to."""

    def script(self, **how: Any) -> Script:
        """Plays for its requests."""
        return Script(
            origin=self.origin,
            method=self.method,
            path=self.path,
            words=self.words,
            **how,
        )


UPLOAD, MEMBERSHIP = "/api/3/cohorts/upload", "/api/3/cohorts/membership"
REQUEST = "/api/5/cohorts/request"
IN, OUT = b":true", b":false"
SINGLE = {"mode": "single"}
KINDS = (
    Kind(name="create", origin="amplitude", method="POST", path=UPLOAD,
         family="upload", fresh=True),
    Kind(name="add", origin="amplitude", method="POST", path=MEMBERSHIP,
         words=b'"ADD"', family="membership", batches=BATCHES),
    Kind(name="remove", origin="amplitude", method="POST", path=MEMBERSHIP,
         words=b'"REMOVE"', family="membership", batches=BATCHES),
    Kind(name="list", origin="amplitude", method="GET", path="/api/3/cohorts$",
         family="list"),
    Kind(name="source-list", origin="amplitude", method="GET",
         path=r"/api/3/cohorts\?", family="source-list", to="segment"),
    Kind(name="usage", origin="amplitude", method="GET",
         path="/api/3/cohorts/usage", family="usage", to="segment"),
    Kind(name="request", origin="amplitude", method="GET", path=f"{REQUEST}/",
         family="request", to="segment", speed=600),
    Kind(name="status", origin="amplitude", method="GET", path=f"{REQUEST}-status/",
         family="status", to="segment", speed=600),
    Kind(name="file", origin="amplitude", method="GET", path=f"{REQUEST}/.*/file",
         family="file", to="segment", speed=600),
    Kind(name="storage", origin="storage", method="GET", path="/",
         family="storage", to="segment", speed=300),
    Kind(name="identify", origin="segment", method="POST", path="/v1/batch",
         words=IN, family="segment", to="segment", batches=BATCHES),
    Kind(name="identify-out", origin="segment", method="POST", path="/v1/batch",
         words=OUT, family="segment", to="segment", batches=BATCHES),
    Kind(name="identify-one", origin="segment", method="POST", path="/v1/batch",
         words=IN, family="segment", to="segment", size=1, batches=BATCHES),
    Kind(name="partner-list", origin="partner", method="POST", path="/lists$",
         family="partner-create", to="partner-lists", fresh=True),
    Kind(name="partner-add", origin="partner", method="POST", path="/lists/.*/add",
         family="partner", to="partner-lists", batches=BATCHES),
    Kind(name="partner-remove", origin="partner", method="POST",
         path="/lists/.*/remove", family="partner", to="partner-lists",
         batches=BATCHES),
    Kind(name="property", origin="partner", method="POST", path="/property",
         words=IN, family="partner", to="partner-properties", batches=BATCHES),
    Kind(name="property-one", origin="partner", method="POST", path="/property",
         words=OUT, family="partner", to="partner-properties", size=1,
         batches=BATCHES, extra=SINGLE),
)  # fmt: skip


def people(group: int, count: int) -> list[str]:
    """Whoever enters and leaves together."""
    return [f"person-{group}-{number:03d}" for number in range(count)]


@dataclass(kw_only=True)
class Remote:
    """One sync of one kind, and everything around it."""

    kind: Kind
    simulator: Simulator
    answerer: Answerer
    installation: Installation
    clock: Clock
    engine: Engine
    database: Database
    lines: list[EventDict]
    stack: ExitStack
    """What ends with it."""
    turn: int = 0
    unproven: set[bytes] = field(default_factory=set)
    """Ids whose last request was told nothing to believe."""
    blueprints: Mapping[bool, Blueprint]
    """By whether requests have a short deadline."""
    broken: list[str] = field(default_factory=list)
    """What was found wrong while requests were under way."""

    # ---- who is in it ----------------------------------------------------------

    def wanted(self) -> set[str]:
        """Whom the source lists and the destination knows."""
        count = self.kind.size * BATCHES
        return {"person-always"} | set(people(self.turn % 3, count))

    def move(self) -> None:
        """One group leaves, another one enters."""
        self.turn += 1
        if self.kind.to == "cohort":
            strangers = {STRANGER.format(self.turn % 3)}
            self.installation.audience(sorted(self.wanted() | strangers))
        else:
            body = {"members": sorted(self.wanted())}
            answer = self.simulator.control.patch("/_sim/cohorts/c1", json=body)
            answer.raise_for_status()

    def truth(self) -> set[str]:
        """Who is in it at the destination."""
        simulator = self.simulator
        if self.kind.to == "cohort":
            made = simulator.cohorts()
            return simulator.members(str(made[0]["id"])) if made else set()
        if self.kind.to == "segment":
            return simulator.with_trait(SYNC)
        if self.kind.to == "partner-lists":
            (binding,) = rows(self.database, "SELECT external_id FROM binding")
            lists = simulator.get("/_sim/partner/lists")["lists"]
            if binding[0] not in {each["id"] for each in lists}:
                return set()
            found = simulator.get(f"/_sim/partner/lists/{binding[0]}/members")
            return set(found["ids"])
        found = simulator.get(f"/_sim/partner/members?trait={SYNC}")
        return set(found["ids"])

    def belief(self) -> Belief:
        return believed(self.database, SYNC, self.clock.now())

    # ---- watching --------------------------------------------------------------

    def watch(self, when: str, asked: Asked, proof: bool) -> None:
        """I-2, I-3 and I-4 while a request that names people is under way."""
        named = set(re.findall(rb"person-[\w-]+", asked.body))
        if not named:
            return
        if when == "after":
            return
        if when == "told":
            created = asked.path.endswith("/upload")
            self.unproven -= named if proof and not created else set()
            return
        self.unproven |= named
        self._say(named - self.belief().uncertain, "sent and not uncertain")
        self._say(self.misled(), "error outside of the uncertain")

    def _say(self, ids: set[bytes], what: str) -> None:
        if ids:
            self.broken.append(f"{what}: {len(ids)}, as {min(ids)!r}")

    # ---- acting ----------------------------------------------------------------

    def run(self) -> Report:
        """As its schedule has it: no person asks."""
        report = self.engine.run(SYNC, Trigger.SCHEDULE)
        assert report is not None
        return report

    def later(self, by: timedelta = PROBE) -> None:
        """Let time pass, which takes some milliseconds."""
        self.clock.wait(self.engine.stop_event, by)

    def hurry(self, *, hasty: bool) -> None:
        """Whether requests have a short deadline from now on."""
        self.engine.replace(self.blueprints[hasty])

    def use(self, settings: Settings) -> None:
        """Other settings from now on."""
        made = blueprint(settings, "sha256:0", self.clock)
        self.stack.callback(made.close)
        self.engine.replace(made)

    def healed(self) -> bool:
        """Whether destination, store and source agree, and nothing is in doubt (I-1).

        Without whom the destination does not know.
        """
        known = self.belief()
        acknowledged = {each.decode() for each in known.acknowledged}
        return self.truth() == self.wanted() == acknowledged and not known.uncertain

    def results(self, report: Report) -> list[tuple[str, int | None]]:
        """What became of each request of a run that names people."""
        found = rows(
            self.database,
            "SELECT result, status FROM attempt WHERE run_id = :run ORDER BY id",
            run=report.run_id,
        )
        return [(str(result), status) for result, status in found]

    def stopped(self) -> set[str]:
        """The connections that are stopped now."""
        names = ("amplitude", "segment", "partner-lists", "partner-properties")
        with self.database.read() as connection:
            states = [connections.get(connection, name) for name in names]
        return {each.name for each in states if each.stopped_at is not None}

    def output(self) -> str:
        """All that was said since the last time."""
        said = str(self.lines)
        self.lines.clear()
        return said

    def kept(self) -> str:
        """What the store keeps for people to read."""
        kept = rows(self.database, "SELECT message FROM attempt WHERE message <> ''")
        kept += rows(self.database, "SELECT error FROM batch WHERE error <> ''")
        kept += rows(self.database, "SELECT summary FROM run")
        kept += rows(self.database, "SELECT stopped_reason FROM connection")
        return str(kept)

    def misbehaved(self) -> list[str]:
        """What a vendor would hold against us: I-9, storms, credentials gone astray."""
        stats = self.simulator.get("/_sim/stats")
        return [
            f"{stats[each]} {each}"
            for each in ("status_429", "overlaps", "leaks")
            if stats[each]
        ]

    def misled(self) -> set[bytes]:
        """Ids of which the store is sure and wrong (I-2)."""
        known = self.belief()
        true = {each.encode() for each in self.truth()}
        return (true ^ known.acknowledged) - known.uncertain


# ---- making one -----------------------------------------------------------------


def _clock(simulator: Simulator, speed: int) -> Clock:
    """One clock for both: it runs from now on, at this speed."""
    simulator.post("/_sim/clock", {"speed": speed})
    made = Clock(speed=speed, origin=datetime.now(UTC))
    simulator.post("/_sim/clock", {"set": made.now().isoformat()})
    return made


def settings_of(installation: Installation, kind: Kind) -> Settings:
    """Through the real loader; the sync reads and writes through the answerer."""
    document = installation.config
    document["defaults"]["delivery"]["batch_size"] = kind.size
    document["defaults"]["max_runtime"] = "3d"
    guard = {"ignore_below": 1_000_000}
    if kind.to == "cohort":
        installation.sync(SYNC, guard=guard)
    else:
        to = {"connection": kind.to}
        trait = {"trait": SYNC} if kind.to != "partner-lists" else {}
        installation.cohort_sync(SYNC, "c1", to=to | trait, guard=guard)
        document["connections"][kind.to] |= kind.extra
    amplitude = document["connections"]["amplitude"]
    amplitude["quota"] = {"downloads_per_month": 100_000}
    path = installation.folder / "syncd.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return config.load([path], {}).settings


def with_deadline(settings: Settings, seconds: float) -> Settings:
    """Every vendor has so long for a request."""
    deadline = timedelta(seconds=seconds)
    changed = {
        name: replace(
            each, transport=replace(each.transport, request_deadline=deadline)
        )
        for name, each in settings.connections.items()
    }
    return replace(settings, connections=changed)


@contextmanager
def remote(kind: Kind, simulator: Simulator, folder: Path) -> Iterator[Remote]:
    """A sync that never ran, beside an answerer that plays nothing yet."""
    folder.mkdir()
    with ExitStack() as stack:
        names = ("amplitude", "storage", "segment", "partner")
        origins = {name: simulator.origins[name] for name in names}
        answerer = stack.enter_context(answering(origins))
        behind = replace(simulator, origins={**simulator.origins, **answerer.origins})
        parts = [part for part in PARTS if part != "clock"]
        simulator.post("/_sim/reset", {"only": parts})
        installation = Installation(folder, behind, stack)
        settings = settings_of(installation, kind)
        clock = _clock(simulator, kind.speed)
        _populate(simulator, kind)
        database = new_database(folder)
        stack.callback(database.close)
        lines = stack.enter_context(capture_logs([merge_contextvars]))
        made = {
            hasty: blueprint(with_deadline(settings, seconds), "sha256:0", clock)
            for hasty, seconds in ((False, CALM), (True, HASTY))
        }
        for each in made.values():
            stack.callback(each.close)
        store = OpenStore(database=database, hash_key=HASH_KEY)
        engine = stack.enter_context(Engine(made[False], store, clock))
        yield Remote(
            stack=stack,
            blueprints=made,
            kind=kind,
            simulator=simulator,
            answerer=answerer,
            installation=installation,
            clock=clock,
            engine=engine,
            database=database,
            lines=lines,
        )


PARTS = ("world", "segment", "partner", "faults", "log", "config", "latency", "clock")


def _populate(simulator: Simulator, kind: Kind) -> None:
    groups = [people(group, GROUP) for group in range(3)]
    everybody = ["person-always", *(one for group in groups for one in group)]
    if kind.to == "cohort":
        simulator.users(everybody)
        return
    simulator.cohort("c1", members=["person-always"])
    linked = {"always_redirect": kind.name == "storage"}
    simulator.post(
        "/_sim/config", {"inline_max_rows": 10**6, "job_seconds": 4} | linked
    )
    answer = simulator.control.patch(
        "/_sim/projects/187520", json={"download_limit": 100_000}
    )
    answer.raise_for_status()
