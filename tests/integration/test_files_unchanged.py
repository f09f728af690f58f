"""Files that are byte for byte those of the last plan are not read again, and whatever
else there is to do is done all the same."""

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.app.verifying import compared_with
from syncd.config.settings import GuardSettings
from syncd.model import IdType, Outcome, Trigger
from syncd.sources import Listing, Question, Standing, Unchanged
from syncd.sources.files import FileList, FilesSource, mark
from syncd.sources.files.listing import FileListing
from syncd.store import bindings, forgotten
from syncd.store.bindings import Binding
from syncd.sync import adopting, resync
from syncd.sync.adopting import Belief
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.resync import Wish
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LANDS_LATE,
    REFUSED,
    AskedSource,
    ListSource,
    World,
    people,
)

SECOND = timedelta(seconds=1)
LONG_AGO = 3_600.0
"""Seconds: a file of then was touched by nobody just now."""
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
WISH = Wish(actor="ann", via="cli", reason="somebody else wrote there")


class Files(AskedSource):
    """Real files in the place of a fake's list; counts how often they are read."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.files = FileList(pattern=f"{folder}/{{audience}}*", audience="vip")
        self.path = folder / "vip.csv"

    def ask(self, question: Question) -> Any:
        """See `Source.ask`."""
        self.questions.append(question)
        answer = self.source.ask(question)
        self.reads += isinstance(answer, FileListing)
        return answer

    def fingerprint(self) -> str:
        return self.source.fingerprint()

    @property
    def source(self) -> FilesSource:
        """As it is made for each start."""
        return FilesSource(self.files)

    def write(self, *numbers: int, name: str = "vip.csv") -> Path:
        """An export that was put there a while ago."""
        ids = b"".join(b"person-%04d\n" % each for each in numbers)
        return self.put(b"user_id\n" + ids, name)

    def put(self, content: bytes, name: str = "vip.csv") -> Path:
        """As programs should: under another name, then renamed."""
        made = self.folder.with_name("made")
        made.write_bytes(content)
        age(made)
        return made.replace(self.folder / name)


def age(path: Path, seconds: float = LONG_AGO) -> None:
    """It was written so long ago; when it was changed at all nobody can set."""
    then = path.stat().st_ctime - seconds
    os.utime(path, (then, then))


@pytest.fixture
def source(world: World, tmp_path: Path) -> Files:
    """Twelve people whom the destination knows, in one file."""
    folder = tmp_path / "lists"
    folder.mkdir()
    files = Files(folder)
    files.write(*range(12))
    world.sources["vip"] = files
    delivery = replace(world_delivery(world), late_landings=timedelta(hours=1))
    world.sync(guard=STRICT, delivery=delivery)
    world.vendor.known = people(*range(100))
    return files


def world_delivery(world: World) -> Any:
    """What the builders give a sync."""
    world.sync()
    return world.syncs["vip"].delivery


def run(engine: Engine, world: World, trigger: Trigger = Trigger.SCHEDULE) -> Report:
    advance(world)
    slot = world.clock.now() if trigger is Trigger.SCHEDULE else None
    report = engine.run("vip", trigger, slot)
    assert report is not None
    return report


def advance(world: World, by: timedelta = SECOND) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def binding(world: World) -> Binding:
    with world.database.read() as connection:
        found = bindings.current(connection, "vip")
    assert found is not None
    return found


# ---- the same bytes ------------------------------------------------------------------


def test_a_file_that_is_as_it_was_is_neither_read_nor_planned_from(
    world: World, source: Files, lines: list[EventDict]
) -> None:
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.SUCCESS
        sent = len(world.vendor.requests)
        report = run(engine, world)

    assert report.outcome is Outcome.NO_CHANGE
    assert (source.reads, len(world.vendor.requests)) == (1, sent)
    assert "collect" not in report.phase_ms
    (line,) = [each for each in lines if each["event"] == "source.unchanged"]
    assert (line["sync"], line["log_level"]) == ("vip", "info")


@pytest.mark.parametrize("trigger", [Trigger.SCHEDULE, Trigger.MANUAL])
def test_a_run_that_read_nothing_says_since_when_there_is_nothing_new(
    world: World, source: Files, trigger: Trigger
) -> None:
    with world.engine() as engine:
        run(engine, world)
        report = run(engine, world, trigger)

    since = datetime.fromisoformat(report.numbers["unchanged_since"])
    assert abs(since.timestamp() - source.path.stat().st_mtime) <= 1


def test_the_last_plan_is_remembered_over_a_restart(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert source.reads == 1


def written_again(source: Files) -> None:
    source.write(*range(12))


def touched(source: Files) -> None:
    os.utime(source.path)


def of_another_mode(source: Files) -> None:
    source.path.chmod(0o640)


@pytest.mark.parametrize("change", [written_again, touched, of_another_mode])
def test_the_same_bytes_written_anew_are_the_same_list(
    world: World, source: Files, change: Callable[[Files], None]
) -> None:
    with world.engine() as engine:
        run(engine, world)
        change(source)
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert source.reads == 1


# ---- other bytes ---------------------------------------------------------------------


def another_order(source: Files) -> None:
    source.write(*reversed(range(12)))


def in_parts(source: Files) -> None:
    source.write(*range(6))
    source.write(*range(6, 12), name="vip-2.csv")


def packed(source: Files) -> None:
    source.put(gzip.compress(source.path.read_bytes()))


def another_name(source: Files) -> None:
    source.path.rename(source.folder / "vip-of-today.csv")


@pytest.mark.parametrize("change", [another_order, in_parts, packed, another_name])
def test_the_same_people_in_other_bytes_are_read_once(
    world: World, source: Files, change: Callable[[Files], None]
) -> None:
    with world.engine() as engine:
        run(engine, world)
        change(source)
        assert run(engine, world).outcome is Outcome.NO_CHANGE
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert source.reads == 2


def one_more(source: Files) -> None:
    source.write(*range(13))


def one_more_file(source: Files) -> None:
    source.write(12, name="vip-2.csv")


def in_place_with_the_old_times(source: Files) -> None:
    """As `rsync --inplace -t` or a restored backup: size and time are as they were."""
    status = source.path.stat()
    with source.path.open("r+b") as file:
        file.seek(-len(b"0011\n"), os.SEEK_END)
        file.write(b"0012\n")
    os.utime(source.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source.path.stat().st_size == status.st_size


@pytest.mark.parametrize(
    "change", [one_more, one_more_file, in_place_with_the_old_times]
)
def test_whoever_is_new_in_a_file_is_sent(
    world: World, source: Files, change: Callable[[Files], None]
) -> None:
    with world.engine() as engine:
        run(engine, world)
        change(source)
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert people(12) <= world.vendor.cohort.members


def test_a_file_that_is_gone_fails_the_run_and_removes_nobody(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.path.unlink()
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.FAILED, "source.file_missing")
    assert report.phase == "collect"
    assert world.vendor.cohort.members == people(*range(12))


def test_a_file_that_changes_while_it_is_read_is_read_again(
    world: World, source: Files
) -> None:
    """Its torn content must not count as a list, nor its new one as read."""

    class Torn(FileListing):
        def blocks(self) -> Iterator[list[bytes]]:
            for block in super().blocks():
                yield block
                source.write(*range(20))

    with world.engine() as engine:
        run(engine, world)
        source.write(*range(12, 24))
        source.ask = lambda question: Torn(source.files, world.clock)  # type: ignore[method-assign]
        failed = run(engine, world)
        del source.ask
        report = run(engine, world)

    assert (failed.outcome, failed.reason) == (Outcome.FAILED, "source.file_changed")
    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(20))


# ---- other ways of reading -----------------------------------------------------------


def test_another_column_reads_the_same_file_again(world: World, source: Files) -> None:
    rows = b"".join(b"person-%04d,person-%04d\n" % (n, n + 1) for n in range(12))
    source.put(b"user_id,other\n" + rows)
    with world.engine() as engine:
        run(engine, world)
    source.files = replace(source.files, column="other")
    with world.engine() as engine:
        report = run(engine, world)

    assert source.reads == 2
    assert report.reason == "guard.identity"


def test_another_id_type_reads_the_same_file_again(world: World, source: Files) -> None:
    with world.engine() as engine:
        run(engine, world)
    world.syncs["vip"] = replace(world.syncs["vip"], match=IdType.AMPLITUDE_ID)
    with world.engine() as engine:
        run(engine, world)

    assert source.reads == 2
    assert source.questions[-1].mark is None


def test_a_later_version_reads_the_same_file_once(
    world: World, source: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have learned to read it better, or what an id is."""
    with world.engine() as engine:
        run(engine, world)
        monkeypatch.setattr(mark, "__version__", "99.0.0")
        run(engine, world)
        run(engine, world)

    assert source.reads == 2


def test_another_limit_of_the_guard_asks_for_no_list(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
    world.syncs["vip"] = replace(
        world.syncs["vip"], guard=replace(STRICT, max_exit=0.01)
    )
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert source.reads == 1


# ---- what is left to do --------------------------------------------------------------


def test_open_batches_go_again_without_a_second_reading(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.write(*range(13))
        world.vendor.always = FAILED_BEFORE
        assert run(engine, world).outcome is Outcome.PARTIAL
        world.vendor.always = None
        report = run(engine, world)

    assert (report.outcome, source.reads) == (Outcome.SUCCESS, 2)
    assert world.vendor.cohort.members == people(*range(13))


def test_a_dead_batch_is_planned_anew_from_the_same_file(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.write(*range(13))
        world.vendor.script.append(REFUSED)
        assert run(engine, world).numbers["dead"] == 1
        report = run(engine, world)

    assert (report.outcome, source.reads) == (Outcome.SUCCESS, 3)
    assert world.vendor.cohort.members == people(*range(13))


def test_people_due_to_be_offered_again_are_offered_from_the_same_file(
    world: World, source: Files
) -> None:
    world.vendor.known -= people(3)
    with world.engine() as engine:
        run(engine, world)
        assert run(engine, world).outcome is Outcome.NO_CHANGE
        world.vendor.known |= people(3)
        advance(world, timedelta(hours=2))
        report = run(engine, world)

    assert (report.outcome, source.reads) == (Outcome.SUCCESS, 2)
    assert world.vendor.cohort.members == people(*range(12))


def test_whom_a_late_request_may_have_moved_is_asserted_without_a_reading(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        world.vendor.script.append(LANDS_LATE)
        source.write(*range(13))
        run(engine, world)
        source.write(*range(12))
        run(engine, world)
        world.vendor.land()
        assert people(12) <= world.vendor.cohort.members
        reads = source.reads
        advance(world, timedelta(hours=1))
        report = run(engine, world)

    assert (report.outcome, source.reads) == (Outcome.SUCCESS, reads)
    assert world.vendor.cohort.members == people(*range(12))


def test_who_asked_to_be_forgotten_leaves_though_the_file_is_as_it_was(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        with world.database.begin() as connection:
            gone = [(b"person-0003", IdType.USER_ID)]
            forgotten.add(connection, gone, world.clock.now())
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(12)) - people(3)


def test_a_baseline_that_lost_members_is_held_though_the_file_is_as_it_was(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        advance(world, timedelta(hours=25))
        source.write(*range(13))
        run(engine, world)  # and compacts
        with world.database.begin() as connection:
            assert connection.execute(text("DELETE FROM chunk")).rowcount
        report = run(engine, world)

    assert report.outcome is Outcome.HELD
    assert source.questions[-1].mark is None
    assert world.vendor.cohort.members == people(*range(13))


# ---- a person's word -----------------------------------------------------------------


def test_a_held_list_is_read_again_once_it_was_rejected(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.write(*range(4))
        held = run(engine, world)
        assert held.outcome is Outcome.HELD
        with pytest.raises(WaitsForPerson):
            run(engine, world)
        engine.reject(Decision(run_id=held.run_id, actor="a", via="cli", reason="no"))
        again = run(engine, world)

    assert (again.outcome, source.reads) == (Outcome.HELD, 3)
    assert world.vendor.cohort.members == people(*range(12))


def test_an_approved_list_is_the_one_that_is_not_read_again(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.write(*range(4))
        held = run(engine, world)
        engine.approve(Decision(run_id=held.run_id, actor="a", via="cli", reason="ok"))
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert source.reads == 2
    assert world.vendor.cohort.members == people(*range(4))


def test_the_list_before_a_rejected_one_is_as_it_was(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.write(*range(4))
        held = run(engine, world)
        engine.reject(Decision(run_id=held.run_id, actor="a", via="cli", reason="no"))
        source.write(*range(12))
        report = run(engine, world)

    assert (report.outcome, source.reads) == (Outcome.NO_CHANGE, 2)


def test_everybody_is_sent_again_from_the_same_file(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        world.vendor.cohort.members -= people(1, 2, 3)
        with engine.alone("vip") as (parts, spec):
            resync.push(parts, spec, WISH)

    assert source.reads == 2
    assert world.vendor.cohort.members == people(*range(12))


def test_the_same_file_is_read_to_be_taken_for_the_truth(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        with engine.alone("vip") as (parts, spec):
            report = adopting.adopt(parts, spec, WISH, Belief(reads=None))
        assert report is not None
        assert report.reason == adopting.ADOPTED
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert source.reads == 2, "adopted from a reading, and as it was afterwards"


def test_what_is_missing_there_is_found_though_the_file_is_as_it_was(
    world: World, source: Files
) -> None:
    with world.engine() as engine:
        run(engine, world)
        world.vendor.cohort.members -= people(5)
        with engine.at_rest("vip") as (parts, _):
            there: Listing = Standing(ListSource(world.vendor.cohort.members)).ask(
                source.questions[0]
            )
            found = compared_with(there, parts, binding(world), others=[])

    assert set(found.differences.missing) == people(5)


def test_to_ask_for_a_list_to_look_at_says_nothing_in_the_log(
    world: World, source: Files, lines: list[EventDict]
) -> None:
    with world.engine() as engine:
        run(engine, world)
    known = replace(
        source.questions[0], mark=binding(world).source_mark, look_only=True
    )

    answer = source.source.ask(known)

    assert isinstance(answer, Unchanged)
    assert not [each for each in lines if each["event"] == "source.unchanged"]
