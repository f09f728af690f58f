"""The files source against real files."""

import gzip
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.errors import SourceError, SourceUnavailable, SourceUntrusted
from syncd.sources.files import FileList, FilesSource, Shape

FORMATTED = "user_id,email,lapsed_trials\n"
HEAD = FORMATTED.encode()


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of the audience and returns its path."""

    def write(content: str | bytes, name: str = "lapsed_trials.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def source(directory: Path, pattern: str = "{audience}*", **changes) -> FilesSource:
    return FilesSource(
        FileList(
            pattern=f"{directory}/{pattern}",
            **{"audience": "lapsed_trials"} | changes,
        )
    )


def read(directory: Path, pattern: str = "{audience}*", **changes) -> list[bytes]:
    blocks = source(directory, pattern, **changes).blocks()
    return [id_ for block in blocks for id_ in block]


def error_of(directory: Path, **changes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(directory, **changes)
    return caught.value


# --- formatted CSV


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("person-1,a@b.c,true\nperson-2,,true\n", [b"person-1", b"person-2"]),
        ("person-1,a@b.c,true\r\nperson-2,,true\r\n", [b"person-1", b"person-2"]),
        ("person-1,a@b.c,true\nperson-2,,true", [b"person-1", b"person-2"]),
        ('"person-1","a, b","tr""ue"\n', [b"person-1"]),
        ('person-1,"two\nlines",true\nperson-2,,\n', [b"person-1", b"person-2"]),
        (",anonymous@b.c,true\nperson-2,,true\n", [b"", b"person-2"]),
        (" 007 ,,\n007,,\n1e3,,\n", [b" 007 ", b"007", b"1e3"]),
        ("zoë\u2028x,,\nzoe\u0308,,\n", ["zoë\u2028x".encode(), "zoe\u0308".encode()]),
        ("person-1,,\n\n\nperson-2,,\n", [b"person-1", b"person-2"]),
        ("a\x00b,,\n", [b"a\x00b"]),
        ("", []),
    ],
)
def test_the_id_column_is_read_as_it_stands(put, tmp_path, rows, expected):
    put(FORMATTED + rows)

    assert read(tmp_path) == expected


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_is_known_by_its_first_bytes_and_a_byte_order_mark_is_no_name(
    put, tmp_path, mark, pack
):
    put(pack(mark + HEAD + b"person-1,,\n"), "lapsed_trials.export")

    assert read(tmp_path) == [b"person-1"]


def test_the_id_may_have_any_header_even_a_quoted_one(put, tmp_path):
    put('name,"User ID, external"\nAnna,person-1\n')

    assert read(tmp_path, column="User ID, external") == [b"person-1"]


def test_a_list_of_one_column_is_read(put, tmp_path):
    put("user_id\nperson-1\nperson-2\n")

    assert read(tmp_path) == [b"person-1", b"person-2"]


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"person-1,,\n",
        b'{"user_id": "person-1"}\n',
        b'\xef\xbb\xbf\n {"user_id": "person-1"}',
        # Without its time, which would name the test anew each second.
        gzip.compress(b'{"user_id": "person-1"}\n', mtime=0),
    ],
)
def test_a_shape_that_is_not_given_is_seen_from_the_first_bytes(put, tmp_path, content):
    put(content)

    assert read(tmp_path, shape=Shape.AUTO) == [b"person-1"]


# --- which files


def test_all_files_that_match_are_one_list_and_those_of_other_audiences_are_not(
    put, tmp_path
):
    put(FORMATTED + "person-1,,\n", "in/lapsed_trials-1.csv")
    put(gzip.compress(HEAD + b"person-2,,\n"), "in/lapsed_trials-2.csv.gz")
    put("email,user_id\nx@y.z,person-3\n", "in/lapsed_trials-3.csv")
    put(FORMATTED + "person-9,,\n", "in/other-1.csv")
    (tmp_path / "in" / "lapsed_trials-dir").mkdir()

    ids = read(tmp_path, "in/{audience}-*")

    assert ids == [b"person-1", b"person-2", b"person-3"]


def test_a_list_is_as_old_as_the_oldest_of_its_files_however_late_it_is_read(
    put, tmp_path
):
    listing = source(tmp_path).listing()
    nothing_there = listing.as_of()
    now = datetime.now(UTC)
    for name, age in (("lapsed_trials_1.csv", 60), ("lapsed_trials_2.csv", 7200)):
        written = now.timestamp() - age
        os.utime(put("user_id\n1\n", name), (written, written))

    oldest = listing.as_of()
    os.utime(tmp_path / "lapsed_trials_2.csv", (now.timestamp() + 3600,) * 2)
    os.utime(tmp_path / "lapsed_trials_1.csv", (now.timestamp() + 3600,) * 2)

    assert nothing_there is None
    assert oldest is not None
    assert abs(now - timedelta(hours=2) - oldest) < timedelta(minutes=1)
    assert listing.as_of() is None, "a time to come says nothing"


def test_wildcards_in_an_audience_key_match_only_themselves(put, tmp_path):
    put(FORMATTED + "person-1,,\n", "[a]*.csv")
    put(FORMATTED + "person-2,,\n", "ab.csv")

    assert read(tmp_path, "{audience}.csv", audience="[a]*") == [b"person-1"]


@pytest.mark.parametrize("audience", ["", ".", "..", "../secrets", "a/b"])
def test_an_audience_key_never_leads_to_another_directory(put, tmp_path, audience):
    put(FORMATTED)

    assert error_of(tmp_path, audience=audience).code == "source.file_name"


def test_no_matching_file_is_unavailable_not_an_empty_list(tmp_path):
    error = error_of(tmp_path)

    assert isinstance(error, SourceUnavailable)
    assert "no file matches" in str(error)


def test_a_file_that_cannot_be_read_is_unavailable(put, tmp_path):
    """Opening a process's own memory as root works, and reading its start does not."""
    (tmp_path / "lapsed_trials").symlink_to("/proc/self/mem")

    assert isinstance(error_of(tmp_path), SourceUnavailable)


# --- what is not believed


PACKED = gzip.compress(HEAD + b"person-1,a@b.c,true\n" * 2000)

UNTRUSTED = {
    "zero bytes": (b"", "is empty"),
    "only a byte order mark": (b"\xef\xbb\xbf", "is empty"),
    "gzip of nothing": (gzip.compress(b""), "is empty"),
    "gzip cut in the middle": (PACKED[: len(PACKED) // 2], "cut off or damaged"),
    "gzip without its check sum": (PACKED[:-8], "cut off or damaged"),
    "gzip head only": (PACKED[:12], "cut off or damaged"),
    "gzip with a flipped bit": (
        PACKED[:40] + bytes([PACKED[40] ^ 1]) + PACKED[41:],
        "cut off or damaged",
    ),
    "gzip and then something": (PACKED + b"junk", "cut off or damaged"),
    "latin-1": (HEAD + "zoë,,\n".encode("latin-1"), "not UTF-8 at line 2"),
    "latin-1 in quotes": (
        HEAD + b"a,,\n" + '"zoë",,\n'.encode("latin-1"),
        "not UTF-8 at line 3",
    ),
    "utf-16": ("user_id\nperson-1\n".encode("utf-16"), "not UTF-8"),
    "blank first line": (b"\nperson-1,,\n", "no header"),
    "header with an open quote": (b'user_id,"email\nx,y\n', "no CSV header"),
    "a short row": (HEAD + b"person-1,a@b.c\n", "2 fields in line 2, and 3"),
    "a long row": (HEAD + b"person-1,,\nperson-2,,,\n", "4 fields in line 3, and 3"),
    "cut off within a row": (HEAD + b"person-1,,\nperson-2,a@", "2 fields in line 3"),
    "cut off within quotes": (HEAD + b'person-1,"a@', "no CSV at line 2"),
    "text after a quote": (HEAD + b'person-1,"a"b,\n', "no CSV at line 2"),
    "a lone carriage return": (HEAD + b"person-1,a\rb,\n", "no CSV at line 2"),
    "a huge quoted field": (HEAD + b'x,"' + b"y" * 200_000 + b'",\n', "field limit"),
    "a line without end": (HEAD + b"x" * (6 << 20), "a line of more than"),
    "html": (b"<!doctype html>\n<p>Sign in</p>\n", "0 columns 'user_id'"),
}


@pytest.mark.parametrize(("content", "words"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_a_file_that_is_not_whole_and_well_formed_is_not_believed(
    put, tmp_path, content, words
):
    put(content)

    error = error_of(tmp_path)

    assert isinstance(error, SourceUntrusted)
    assert words in str(error)
    assert "person" not in str(error)


def test_a_truncated_second_file_spoils_the_whole_list(put, tmp_path):
    put(HEAD + b"person-1,,\n", "lapsed_trials-1.csv")
    put(PACKED[:-4], "lapsed_trials-2.csv.gz")

    assert error_of(tmp_path).code == "source.file_damaged"


def test_a_missing_column_is_refused_with_the_columns_there_are(put, tmp_path):
    put("userId,email\nperson-1,a@b.c\n")

    error = error_of(tmp_path)

    assert error.code == "source.unknown_column"
    assert "userId, email" in str(error)
    assert error.hint == "did you mean 'userId'?"


def test_a_first_line_that_is_somebody_s_row_is_not_repeated(put, tmp_path):
    put("person-1,anna@example.com,42\nperson-2,,\n")

    error = error_of(tmp_path)

    assert "its first line is no header" in str(error)
    assert "person-1" not in str(error) + error.hint
    assert "anna" not in str(error) + error.hint


def test_a_column_that_is_there_twice_is_refused(put, tmp_path):
    put("user_id,user_id\nperson-1,person-2\n")

    assert "has 2 columns 'user_id'" in str(error_of(tmp_path))


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"person-late,,\n")


def swap(path: Path) -> None:
    other = path.with_name("new")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"person-1,", b"person-9,"))


def add_another(path: Path) -> None:
    path.with_name("lapsed_trials-2.csv").write_bytes(HEAD)


def remove(path: Path) -> None:
    path.with_name("lapsed_trials-0.csv").unlink()


@pytest.mark.parametrize("change", [grow, swap, rewrite, add_another, remove])
def test_files_that_change_while_they_are_read_are_not_believed(put, tmp_path, change):
    put(HEAD, "lapsed_trials-0.csv")
    path = put(HEAD + b"person-1,a@b.c,true\n" * 200_000, "lapsed_trials-1.csv")
    blocks = source(tmp_path).blocks()
    next(block for block in blocks if block)

    change(path)

    with pytest.raises(SourceUntrusted, match="changed while they were read"):
        list(blocks)


# --- unformatted CSV


def unformatted(*ids: object) -> str:
    lines = ["user_key,ids,traits\n"]
    for number, value in enumerate(ids):
        quoted = json.dumps(value).replace('"', '""')
        lines.append(f'key-{number},"{quoted}","{{""plan"": ""free, too""}}"\n')
    return "".join(lines)


UNFORMATTED = {"shape": Shape.UNFORMATTED, "column": "ids"}


def test_unformatted_downloads_hold_the_ids_of_a_profile_as_json(put, tmp_path):
    put(
        unformatted(
            {"user_id": "person-1", "email": "a@b.c"},
            {"user_id": ["person-2", "person-2b", None]},
            [{"type": "user_id", "id": "person-3"}, {"type": "email", "id": "x"}],
            {"anonymous_id": "anon-1"},
            {"user_id": None},
            [],
            {"user_id": 7},
            {"user_id": "zoë"},
        )
        + "key-9,,\n"
    )

    ids = read(tmp_path, **UNFORMATTED)

    assert ids == [
        b"person-1",
        b"person-2",
        b"person-2b",
        b"person-3",
        *[b""] * 3,
        b"7",
        "zoë".encode(),
        b"",
    ]


def test_unformatted_downloads_can_match_on_another_id_type(put, tmp_path):
    put(unformatted({"user_id": "person-1", "amplitude_id": "356896327775"}))

    assert read(tmp_path, id_name="amplitude_id", **UNFORMATTED) == [b"356896327775"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("person-1", "instead of ids"),
        ([{"user_id": "person-1"}], "without `type` and `id`"),
        (["person-1"], "without `type` and `id`"),
        ({"user_id": 1.5}, "type float, which cannot hold an id"),
        ({"user_id": True}, "type bool, which cannot hold an id"),
        ({"user_id": {"id": "person-1"}}, "type dict, which cannot hold an id"),
        ({"userId": "person-1"}, "none of 1 rows has 'user_id'"),
    ],
)
def test_ids_in_an_unknown_shape_are_refused(put, tmp_path, value, words):
    put(unformatted(value))

    error = error_of(tmp_path, **UNFORMATTED)

    assert isinstance(error, SourceUntrusted)
    assert words in str(error)
    assert "person-1" not in str(error)


# --- JSON lines


JSON_LINES = {"shape": Shape.JSON_LINES, "id_name": "user.id"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_json_lines_hold_the_id_at_a_path(put, tmp_path, newline, end, pack):
    lines = [
        '{"user": {"id": "person-1", "plan": "a,b"}}',
        '{"user": {"id": "zo\\u00eb"}}',
        '{"user": {"id": 9223372036854775807}}',
        '{"user": {"id": null}}',
        '{"user": {}}',
        '{"user": null}',
        "{}",
    ]
    put(pack((newline.join(lines) + end).encode()))

    ids = read(tmp_path, **JSON_LINES)

    assert ids == [
        b"person-1",
        "zoë".encode(),
        b"9223372036854775807",
        *[b""] * 4,
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"user": {"id": "pers', "row 2, is no JSON"),
        ("person-2", "row 2, is no JSON"),
        ('{"user": {"id": "\\ud800"}}', "row 2, is no JSON"),
        ('["person-2"]', "row 2, has a value of type list where 'user' should be in"),
        ('{"user": "person-2"}', "of type str where 'id' should be in"),
        ('{"user": {"id": 12345678901234567890123}}', "of type float"),
        ('{"user": {"id": false}}', "of type bool"),
        ('{"user": {"id": ["person-2"]}}', "of type list"),
    ],
)
def test_a_line_that_is_not_what_was_agreed_is_refused(put, tmp_path, line, words):
    put(f'{{"user": {{"id": "person-1"}}}}\n{line}\n')

    error = error_of(tmp_path, **JSON_LINES)

    assert words in str(error)
    assert "person" not in str(error)


def test_a_path_that_is_in_no_row_is_wrong_rather_than_everybody_anonymous(
    put, tmp_path
):
    put('{"user_id": "person-1"}\n{"user_id": "person-2"}\n')

    assert "none of 2 rows has 'user.id'" in str(error_of(tmp_path, **JSON_LINES))


# --- size


@pytest.mark.parametrize("shape", ["plain", "quoted", "packed", "json"])
def test_a_million_rows_are_read_in_bounded_memory(put, tmp_path, shape):
    rows = {
        "plain": "person-%d,somebody@example.com,true\n",
        "quoted": '"person-%d","some, body@example.com",true\n',
        "packed": "person-%d,somebody@example.com,true\n",
        "json": '{"user_id":"person-%d","email":"somebody@example.com"}\n',
    }[shape]
    head = "" if shape == "json" else FORMATTED
    content = (head + "".join(rows % n for n in range(1_000_000))).encode()
    put(gzip.compress(content, 1) if shape == "packed" else content)
    program = """
        import sys, tracemalloc
        from syncd.sources.files import FileList, FilesSource, Shape

        shape = Shape.JSON_LINES if sys.argv[2] == "json" else Shape.FORMATTED
        files = FileList(pattern=sys.argv[1], audience="a", shape=shape)
        tracemalloc.start()
        blocks = FilesSource(files).blocks()
        total = sum(sum(map(len, block)) + len(block) for block in blocks)
        print(total, tracemalloc.get_traced_memory()[1] >> 20)
    """

    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(program),
            str(tmp_path / "lapsed_trials.csv"),
            shape,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    total, peak_mib = map(int, answer.split())
    assert total == sum(len(f"person-{n}") + 1 for n in range(1_000_000))
    assert peak_mib < 32


# --- identity


def test_the_fingerprint_says_what_is_read_and_nothing_that_a_read_does_not_depend_on():
    base = FileList(pattern="/in/{audience}.csv", audience="a")
    lines = replace(base, shape=Shape.JSON_LINES)
    different = [
        base,
        replace(base, pattern="/out/{audience}.csv"),
        replace(base, audience="b"),
        replace(base, column="id"),
        replace(base, shape=Shape.UNFORMATTED),
        replace(base, shape=Shape.UNFORMATTED, id_name="email"),
        lines,
        replace(lines, id_name="user.id"),
    ]

    prints = [FilesSource(files).fingerprint() for files in different]

    assert len(set(prints)) == len(prints)
    assert FilesSource(replace(base, id_name="x")).fingerprint() == prints[0]
    assert FilesSource(replace(lines, column="x")).fingerprint() == prints[6]
