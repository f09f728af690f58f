"""`syncd db copy`: an installation moves into another store, without a resync."""

from collections.abc import Sequence
from pathlib import Path

import click

from syncd.app.moving import Wish, move
from syncd.cli.configured import load
from syncd.cli.engine import me
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column
from syncd.config.secrets import SecretRef
from syncd.errors import StoreRefused
from syncd.report.words import number, plural
from syncd.store.copying import Copied
from syncd.store.location import holds_password, is_sqlite, place

URL = "sqlite:////PATH or postgresql://USER@HOST/DATABASE, without a password."
COLUMNS = (
    Column(title="TABLE"),
    Column(title="ROWS", right=True),
    Column(title="DIGEST, BOTH SIDES"),
)


@verb("copy", reads=True)
@click.option("--from", "source", metavar="URL", help=f"{URL} Default: store.url.")
@click.option(
    "--from-file", metavar="FILE", type=Path, help="A file with that URL, as url_file."
)
@click.option("--to", "target", metavar="URL", help=URL)
@click.option(
    "--to-file", metavar="FILE", type=Path, help="A file with that URL, as url_file."
)
@click.option(
    "--keep", is_flag=True, help="Leave the old store able to work: for a try."
)
def copy(
    frame: Frame,
    source: str | None,
    from_file: Path | None,
    target: str | None,
    to_file: Path | None,
    keep: bool,
) -> None:
    """Move the installation into another store: SQLite or Postgres, either way.

    While no daemon works on it. Everything goes along, is read back and compared, so
    that the next run sends what it would have sent from the old store. That one is
    retired: syncd refuses it from then on, and names the new place. An interrupted copy
    is refused as well; the same command begins it again.
    """
    given = _given("--from", source, from_file)
    there = _given("--to", target, to_file)
    if there is None:
        raise click.UsageError("--to or --to-file: where shall it go?")
    here = given or load(frame).settings.store.read_url()
    wish = Wish(source=here, target=there, keep=keep, actor=me()["actor"])
    copied = move(wish, frame.clock)
    if frame.as_json:
        frame.out.json("copy", _document(wish, copied))
    else:
        _show(frame, wish, copied, there_file=to_file)


def _given(flag: str, url: str | None, file: Path | None) -> str | None:
    """The URL of one side; None where nothing is said. Raises `SecretUnavailable`."""
    if url is not None and file is not None:
        raise click.UsageError(f"either {flag} or {flag}-file")
    if file is not None:
        key = f"{flag}-file"
        url = SecretRef(key=key, origin="the command", file=file).read()
    if url is not None:
        _require_store(flag, url)
    if url is not None and file is None and holds_password(url):
        # Everybody on the machine sees it there, and the shell remembers it.
        raise click.UsageError(
            f"no password in {flag}: put the URL into a file, "
            f"{flag}-file; or leave it to ~/.pgpass"
        )
    return url


def _require_store(flag: str, url: str) -> None:
    try:
        is_sqlite(url)
    except StoreRefused:
        raise click.UsageError(f"{flag} is no URL of a store: {URL}") from None


def _document(wish: Wish, copied: Sequence[Copied]) -> dict[str, object]:
    return {
        "from": place(wish.source),
        "to": place(wish.target),
        "retired": not wish.keep,
        "rows": sum(each.rows for each in copied),
        "tables": [
            {
                "table": each.table,
                "rows": each.rows,
                "left": each.left,
                "digest": each.digest,
            }
            for each in copied
        ],
    }


def _show(
    frame: Frame, wish: Wish, copied: Sequence[Copied], there_file: Path | None
) -> None:
    rows = [
        (each.table, number(each.rows), each.digest) for each in copied if each.rows
    ]
    frame.out.table(COLUMNS, rows)
    total = number(sum(each.rows for each in copied))
    empty = plural(len(copied) - len(rows), "empty table")
    frame.out.line(f"{total} rows, the same on both sides; {empty}")
    old = place(wish.source)
    if wish.keep:
        frame.out.error(
            f"warning: {old} still works. Never let a daemon run on both: each would "
            "remove the people that the other one added"
        )
        return
    frame.out.message(f"{old} is retired: syncd refuses it from now on")
    key = setting(wish.target, there_file)
    frame.out.message(f"Next: {key}, then: syncd serve{frame.config_flags()}")


def setting(target: str, file: Path | None) -> str:
    """The line of the configuration that names the new store. Pure but for the path.

    What was typed as a URL has no password; what a file holds may have one.
    """
    if file is not None:
        return f"store.url_file: {file.absolute()}"
    return f"store.url: {place(target) if is_sqlite(target) else target}"
