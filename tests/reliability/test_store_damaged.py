"""A SQLite file that was damaged: a start refuses it, or what it then does is right.

A copy of a good store is damaged at a place drawn from a seed: a bit, a byte, a page of
zeros, a page of an older copy, two pages in each other's place, a file cut short. Then
it is opened as every command does, and run. Whoever the source lists is never removed;
a run that says it went well left the cohort right; everything else says what it is.
"""

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.app.store import opened
from syncd.config.settings import GuardSettings
from syncd.errors import StoreError, SyncdError
from syncd.model import Operation, Trigger
from syncd.store.backup import backup
from syncd.store.codec import Codec
from syncd.store.database import Database
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    FakeVendor,
    ManualClock,
    Request,
    World,
    new_database,
    people,
)
from tests.reliability.storing.mishaps import GUARD, OK

SEED = 20261122
FEW, FEW_PACKED, MANY = 49, 14, 4_000
PAGE = 4096
NAMES = 2
"""People of whom nobody may know, where one name became another one and fits: there is
no checksum. Who had the old name may stay, who has the new one may be missing."""
LISTED = people(*range(10, 400))
"""Whom the source lists when the store is damaged."""
LATER = people(*range(30, 420))
"""Whom it lists when it is run again."""

Damage = Callable[[random.Random, bytearray, bytes], None]


# ---- damages ----------------------------------------------------------------------


def a_bit(dice: random.Random, content: bytearray, _: bytes) -> None:
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


def a_byte(dice: random.Random, content: bytearray, _: bytes) -> None:
    content[dice.randrange(len(content))] = dice.randrange(256)


def a_digit(dice: random.Random, content: bytearray, _: bytes) -> None:
    """One person becomes another one, and nothing else is wrong with the file."""
    digits = list(_places(content, b"person-"))
    at = dice.choice(digits) + len(b"person-") + dice.randrange(4)
    content[at] = ord("0") + (content[at] - ord("0") + dice.randrange(1, 10)) % 10


def zeros(dice: random.Random, content: bytearray, _: bytes) -> None:
    at = dice.randrange(1, len(content) // PAGE) * PAGE
    content[at : at + PAGE] = bytes(PAGE)


def an_older_page(dice: random.Random, content: bytearray, older: bytes) -> None:
    """The disk lost a write: a page is as it was a day ago."""
    at = dice.randrange(1, len(older) // PAGE) * PAGE
    content[at : at + PAGE] = older[at : at + PAGE]


def two_swapped(dice: random.Random, content: bytearray, _: bytes) -> None:
    one, two = (dice.randrange(1, len(content) // PAGE) * PAGE for _ in range(2))
    page = content[one : one + PAGE]
    content[one : one + PAGE] = content[two : two + PAGE]
    content[two : two + PAGE] = page


def cut_short(dice: random.Random, content: bytearray, _: bytes) -> None:
    del content[dice.randrange(len(content)) :]


DAMAGES: tuple[Damage, ...] = (
    a_bit,
    a_byte,
    a_digit,
    zeros,
    an_older_page,
    two_swapped,
    cut_short,
)


def _places(content: bytearray, word: bytes) -> Iterator[int]:
    at = content.find(word)
    while at >= 0:
        yield at
        at = content.find(word, at + 1)


# ---- a good store -------------------------------------------------------------------


@dataclass
class Good:
    """A store with members in chunks and in the log, open batches, strangers."""

    file: bytes
    older: bytes
    """A day before."""
    vendor: FakeVendor
    clock: ManualClock


def world_of(
    database: Database,
    folder: Path,
    vendor: FakeVendor,
    guard: GuardSettings = GUARD,
) -> World:
    world = World(database=database, spool=folder)
    world.vendors["amplitude"] = vendor
    world.sync(members=LISTED, guard=guard)
    return world


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return made(tmp_path_factory.mktemp("good"), "text")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """The same, its chunks packed."""
    return made(tmp_path_factory.mktemp("packed"), "zstd")


def made(folder: Path, codec: Codec) -> Good:
    new_database(folder).close()
    database = Database(f"sqlite:///{folder / 'syncd.db'}", codec=codec)
    vendor = FakeVendor(known=people(*range(380)))
    world = world_of(database, folder, vendor)
    clock = world.clock
    assert isinstance(clock, ManualClock)
    source = world.sources["vip"]
    source.members = people(*range(300))
    with capture_logs(), world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        clock.advance(timedelta(hours=25))
        source.members = people(*range(5, 350))
        engine.run("vip", Trigger.MANUAL)  # and compacts
        older = _copy(folder)
        source.members = people(*range(8, 370))
        engine.run("vip", Trigger.MANUAL)
        source.members = set(LISTED)
        vendor.always = FAILED_BEFORE
        engine.run("vip", Trigger.MANUAL)
        vendor.always = None
    file = _copy(folder)
    database.close()
    return Good(file=file, older=older, vendor=vendor, clock=clock)


def _copy(folder: Path) -> bytes:
    target = folder / "copy.db"
    backup(folder / "syncd.db", target)
    content = target.read_bytes()
    target.unlink()
    return content


# ---- and then ----------------------------------------------------------------------


@dataclass
class Aftermath:
    """What became of a damaged store."""

    refused: StoreError | None = None
    """It was not opened."""
    ended: list[Report | SyncdError] = field(default_factory=list)
    removed_wrongly: set[bytes] = field(default_factory=set)
    truth: set[bytes] = field(default_factory=set)
    held: bool = False

    @property
    def kind(self) -> str:
        """In a word."""
        if self.removed_wrongly:
            return "REMOVED WRONGLY"
        if self.refused is not None:
            return "refused"
        last = self.ended[-1]
        if not isinstance(last, Report) or last.outcome not in OK:
            return "told"
        wrong = self.truth ^ (LATER & people(*range(380)))
        if len(wrong) > NAMES:
            return "SILENTLY WRONG"
        return "a name lost" if wrong else "right"


def after(
    good: Good, content: bytes, folder: Path, guard: GuardSettings = GUARD
) -> Aftermath:
    """Open it as every command does, resume, and run twice."""
    found = Aftermath()
    path = folder / "syncd.db"
    path.write_bytes(content)
    vendor = FakeVendor(known=good.vendor.known, cohorts=deepcopy(good.vendor.cohorts))

    def judge(request: Request) -> None:
        if request.operation is Operation.REMOVE:
            found.removed_wrongly |= set(request.ids) & LISTED & LATER

    vendor.watch = judge
    url = f"sqlite:///{path}"
    with capture_logs():
        try:
            with opened(url, migration="auto", fast=False) as store:
                world = world_of(store.database, folder, vendor, guard)
                world.clock = good.clock
                found.ended = list(went_on(world))
        except StoreError as error:
            found.refused = error
    found.truth = set().union(*(each.members for each in vendor.cohorts.values()))
    return found


def went_on(world: World) -> Iterator[Report | SyncdError]:
    with world.engine() as engine:
        for name in engine.close_abandoned():
            with suppress(SyncdError):
                engine.resume(name)
        world.sources["vip"].members = set(LATER)
        for _ in range(2):
            try:
                report = engine.run("vip", Trigger.MANUAL)
            except SyncdError as error:
                yield error
            else:
                assert report is not None
                yield report


def damaged(good: Good, seed: int, damage: Damage) -> bytes:
    content = bytearray(good.file)
    damage(random.Random(f"{SEED}-{seed}"), content, good.older)  # noqa: S311
    return bytes(content)


def test_a_store_that_is_not_damaged_is_right(good: Good, tmp_path: Path) -> None:
    assert after(good, good.file, tmp_path).kind == "right"


@pytest.mark.parametrize("codec", ["text", "zstd"])
def test_a_damaged_store_is_refused_or_told_or_right_and_removes_nobody(
    request: pytest.FixtureRequest, tmp_path: Path, codec: Codec
) -> None:
    good: Good = request.getfixturevalue("good" if codec == "text" else "packed")
    pytestconfig = request.config
    kinds: dict[str, Counter[str]] = {each.__name__: Counter() for each in DAMAGES}
    asked = pytestconfig.getoption("--seed")
    few = FEW if codec == "text" else FEW_PACKED
    many = MANY if pytestconfig.getoption("--long") else few
    wrong = []

    for seed in range(many) if asked is None else [asked]:
        damage = DAMAGES[seed % len(DAMAGES)]
        folder = tmp_path / "store"
        folder.mkdir()
        content = damaged(good, seed, damage)
        found = after(good, content, folder)
        shutil.rmtree(folder)
        kinds[damage.__name__][found.kind] += 1
        if found.kind.isupper():
            # The order of ids in a chunk is another one each time: the file is kept.
            kept = tmp_path / f"seed-{seed}.db"
            kept.write_bytes(content)
            wrong.append(f"--seed {seed}: {damage.__name__}, {found.kind}, {kept}")

    for name, counts in kinds.items():
        print(name, dict(counts))
    assert wrong == []


def roots(content: bytes, folder: Path) -> dict[str, int]:
    """Where the first page of each table and index begins."""
    path = folder / "looked-at.db"
    path.write_bytes(content)
    query = "SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0"
    with closing(sqlite3.connect(path)) as connection:
        return {name: (page - 1) * PAGE for name, page in connection.execute(query)}


@pytest.mark.parametrize("lost", ["binding", "ix_binding_sync_role"])
def test_a_binding_that_cannot_be_found_is_refused_and_not_made_anew(
    good: Good, tmp_path: Path, lost: str
) -> None:
    """An empty page stands where it was: seed 110 once found that silently wrong."""
    pages = roots(good.file, tmp_path)
    empty = "pause" if lost == "binding" else "ix_inbox_feed_id_position"
    content = bytearray(good.file)
    content[pages[lost] : pages[lost] + PAGE] = good.file[
        pages[empty] : pages[empty] + PAGE
    ]

    found = after(good, bytes(content), tmp_path)

    assert found.refused is not None
    assert found.refused.code == "store.damaged"
    assert "person-" not in str(found.refused)


def test_a_request_that_may_land_late_and_cannot_be_found_is_refused(
    good: Good, tmp_path: Path
) -> None:
    """Nobody would mind it: an empty page stands where the index of them was."""
    path = tmp_path / "minding.db"
    path.write_bytes(good.file)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO doubt SELECT 999, id, 'add', 1, 0, 0, '2026-01-01 00:00:00', "
            "'2026-01-01 01:00:00', 0, 'person-0100' FROM binding LIMIT 1"
        )
        connection.commit()
    content = bytearray(path.read_bytes())
    pages = roots(bytes(content), tmp_path)
    lost, empty = pages["ix_doubt_binding_id_until"], pages["ix_inbox_feed_id_position"]
    content[lost : lost + PAGE] = good.file[empty : empty + PAGE]

    found = after(good, bytes(content), tmp_path)

    assert found.refused is not None
    assert found.refused.code == "store.damaged"
    assert "person-" not in str(found.refused)


def test_buckets_that_do_not_fit_their_people_hold_the_sync(
    good: Good, tmp_path: Path
) -> None:
    """Of two buckets, each would hold people who seem to have left the other."""
    path = tmp_path / "syncd.db"
    path.write_bytes(good.file)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE binding SET n_buckets = 2")
        connection.commit()
    content = path.read_bytes()

    found = after(
        good, content, tmp_path, replace(GUARD, max_exit=1.0, max_exit_24h=1.0)
    )

    assert found.kind == "told"
    assert not found.removed_wrongly


@pytest.mark.parametrize("table", ["chunk", "sqlite_master"])
def test_text_that_is_no_text_any_more_is_told_without_quoting_anybody(
    good: Good, tmp_path: Path, table: str
) -> None:
    """Found by the long form: SQLite's own words about it are no text either."""
    content = bytearray(good.file)
    word = b"CREATE TABLE chunk" if table == "sqlite_master" else b"person-0100"
    for at in list(_places(content, word)):
        content[at + len(word) - 3] = 0xE9

    found = after(good, bytes(content), tmp_path)

    said = [str(found.refused), *(str(getattr(e, "message", e)) for e in found.ended)]
    assert found.kind in {"refused", "told"}
    assert any("damaged" in each or "malformed" in each for each in said)
    assert not any("person-" in each for each in said)


@pytest.mark.parametrize("place", [0, 5, 6, 40, 200])
def test_a_bit_of_a_packed_chunk_fails_its_runs_and_removes_nobody(
    packed: Good, tmp_path: Path, place: int
) -> None:
    """Of the frame's mark, its header, and what it holds."""
    content = bytearray(packed.file)
    (frame,) = _places(content, b"\x28\xb5\x2f\xfd")
    content[frame + place] ^= 0x10

    found = after(packed, bytes(content), tmp_path)

    assert found.kind == "told"
    assert [each.reason for each in found.ended if isinstance(each, Report)] == [
        "store.damaged",
        "store.damaged",
    ]
