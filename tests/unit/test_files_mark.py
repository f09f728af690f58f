"""What a mark of files says, and what it must not say."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.clock import Clock
from syncd.sources.files import FileList, Shape
from syncd.sources.files.found import GRAIN, Found, Stamp, find
from syncd.sources.files.listing import FileListing
from syncd.sources.files.mark import Mark
from syncd.sources.files.stream import digest_of

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
NANO = 10**9
FILES = FileList(pattern="/in/{audience}.csv", audience="vip")
DIGESTS = {"/in/a.csv": "1" * 32, "/in/b.csv": "2" * 32}


def stamp(
    written: datetime = AT - timedelta(hours=1),
    changed: datetime = AT - timedelta(hours=1),
    **other: int,
) -> Stamp:
    values = {"device": 1, "inode": 2, "size": 3} | other
    at = [int(each.timestamp()) * NANO for each in (written, changed)]
    return Stamp(written=at[0], changed=at[1], **values)


def found(*stamps: Stamp) -> Found:
    return Found({f"/in/{nth}.csv": each for nth, each in enumerate(stamps)})


def test_a_mark_is_kept_as_text_and_read_again() -> None:
    mark = Mark.made(FILES, DIGESTS, found(stamp()), AT)

    assert Mark.parse(mark.text()) == mark


@given(st.text(max_size=80))
def test_other_text_is_no_mark(text: str) -> None:
    mark = Mark.parse(text)

    assert mark is None or mark.text() == text


@pytest.mark.parametrize(
    "text",
    [None, "", "c1@1760000000", "files::", "files:" + "0" * 32 + ":", "files:-:-"],
)
def test_the_mark_of_another_source_or_a_damaged_one_says_nothing(
    text: str | None,
) -> None:
    assert Mark.parse(text) is None


@pytest.mark.parametrize(
    "other",
    [
        found(stamp(device=9)),
        found(stamp(inode=9)),
        found(stamp(size=9)),
        found(stamp(written=AT - timedelta(minutes=59))),
        found(stamp(changed=AT - timedelta(minutes=59))),
        found(stamp(), stamp()),
        Found({"/in/other.csv": stamp()}),
    ],
)
def test_files_of_which_anything_differs_are_not_taken_by_their_looks(
    other: Found,
) -> None:
    mark = Mark.made(FILES, DIGESTS, found(stamp()), AT)

    assert mark.looks_like(FILES, found(stamp()))
    assert not mark.looks_like(FILES, other)


@pytest.mark.parametrize("age", [GRAIN, timedelta(0), -timedelta(days=400)])
@pytest.mark.parametrize("which", ["written", "changed"])
def test_a_file_touched_within_the_grain_of_the_clock_or_later_is_read_each_time(
    age: timedelta, which: str
) -> None:
    """Another write in the same tick would look like none."""
    touched = stamp(**{which: AT - age})  # type: ignore[arg-type]
    lately = found(stamp(), touched)

    mark = Mark.made(FILES, DIGESTS, lately, AT)

    assert not mark.looks_like(FILES, lately)
    assert Mark.made(FILES, DIGESTS, lately, AT + 500 * timedelta(days=1)).looks_like(
        FILES, lately
    )


@pytest.mark.parametrize(
    ("files", "digests"),
    [
        (replace(FILES, column="id"), DIGESTS),
        (replace(FILES, shape=Shape.AUTO), DIGESTS),
        (replace(FILES, pattern="/in/*"), DIGESTS),
        (FILES, dict(reversed(DIGESTS.items()))),
        (FILES, {"/in/a.csv": "1" * 32}),
        (FILES, DIGESTS | {"/in/b.csv": "3" * 32}),
        (FILES, {"/in/a.csv": "1" * 32, "/in/c.csv": "2" * 32}),
    ],
)
def test_other_bytes_names_or_ways_of_reading_are_another_list(
    files: FileList, digests: dict[str, str]
) -> None:
    mark = Mark.made(FILES, DIGESTS, found(stamp()), AT)

    assert mark.holds(FILES, DIGESTS)
    assert not mark.holds(files, digests)


@pytest.mark.parametrize(
    "files", [replace(FILES, column="id"), replace(FILES, shape=Shape.AUTO)]
)
def test_another_way_of_reading_is_not_taken_by_the_looks_of_the_files(
    files: FileList,
) -> None:
    mark = Mark.made(FILES, DIGESTS, found(stamp()), AT)

    assert not mark.looks_like(files, found(stamp()))


def test_a_time_that_no_calendar_has_is_not_shown() -> None:
    never = replace(stamp(), written=10**22), replace(stamp(), written=-1)

    assert [found(each).written_at() for each in never] == [None, None]
    assert found(stamp()).written_at() == AT - timedelta(hours=1)


@pytest.mark.parametrize("name", ["vip.csv", "vip.csv.gz"])
def test_the_mark_is_of_the_bytes_that_were_read_and_of_no_others(
    tmp_path: Path, name: str
) -> None:
    """They are written over between the last look of the reading and the next one."""
    import gzip

    pack = gzip.compress if name.endswith("gz") else bytes
    path = tmp_path / name
    path.write_bytes(pack(b"user_id\nperson-1\n"))
    files = FileList(pattern=str(path), audience="vip")
    listing = FileListing(files, Clock())

    read = [each for block in listing.blocks() for each in block]
    before = digest_of(path)
    path.write_bytes(pack(b"user_id\nperson-2\n"))

    mark = Mark.parse(listing.mark())
    assert read == [b"person-1"]
    assert mark is not None
    assert mark.holds(files, {str(path): before})
    assert not mark.holds(files, {str(path): digest_of(path)})
    assert not mark.looks_like(files, find(files))


def test_a_list_that_was_not_read_to_its_end_has_no_mark(tmp_path: Path) -> None:
    path = tmp_path / "vip.csv"
    path.write_bytes(b"user_id\nperson-1\n")
    listing = FileListing(FileList(pattern=str(path), audience="vip"), Clock())

    assert listing.mark() is None
    next(listing.blocks())
    assert listing.mark() is None


def test_a_link_to_a_file_stands_for_what_it_leads_to(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for each in (one, two):
        each.write_bytes(b"user_id\nperson-1\n")
        os.utime(each, (1_700_000_000, 1_700_000_000))
    link = tmp_path / "vip.csv"
    files = FileList(pattern=str(link), audience="vip")
    link.symlink_to(one)
    before = find(files)

    link.unlink()
    link.symlink_to(two)

    assert find(files).stamps != before.stamps
