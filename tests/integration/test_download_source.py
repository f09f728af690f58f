"""A cohort is downloaded when it must be, once, and a broken file removes nobody."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from structlog.types import EventDict

from syncd.clients.amplitude_answers import Cohort, NativeSync
from syncd.clients.amplitude_downloads import AmplitudeDownloads
from syncd.clients.amplitude_job import Usage
from syncd.clients.quota import Budget, Reading, Rules, next_month, used
from syncd.errors import (
    DeliveryError,
    Fault,
    SourceUnavailable,
    SourceUntrusted,
)
from syncd.model import Found, IdType
from syncd.sources import Postponed, Question, Unchanged
from syncd.sources.amplitude_download import (
    AmplitudeDownloadSource,
    DownloadSettings,
)
from syncd.sources.amplitude_download.admission import known_spends
from syncd.sources.amplitude_download.listing import DownloadListing
from syncd.store import bindings, fetches, quotas
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.fetches import Fetch, FetchState
from tests.builders import ManualClock

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
COMPUTED = datetime(2026, 5, 12, 6, 0, tzinfo=UTC)
PROJECT = "us:187520"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
JOB = 45 * SECOND


class PatientClock(ManualClock):
    """Whoever waits on it makes the time pass."""

    def wait(self, event: threading.Event, delay: timedelta) -> bool:
        if event.is_set():
            return True
        self.advance(max(delay, timedelta(0)))
        return False


def refusal(
    error_type: str,
    status: int | None = None,
    fault: Fault = Fault.REFUSED,
    retry_after: float | None = None,
) -> DeliveryError:
    return DeliveryError(
        f"Amplitude said {error_type}",
        fault=fault,
        error_type=error_type,
        status=status,
        retry_after=retry_after,
    )


PASSING = refusal("http_5xx", 503, Fault.PASSING)
RATE = refusal("rate_limited", 429, Fault.PASSING)
LOST = refusal("timeout", None, Fault.PASSING)
CREDENTIALS = refusal("auth", 403, Fault.CREDENTIALS)
GONE = refusal("not_found", 404)
FAILED = refusal("bad_response", 200)
BROKEN = refusal("bad_response", 200, Fault.PASSING)


class Killed(BaseException):
    """The process died here."""


@dataclass
class Amplitude:
    """The download API in memory: paid requests, jobs on the clock, free files."""

    clock: ManualClock
    cohort: Cohort = field(
        default_factory=lambda: Cohort(
            id="c1",
            name="VIP",
            owners=(),
            app_id="187520",
            type="redshift",
            archived=False,
            size=3,
            created_at=None,
            count_group="User",
            last_computed=COMPUTED,
            finished=True,
        )
    )
    listed: bool = True
    members: Sequence[str] = ("ada", "bob", "")
    used: int = 0
    limit: int = 500
    has_usage: bool = True
    job: timedelta = JOB
    recomputes: bool = True
    """A download moves `lastComputed` to the time of its job (contract R15)."""
    says: dict[str, list[BaseException | None]] = field(default_factory=dict)
    """What the next calls of a method raise, in order."""
    calls: list[str] = field(default_factory=list)
    before_usage: Callable[[], None] = lambda: None
    jobs: dict[str, tuple[datetime, bytes]] = field(default_factory=dict)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        script = self.says.get(name, [])
        error = script.pop(0) if script else None
        if error is not None:
            raise error

    def cohorts(self) -> tuple[Cohort, ...]:
        self._called("cohorts")
        twin = replace(self.cohort, id="c2")
        return (self.cohort, twin) if self.listed else ()

    def usage(self) -> Usage | None:
        self._called("usage")
        self.before_usage()
        if not self.has_usage:
            return None
        resets_at = next_month(self.clock.now())
        return Usage(limit=self.limit, used=self.used, resets_at=resets_at)

    def request(self, cohort_id: str, *, run_id: str = "") -> str:
        assert run_id
        self._called("request")
        self.used += 1
        if self.recomputes:
            self.compute()
        request_id = f"r{len(self.jobs) + 1}"
        self.jobs[request_id] = (self.clock.now() + self.job, csv(self.members))
        return request_id

    def is_complete(self, request_id: str, *, run_id: str = "") -> bool:
        assert run_id
        self._called("is_complete")
        return self.clock.now() >= self.jobs[request_id][0]

    def file(self, request_id: str, out: BinaryIO, *, run_id: str = "") -> None:
        assert run_id
        self._called("file")
        ready_at, body = self.jobs[request_id]
        assert self.clock.now() >= ready_at
        out.write(body)

    # ---- what happens at the vendor

    def compute(self, members: Sequence[str] | None = None) -> None:
        """The cohort is worked out anew, now."""
        self.members = self.members if members is None else members
        self.change(
            last_computed=self.clock.now().replace(microsecond=0),
            size=len(self.members),
        )

    def change(self, **values: Any) -> None:
        self.cohort = replace(self.cohort, **values)

    def paid(self) -> int:
        return self.calls.count("request")


def csv(members: Sequence[str]) -> bytes:
    rows = [f'"{number}","{user}"' for number, user in enumerate(members)]
    return "\n".join(['"amplitude_id","user_id"', *rows, ""]).encode()


RULES = Rules(reserve=50, budget=None, period=HOUR, demand=1.0)
RUNS = itertools.count(1)


@dataclass
class Town:
    """A store, a vendor and a clock; sources are asked in them."""

    database: Database
    amplitude: Amplitude
    clock: PatientClock
    spool: Path
    marks: dict[str, str | None] = field(default_factory=dict)

    def source(self, rules: Rules = RULES, **settings: Any) -> AmplitudeDownloadSource:
        values: dict[str, Any] = {
            "project": PROJECT,
            "cohort_id": "c1",
            "id_type": IdType.USER_ID,
            "max_staleness": 7 * DAY,
            "linked": False,
            "limit": 500,
            "deadline": 30 * timedelta(minutes=1),
            "to_segment": True,
            "project_of": {"amplitude": PROJECT, "other": "eu:1"},
        }
        return AmplitudeDownloadSource(
            DownloadSettings(rules=rules, **(values | settings)),
            cast("AmplitudeDownloads", self.amplitude),
            self.clock,
            self.spool,
        )

    def question(self, sync: str = "vip", **values: Any) -> Question:
        given: dict[str, Any] = {
            "run_id": f"run-{next(RUNS)}",
            "mark": self.marks.get(sync),
            "stop": threading.Event(),
            "until": self.clock.now() + HOUR,
        }
        return Question(sync=sync, database=self.database, **(given | values))

    def ask(
        self, sync: str = "vip", rules: Rules = RULES, **values: Any
    ) -> DownloadListing | Unchanged | Postponed:
        return self.source(rules).ask(self.question(sync, **values))

    def read(self, sync: str = "vip", rules: Rules = RULES, **values: Any) -> list[str]:
        """Ask, read to the end, and make a plan from it."""
        listing = self.ask(sync, rules, **values)
        assert isinstance(listing, DownloadListing)
        members = everybody(listing)
        self.marks[sync] = listing.mark()
        return members

    def history(self) -> list[Fetch]:
        """All requests, newest first, refused ones too."""
        with self.database.read() as connection:
            return fetches.recent(connection, PROJECT, limit=100)


def everybody(listing: DownloadListing) -> list[str]:
    return [each.decode() for block in listing.blocks() for each in block]


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    clock = PatientClock(NOW)
    return Town(
        database=database, amplitude=Amplitude(clock), clock=clock, spool=tmp_path
    )


def names(lines: list[EventDict]) -> list[str]:
    return [line["event"] for line in lines]


# ---- the whole way ------------------------------------------------------------------


def test_a_cohort_is_listed_paid_for_once_polled_and_read(town: Town) -> None:
    listing = town.ask()

    assert isinstance(listing, DownloadListing)
    assert everybody(listing) == ["ada", "bob"]
    assert listing.left_out() == {"anonymous": 1}
    assert town.amplitude.paid() == town.amplitude.used == 1
    [fetch] = town.history()
    assert (fetch.state, fetch.rows, fetch.name) == (FetchState.COMPLETED, 3, "VIP")


def test_the_mark_is_what_is_listed_after_the_download(town: Town) -> None:
    listing = town.ask()
    assert isinstance(listing, DownloadListing)
    assert listing.mark() is None

    everybody(listing)

    moved = town.amplitude.cohort.last_computed
    assert moved == NOW
    assert listing.mark() == f"c1@{int(NOW.timestamp())}"


def test_an_unchanged_cohort_costs_one_free_list(
    town: Town, lines: list[EventDict]
) -> None:
    town.read()
    town.amplitude.calls.clear()

    answer = town.ask()

    assert answer == Unchanged(since=NOW)
    assert town.amplitude.calls == ["cohorts"]
    assert names(lines)[-1] == "fetch.skipped"


def test_a_changed_cohort_is_downloaded_again(town: Town) -> None:
    town.read()
    town.clock.advance(HOUR)
    town.amplitude.compute(["ada", "eve"])

    assert town.read() == ["ada", "eve"]
    assert town.amplitude.paid() == 2


def test_a_list_that_is_too_old_is_downloaded_anew_although_nothing_moved(
    town: Town,
) -> None:
    town.amplitude.recomputes = False
    town.read()
    town.clock.advance(7 * DAY)

    town.read()

    assert town.amplitude.paid() == 2


def test_a_computation_that_goes_back_in_time_is_a_change(
    town: Town, lines: list[EventDict]
) -> None:
    town.read()
    town.clock.advance(HOUR)
    town.amplitude.change(last_computed=COMPUTED)

    town.read()

    assert town.amplitude.paid() == 2
    assert "source.went_back" in names(lines)


def test_nothing_is_left_in_the_spool(town: Town) -> None:
    town.read()

    assert not [path for path in town.spool.iterdir() if path.name.startswith("tmp")]


def test_a_source_is_known_by_project_and_cohort_not_by_what_it_may_cost(
    town: Town,
) -> None:
    usual = town.source().fingerprint()

    assert town.source(replace(RULES, reserve=0), limit=9).fingerprint() == usual
    assert town.source(project="eu:1").fingerprint() != usual
    assert town.source(cohort_id="c2").fingerprint() != usual


# ---- what is free -------------------------------------------------------------------


def test_a_file_that_is_still_current_serves_every_sync(
    town: Town, lines: list[EventDict]
) -> None:
    town.read("vip")

    assert town.read("other") == ["ada", "bob"]
    assert town.read("vip", mark=None) == ["ada", "bob"]
    assert town.amplitude.paid() == 1
    assert names(lines).count("fetch.reused") == 2
    assert town.marks["other"] == town.marks["vip"]


def test_an_unchanged_list_that_is_wanted_again_is_read_from_the_old_file(
    town: Town,
) -> None:
    town.read()

    assert town.read(again=True) == ["ada", "bob"]
    assert town.amplitude.paid() == 1


def test_an_unchanged_list_is_not_paid_for_because_it_is_wanted_again(
    town: Town,
) -> None:
    town.read()
    town.clock.advance(7 * DAY - 30 * timedelta(minutes=1))

    assert isinstance(town.ask(again=True), Unchanged)
    assert town.amplitude.paid() == 1


def test_a_request_is_resumed_after_a_kill_never_made_twice(
    town: Town, lines: list[EventDict]
) -> None:
    town.amplitude.says["is_complete"] = [Killed()]
    with pytest.raises(Killed):
        town.ask()

    assert town.read() == ["ada", "bob"]
    assert town.amplitude.paid() == 1
    assert "fetch.resumed" in names(lines)


def test_a_request_that_was_cut_counts_as_spent_and_is_made_anew(town: Town) -> None:
    town.amplitude.says["request"] = [Killed()]
    with pytest.raises(Killed):
        town.ask()

    town.read()

    with town.database.read() as connection:
        spends = known_spends(connection, PROJECT, town.clock)
    month = Reading(
        limit=500, used=0, resets_at=next_month(town.clock.now()), estimated=True
    )
    assert used(month, spends) == 2


def test_a_kill_while_the_file_is_read_costs_nothing(town: Town) -> None:
    listing = town.ask()
    assert isinstance(listing, DownloadListing)
    blocks = listing.blocks()
    next(blocks)
    cast("Any", blocks).close()

    assert town.history()[0].state is FetchState.READY
    assert listing.mark() is None
    assert town.read() == ["ada", "bob"]
    assert town.amplitude.paid() == 1


def test_a_request_older_than_seven_days_is_not_asked_for_again(town: Town) -> None:
    town.amplitude.says["is_complete"] = [Killed()]
    with pytest.raises(Killed):
        town.ask()
    town.clock.advance(7 * DAY)

    town.read()

    assert town.amplitude.paid() == 2


def test_an_old_file_does_not_stand_for_a_later_computation(town: Town) -> None:
    town.amplitude.says["is_complete"] = [Killed()]
    with pytest.raises(Killed):
        town.ask()
    town.clock.advance(DAY)
    town.amplitude.compute(["ada", "bob", "eve"])

    assert town.read() == ["ada", "bob"]  # what was paid for is read first
    assert town.history()[0].size is None, "the listed size is not this file's"
    town.clock.advance(HOUR)
    assert town.read() == ["ada", "bob", "eve"]
    assert town.amplitude.paid() == 2


def test_a_job_that_only_turned_us_away_was_not_seen_ending(town: Town) -> None:
    town.amplitude.says["is_complete"] = [Killed(), RATE]
    with pytest.raises(Killed):
        town.ask()
    town.clock.advance(DAY)
    town.amplitude.compute(["ada", "bob", "eve"])
    town.read()
    town.clock.advance(HOUR)

    assert town.read() == ["ada", "bob", "eve"]


def test_two_syncs_of_one_cohort_share_one_request(town: Town) -> None:
    """The other sync asks while the first one's request is on the wire."""
    town.amplitude.says["request"] = [Killed()]
    with pytest.raises(Killed):
        town.ask("first")
    [asking] = town.history()
    waits = []

    class Watching(PatientClock):
        def wait(self, event: threading.Event, delay: timedelta) -> bool:
            waits.append(delay)
            with town.database.begin() as connection:
                fetches.accepted(connection, asking.id, "r1", self.now())
            return super().wait(event, delay)

    town.amplitude.jobs["r1"] = (NOW, csv(["ada"]))
    town.clock = Watching(NOW)
    town.amplitude.clock = town.clock

    assert town.read("second") == ["ada"]
    assert len(waits) == 1
    assert town.amplitude.paid() == 1


# ---- what is not read at all --------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"archived": True}, "source.archived"),
        ({"count_group": "org"}, "source.group"),
        ({"size": 2_000_001}, "source.too_large"),
        ({"name": "[Segment] VIP"}, "source.echo"),
    ],
)
def test_some_cohorts_are_refused_before_anything_is_paid(
    town: Town, change: dict[str, Any], code: str
) -> None:
    town.amplitude.change(**change)

    with pytest.raises(SourceUntrusted) as raised:
        town.ask()

    assert raised.value.code == code
    assert raised.value.hint
    assert town.amplitude.calls == ["cohorts"]


def bound_to_c1(database: Database, binding: Binding) -> None:
    with database.begin() as connection:
        found = Found(external_id="c1", name="VIP", size=3)
        bindings.bind(connection, binding.id, found)


def test_a_cohort_that_we_write_is_not_read_back_unless_linked(
    town: Town, new_binding: Callable[..., Binding]
) -> None:
    bound_to_c1(town.database, new_binding("writer"))

    with pytest.raises(SourceUntrusted, match="writer") as raised:
        town.ask()
    assert raised.value.code == "source.echo"

    linked = town.source(linked=True).ask(town.question())
    assert isinstance(linked, DownloadListing)


@pytest.mark.parametrize("projects", [{}, {"renamed": PROJECT}])
def test_our_own_cohort_stays_ours_when_its_connection_is_no_longer_configured(
    town: Town, new_binding: Callable[..., Binding], projects: dict[str, str]
) -> None:
    bound_to_c1(town.database, new_binding("writer"))

    with pytest.raises(SourceUntrusted) as raised:
        town.source(project_of=projects).ask(town.question())

    assert raised.value.code == "source.echo"


def test_an_id_at_another_vendor_is_no_cohort_of_ours(
    town: Town, new_binding: Callable[..., Binding]
) -> None:
    bound_to_c1(town.database, new_binding("writer"))
    elsewhere = town.source(project_of={"amplitude": ""})

    assert isinstance(elsewhere.ask(town.question()), DownloadListing)


def test_the_same_id_in_another_project_is_another_cohort(
    town: Town, new_binding: Callable[..., Binding]
) -> None:
    bound_to_c1(town.database, new_binding("writer"))
    elsewhere = town.source(project_of={"amplitude": "eu:1"})

    assert isinstance(elsewhere.ask(town.question()), DownloadListing)


def test_absence_from_the_list_is_an_outage_not_an_empty_cohort(town: Town) -> None:
    town.amplitude.listed = False

    with pytest.raises(SourceUnavailable) as raised:
        town.ask()

    assert raised.value.code == "source.not_found"


def test_a_cohort_that_was_never_computed_is_waited_for(
    town: Town, lines: list[EventDict]
) -> None:
    town.amplitude.change(last_computed=None, finished=False, size=None)

    answer = town.ask()

    assert isinstance(answer, Postponed)
    assert answer.reason == "not_ready"
    assert names(lines) == ["source.not_ready"]
    assert town.amplitude.paid() == 0


def test_news_about_the_cohort_are_told_with_a_download_only(
    town: Town, lines: list[EventDict]
) -> None:
    native = NativeSync(target="Segment", frequency="hourly", last_successful=None)
    town.read()
    town.amplitude.change(name="Very important", native_syncs=(native,))
    assert isinstance(town.ask(), Unchanged)
    assert "source.renamed" not in names(lines)
    town.clock.advance(HOUR)
    town.amplitude.compute()

    town.read()

    assert names(lines).count("source.renamed") == 1
    assert names(lines).count("source.native_sync") == 1


@pytest.mark.parametrize(
    ("target", "to_segment", "level", "effect"),
    [
        ("Segment", True, "warning", "two writers"),
        ("segment", False, "info", "syncd leaves that alone"),
        ("braze", True, "info", "syncd leaves that alone"),
        ("", True, "info", "syncd leaves that alone"),
    ],
)
def test_a_sync_of_amplitudes_own_is_told_and_called_what_it_is(
    town: Town,
    lines: list[EventDict],
    target: str,
    to_segment: bool,
    level: str,
    effect: str,
) -> None:
    native = NativeSync(target=target, frequency="hourly", last_successful=None)
    town.amplitude.change(native_syncs=(native,))

    town.source(to_segment=to_segment).ask(town.question())

    [line] = [each for each in lines if each["event"] == "source.native_sync"]
    assert line["log_level"] == level
    assert line["effect"] == effect
    assert f"to {target or 'a target without a name'} (hourly): {effect}" in line["msg"]
    assert ("two writers" in line["msg"]) == (level == "warning")


def test_a_download_that_was_read_is_told_once(
    town: Town, lines: list[EventDict]
) -> None:
    town.amplitude.members = ("ada", '""bob""', "")
    town.read("vip")
    town.read("other")

    [line] = [each for each in lines if each["event"] == "fetch.completed"]
    assert line["log_level"] == "info", "there are ids in quotes: somebody should ask"
    assert (line["cohort_id"], line["request_id"]) == ("c1", "r1")
    assert (line["rows"], line["anonymous"], line["quoted"]) == (3, 1, 1)
    assert (line["size"], line["sync"]) == (3, "vip")
    assert 45_000 <= line["duration_ms"] <= 65_000, "the job, and a poll"


def test_a_usual_download_is_no_news(town: Town, lines: list[EventDict]) -> None:
    town.read()

    [line] = [each for each in lines if each["event"] == "fetch.completed"]
    assert line["log_level"] == "debug"


# ---- files that must not be believed ------------------------------------------------


def spoil(town: Town, body: bytes) -> None:
    """From now on requests bring this file."""
    request = town.amplitude.request

    def spoiled(cohort_id: str, *, run_id: str = "") -> str:
        request_id = request(cohort_id, run_id=run_id)
        town.amplitude.jobs[request_id] = (town.clock.now() + JOB, body)
        return request_id

    cast("Any", town.amplitude).request = spoiled


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>sign in</html>",
        b'"amplitude_id"\n"1"\n',
        b'"amplitude_id","user_id"\n"1","ad',
    ],
    ids=["empty", "page", "no column", "cut"],
)
def test_a_broken_file_is_untrusted_and_free_to_read_again(
    town: Town, body: bytes
) -> None:
    spoil(town, body)

    for _ in range(3):
        listing = town.ask()
        assert isinstance(listing, DownloadListing)
        with pytest.raises(SourceUntrusted):
            everybody(listing)
        assert listing.mark() is None
        assert town.amplitude.paid() == 1

    assert town.history()[0].state is FetchState.ENDED
    assert isinstance(town.ask(), DownloadListing)
    assert town.amplitude.paid() == 2


def test_a_file_much_shorter_than_the_listed_size_is_untrusted(town: Town) -> None:
    town.amplitude.members = people(1000)
    spoil(town, csv(people(899)))
    listing = town.ask()
    assert isinstance(listing, DownloadListing)

    with pytest.raises(SourceUntrusted) as raised:
        everybody(listing)

    assert raised.value.code == "source.short"
    assert town.history()[0].broken == 1


@pytest.mark.parametrize(
    ("size", "rows"), [(1000, 900), (50, 45), (10, 5), (3, 3), (None, 0)]
)
def test_a_file_may_differ_a_little_from_the_listed_size(
    town: Town, size: int | None, rows: int
) -> None:
    town.amplitude.recomputes = False
    town.amplitude.members = people(rows)
    town.amplitude.change(size=size)

    assert len(town.read()) == rows


def people(count: int) -> list[str]:
    return [f"u{number}" for number in range(count)]


@pytest.mark.parametrize(("size", "rows"), [(50, 0), (50, 44), (1000, 899)])
def test_few_people_short_are_enough_for_distrust(
    town: Town, size: int, rows: int
) -> None:
    """A plain text that was cut after a row is short, and nothing else tells."""
    town.amplitude.recomputes = False
    town.amplitude.members = people(rows)
    town.amplitude.change(size=size)
    listing = town.ask()
    assert isinstance(listing, DownloadListing)

    with pytest.raises(SourceUntrusted) as raised:
        everybody(listing)

    assert raised.value.code == "source.short"


def before_the_list(town: Town, happens: Callable[[], None], number: int) -> None:
    """Before the list is looked at for the `number`th time from now on."""
    look, looks = town.amplitude.cohorts, itertools.count(1)

    def cohorts() -> tuple[Cohort, ...]:
        if next(looks) == number:
            happens()
        return look()

    cast("Any", town.amplitude).cohorts = cohorts


def test_a_cohort_that_grew_while_its_file_was_made_is_not_called_short(
    town: Town,
) -> None:
    town.amplitude.recomputes = False
    town.amplitude.members = people(1000)
    town.amplitude.change(size=1000)
    before_the_list(town, lambda: town.amplitude.compute(people(1200)), number=2)

    assert len(town.read()) == 1000
    town.clock.advance(HOUR)
    assert len(town.read()) == 1200, "what came later was fetched"
    assert town.amplitude.paid() == 2


def test_a_size_that_is_listed_late_is_looked_at_again(town: Town) -> None:
    """The job has ended, and the list counts as before for a moment."""
    town.amplitude.recomputes = False
    town.amplitude.members = people(500)
    town.amplitude.change(size=1000)
    before_the_list(town, lambda: town.amplitude.change(size=500), number=3)

    assert len(town.read()) == 500
    assert town.amplitude.paid() == 1


def test_a_computation_while_the_file_is_read_is_fetched_next(town: Town) -> None:
    listing = town.ask()
    assert isinstance(listing, DownloadListing)
    town.clock.advance(SECOND)
    town.amplitude.compute(["ada", "eve"])
    assert everybody(listing) == ["ada", "bob"]
    town.marks["vip"] = listing.mark()
    town.clock.advance(HOUR)

    assert town.read() == ["ada", "eve"]
    assert town.amplitude.paid() == 2


class OtherClock(ManualClock):
    """One that is right but for so much."""

    def __init__(self, right: ManualClock, ahead: timedelta) -> None:
        ManualClock.__init__(self)
        self.__dict__["_right"] = lambda: right.now() + ahead

    def now(self) -> datetime:
        moment: datetime = self.__dict__["_right"]()
        return moment


@pytest.mark.parametrize("ahead", [-26 * HOUR, 26 * HOUR], ids=["behind", "ahead"])
@pytest.mark.parametrize("job", [0 * MINUTE, MINUTE, 25 * MINUTE])
def test_a_vendors_clock_that_is_another_one_costs_no_download(
    town: Town, ahead: timedelta, job: timedelta
) -> None:
    town.amplitude.clock = OtherClock(town.clock, ahead)
    town.amplitude.job = job
    town.read()
    town.clock.advance(HOUR)

    assert isinstance(town.ask(), Unchanged)
    assert town.amplitude.paid() == 1


def test_a_file_that_is_another_one_the_second_time_is_untrusted(town: Town) -> None:
    town.read("vip")
    town.amplitude.jobs["r1"] = (NOW, csv(["ada"]))
    listing = town.ask("other")
    assert isinstance(listing, DownloadListing)

    with pytest.raises(SourceUntrusted) as raised:
        everybody(listing)

    assert raised.value.code == "source.file_changed"


def test_a_file_that_stays_broken_at_the_vendor_is_untrusted(town: Town) -> None:
    town.amplitude.says["file"] = [BROKEN]
    listing = town.ask()
    assert isinstance(listing, DownloadListing)

    with pytest.raises(SourceUntrusted) as raised:
        everybody(listing)

    assert raised.value.code == "source.broken_file"
    assert town.history()[0].state is FetchState.READY


def test_a_file_that_is_not_served_is_asked_for_three_times(town: Town) -> None:
    town.amplitude.says["file"] = [PASSING, RATE, None, PASSING, PASSING, PASSING]

    assert town.read() == ["ada", "bob"]
    listing = town.ask("other")
    assert isinstance(listing, DownloadListing)
    with pytest.raises(SourceUnavailable):
        everybody(listing)
    assert town.amplitude.paid() == 1


def test_a_file_that_is_gone_is_not_asked_for_again(town: Town) -> None:
    town.read("vip")
    town.amplitude.says["file"] = [GONE]
    listing = town.ask("other")
    assert isinstance(listing, DownloadListing)
    with pytest.raises(SourceUnavailable):
        everybody(listing)

    assert town.history()[0].state is FetchState.COMPLETED
    assert isinstance(town.ask("vip"), Unchanged)
    town.read("other")
    assert town.amplitude.paid() == 2


def test_refused_credentials_pass_through_from_the_file_too(town: Town) -> None:
    town.amplitude.says["file"] = [CREDENTIALS]
    listing = town.ask()
    assert isinstance(listing, DownloadListing)

    with pytest.raises(DeliveryError) as raised:
        everybody(listing)

    assert raised.value is CREDENTIALS
    assert town.history()[0].broken == 0


# ---- requests and jobs that fail ----------------------------------------------------


@pytest.mark.parametrize("method", ["cohorts", "usage", "request", "is_complete"])
def test_refused_credentials_pass_through(town: Town, method: str) -> None:
    town.amplitude.says[method] = [CREDENTIALS]

    with pytest.raises(DeliveryError) as raised:
        town.ask()

    assert raised.value is CREDENTIALS


@pytest.mark.parametrize("method", ["cohorts", "usage", "request"])
def test_a_call_that_fails_leaves_the_source_unavailable(
    town: Town, method: str
) -> None:
    town.amplitude.says[method] = [PASSING]

    with pytest.raises(SourceUnavailable):
        town.ask()


@pytest.mark.parametrize(
    ("error", "state"), [(LOST, FetchState.LOST), (GONE, FetchState.REFUSED)]
)
def test_a_request_that_fails_is_noted_for_what_it_may_have_cost(
    town: Town, error: DeliveryError, state: FetchState
) -> None:
    town.amplitude.says["request"] = [error]
    with pytest.raises(SourceUnavailable):
        town.ask()

    assert town.history()[0].state is state


def test_polling_survives_rate_limits_and_two_failures_in_a_row(town: Town) -> None:
    town.amplitude.says["is_complete"] = [*[RATE] * 9, PASSING, PASSING, None]

    assert town.read() == ["ada", "bob"]


def test_a_request_that_is_not_known_yet_is_polled_on_for_a_minute(town: Town) -> None:
    """A vendor of many machines may not know right away what it has just accepted."""
    town.amplitude.says["is_complete"] = [GONE, GONE, GONE, None]

    assert town.read() == ["ada", "bob"]
    assert town.amplitude.paid() == 1


def test_a_request_that_stays_unknown_is_over_after_a_minute(town: Town) -> None:
    town.amplitude.says["is_complete"] = [GONE] * 20

    with pytest.raises(SourceUnavailable):
        town.ask()

    assert town.history()[0].state is FetchState.ENDED
    assert MINUTE <= town.clock.now() - NOW <= 2 * MINUTE


def test_three_failures_in_a_row_leave_the_request_to_the_next_run(
    town: Town,
) -> None:
    town.amplitude.says["is_complete"] = [PASSING, PASSING, PASSING]
    with pytest.raises(SourceUnavailable):
        town.ask()

    assert town.read() == ["ada", "bob"]
    assert town.amplitude.paid() == 1


@pytest.mark.parametrize("error", [FAILED, GONE])
def test_a_job_that_failed_or_is_unknown_is_asked_for_anew(
    town: Town, error: DeliveryError
) -> None:
    town.amplitude.says["is_complete"] = [Killed()]
    with pytest.raises(Killed):
        town.ask()
    town.clock.advance(MINUTE)
    town.amplitude.says["is_complete"] = [error]
    with pytest.raises(SourceUnavailable):
        town.ask()

    assert town.history()[0].state is FetchState.ENDED
    town.read()
    assert town.amplitude.paid() == 2


def test_a_job_that_takes_too_long_is_left_to_the_next_run(town: Town) -> None:
    source = town.source(deadline=30 * SECOND)
    with pytest.raises(SourceUnavailable) as raised:
        source.ask(town.question())

    assert raised.value.code == "source.not_ready_in_time"
    assert town.clock.now() <= NOW + 30 * SECOND
    assert town.read() == ["ada", "bob"]
    assert town.amplitude.paid() == 1


def test_a_stop_is_heeded_while_polling_and_keeps_the_request(town: Town) -> None:
    question = town.question()
    town.amplitude.before_usage = question.stop.set
    with pytest.raises(SourceUnavailable) as raised:
        town.source().ask(question)

    assert raised.value.code == "source.interrupted"
    assert town.history()[0].state is FetchState.RUNNING


# ---- quota, budget, rate ------------------------------------------------------------


def test_schedules_stop_at_the_reserve_and_people_go_on(
    town: Town, lines: list[EventDict]
) -> None:
    town.amplitude.used = 450

    answer = town.ask()

    assert isinstance(answer, Postponed)
    assert answer.reason == "quota"
    assert answer.until == datetime(2026, 6, 1, tzinfo=UTC)
    assert "450 of 500" in answer.message
    assert town.read(by_person=True) == ["ada", "bob"]
    assert names(lines).count("quota.exhausted") == 1


def test_a_month_that_ended_while_its_reading_came_is_no_news(
    town: Town, lines: list[EventDict]
) -> None:
    class Slow(Amplitude):
        def usage(self) -> Usage | None:
            reading = super().usage()
            self.clock.advance(MINUTE)
            return reading

    town.amplitude = Slow(town.clock, used=450)
    town.clock.advance(next_month(NOW) - town.clock.now() - SECOND)

    late = town.ask()
    town.amplitude = Amplitude(town.clock, used=450)
    soon = town.ask()

    assert isinstance(late, Postponed)
    assert isinstance(soon, Postponed)
    assert (late.reason, soon.reason) == ("quota", "quota")
    assert names(lines).count("quota.exhausted") == 1


def test_what_the_vendor_counted_already_is_not_counted_twice(town: Town) -> None:
    town.amplitude.used = 448
    town.read()
    town.clock.advance(HOUR)
    town.amplitude.compute()

    answer = town.ask(rules=replace(RULES, demand=0.0))

    assert isinstance(answer, DownloadListing)
    assert town.amplitude.used == 450


def test_a_low_quota_is_told_once_a_day(town: Town, lines: list[EventDict]) -> None:
    town.amplitude.used = 420
    for _ in range(3):
        town.read()
        town.clock.advance(9 * HOUR)
        town.amplitude.compute()

    assert names(lines).count("quota.low") == 2


def test_without_the_usage_call_our_own_count_decides(town: Town) -> None:
    town.amplitude.has_usage = False
    source = town.source(limit=51)
    listing = source.ask(town.question())
    assert isinstance(listing, DownloadListing)
    everybody(listing)
    town.clock.advance(HOUR)
    town.amplitude.compute()

    answer = source.ask(town.question())

    assert isinstance(answer, Postponed)
    assert "estimated" in answer.message
    with town.database.read() as connection:
        kept = quotas.get(connection, PROJECT)
    assert kept is not None
    assert (kept.used, kept.limit, kept.estimated) == (1, 51, True)


def test_refusals_use_up_no_month_where_only_our_own_count_is_known(
    town: Town,
) -> None:
    town.amplitude.has_usage = False
    town.amplitude.says["request"] = [RATE] * 60
    for _ in range(20):
        assert isinstance(town.ask(), Postponed)
        town.clock.advance(HOUR)

    assert town.read() == ["ada", "bob"]

    with town.database.read() as connection:
        kept = quotas.get(connection, PROJECT)
    assert kept is not None
    assert kept.used == 1


@pytest.mark.parametrize(("wait", "until"), [(None, None), (90.0, NOW + 90 * SECOND)])
def test_a_usage_call_that_is_turned_away_postpones_the_run(
    town: Town, wait: float | None, until: datetime | None
) -> None:
    town.amplitude.says["usage"] = [refusal("rate_limited", 429, Fault.PASSING, wait)]

    answer = town.ask()

    assert isinstance(answer, Postponed)
    assert (answer.reason, answer.until) == ("rate", until)
    assert town.amplitude.paid() == 0
    assert town.read() == ["ada", "bob"]


def test_the_month_that_another_tool_used_up_is_found_out_from_its_429(
    town: Town,
) -> None:
    def snatch() -> None:
        town.amplitude.says["request"] = [RATE]
        town.amplitude.before_usage = exhaust

    def exhaust() -> None:
        town.amplitude.used = 500

    town.amplitude.before_usage = snatch

    answer = town.ask(by_person=True)

    assert isinstance(answer, Postponed)
    assert answer.reason == "quota"
    assert town.amplitude.paid() == 1


def test_a_rate_limit_of_the_vendor_is_waited_for_within_the_run(town: Town) -> None:
    town.amplitude.says["request"] = [RATE, RATE]

    assert town.read() == ["ada", "bob"]
    assert town.amplitude.paid() == 3
    assert town.clock.now() >= NOW + 90 * SECOND


def test_refusals_never_push_the_last_file_out_of_sight(town: Town) -> None:
    """17 hours of 429s, three in each: then the cohort is as it was."""
    town.read()
    computed = town.amplitude.cohort.last_computed
    town.amplitude.compute()
    town.amplitude.says["request"] = [RATE] * 51
    for _ in range(17):
        town.clock.advance(HOUR)
        assert isinstance(town.ask(), Postponed)

    town.amplitude.change(last_computed=computed)

    assert town.amplitude.says["request"] == []
    assert isinstance(town.ask(), Unchanged)


def test_a_vendor_that_keeps_turning_us_away_is_left_alone(town: Town) -> None:
    town.amplitude.says["request"] = [RATE] * 9

    answer = town.ask()

    assert isinstance(answer, Postponed)
    assert answer.reason == "rate"
    assert town.amplitude.paid() == 3


def start_four(town: Town) -> None:
    """Downloads of other cohorts, all in this minute."""
    with town.database.begin() as connection:
        for number in range(4):
            key = fetches.begin(
                connection,
                project=PROJECT,
                cohort_id=f"other-{number}",
                name="",
                computed_before=None,
                size_before=None,
                sync="other",
                run_id="r",
                by_person=False,
                now=NOW,
            )
            fetches.accepted(connection, key, f"q{number}", NOW)
            fetches.ready(
                connection, key, computed_after=None, size=None, size_ready=None
            )


def test_the_next_minute_is_waited_for_within_the_run(town: Town) -> None:
    start_four(town)

    assert town.read() == ["ada", "bob"]
    assert town.history()[0].asked_at > NOW + timedelta(minutes=1)


def test_no_run_waits_beyond_its_end_for_a_place(town: Town) -> None:
    start_four(town)

    answer = town.ask(until=NOW + 30 * SECOND)

    assert isinstance(answer, Postponed)
    assert answer.reason == "rate"
    assert "4 downloads were started in 1 min" in answer.message
    assert town.clock.now() == NOW
    assert town.amplitude.paid() == 0


def test_a_budget_makes_a_frequent_schedule_a_cheap_gate(town: Town) -> None:
    rules = replace(RULES, budget=Budget(downloads=2, per=DAY))
    answers = []
    for _ in range(24):
        town.amplitude.compute([f"at {town.clock.now()}"])
        answer = town.ask(rules=rules)
        if isinstance(answer, DownloadListing):
            everybody(answer)
        else:
            answers.append(answer)
        town.clock.advance(HOUR)

    assert town.amplitude.paid() == 2
    assert {isinstance(each, Postponed) and each.reason for each in answers} == {
        "budget"
    }


def test_downloads_that_bring_nothing_new_become_rarer(town: Town) -> None:
    paid_at, reasons = [], set()
    for hour in range(48):
        town.amplitude.compute()
        before = town.amplitude.paid()
        answer = town.ask()
        if isinstance(answer, DownloadListing):
            everybody(answer)
            town.marks["vip"] = answer.mark()
        if isinstance(answer, Postponed):
            reasons.add(answer.reason)
        if town.amplitude.paid() > before:
            paid_at.append(hour)
        town.clock.advance(NOW + (hour + 1) * HOUR - town.clock.now())

    assert paid_at == [0, 1, 3, 7, 15, 31]
    assert reasons == {"pointless"}, "and not `rate`, as if it were the vendor's limit"


# ---- several at once ----------------------------------------------------------------


class YieldingClock(PatientClock):
    """As its parent, and other threads get their turn."""

    def wait(self, event: threading.Event, delay: timedelta) -> bool:
        event.wait(0.01)
        return super().wait(event, delay)


def ask_at_once(
    town: Town, database_url: str, cohorts: Sequence[str]
) -> list[DownloadListing | Unchanged | Postponed]:
    """Two processes that have both read the usage before either of them decides."""
    town.clock = YieldingClock(NOW)
    town.amplitude.clock = town.clock
    both, once = threading.Barrier(2, timeout=30), threading.local()

    def meet() -> None:
        if not hasattr(once, "met"):
            once.met = both.wait()

    town.amplitude.before_usage = meet
    stores = [town.database, town.database]
    if town.database.dialect == "postgresql":
        stores[1] = Database(database_url)
    answers: list[DownloadListing | Unchanged | Postponed] = []

    def process(number: int) -> None:
        source = town.source(cohort_id=cohorts[number])
        question = replace(town.question(f"s{number}"), database=stores[number])
        answers.append(source.ask(question))

    threads = [threading.Thread(target=process, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if stores[1] is not town.database:
        stores[1].close()
    return answers


def test_two_processes_never_both_get_the_last_place(
    town: Town, database_url: str
) -> None:
    town.amplitude.used = 449

    answers = ask_at_once(town, database_url, ["c1", "c2"])

    assert sorted(type(each).__name__ for each in answers) == [
        "DownloadListing",
        "Postponed",
    ]
    assert town.amplitude.used == 450


def test_two_processes_never_pay_for_one_cohort_twice(
    town: Town, database_url: str
) -> None:
    answers = ask_at_once(town, database_url, ["c1", "c1"])

    assert [type(each) for each in answers] == [DownloadListing, DownloadListing]
    assert town.amplitude.paid() == 1
