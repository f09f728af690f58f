"""`syncd verify`: does the destination hold what it has acknowledged? Person by person.

Reading a cohort back costs a download, so it is said first what that would cost, beside
what the free list says already. Differences are named; with `--repair` those that can
be proven are mended, once a person has seen them and said yes (`cli/repair`).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from syncd.app.repairing import require_nothing_waits
from syncd.app.vendors import Vendors
from syncd.app.verifying import MOST_IDS, NotReadable, listed, readable_binding
from syncd.cli import repair as mending
from syncd.cli.configured import chosen, load
from syncd.cli.engine import Ask, asking, me
from syncd.cli.exit_codes import ExitCode, for_error
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column, Output
from syncd.cli.plan_files import NotAgreed
from syncd.cli.repair import Result
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Settings, SyncSettings
from syncd.errors import SourceUnavailable, SyncdError
from syncd.report.documents import json_line
from syncd.report.words import number, plural
from syncd.store import acknowledged
from syncd.store.database import Database
from syncd.sync.differences import DRIFT_LIMIT

COLUMNS = (
    Column(title="SYNC"),
    Column(title="ACKNOWLEDGED", right=True, drop=1),
    Column(title="THERE", right=True, drop=2),
    Column(title="MISSING", right=True),
    Column(title="GHOSTS", right=True),
    Column(title="OURS", right=True, drop=5),
    Column(title="UNMATCHED", right=True, drop=3),
    Column(title="IN FLIGHT", right=True, drop=4),
    Column(title="DRIFT", right=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    """One download that a comparison may cost, and what is known without it."""

    sync: str
    connection: str
    acknowledged: int
    size: int | None
    """As the free list says; None where it does not."""


@verb("verify", reads=True)
@click.argument("syncs", nargs=-1, metavar="[SYNC]...")
@click.option(
    "--max-downloads",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Spend up to N cohort downloads without asking.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Write the ids that differ, {MOST_IDS:,} a sync at most, to a new FILE that "
    "only you may read.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Then add again who is missing, and remove whom syncd itself left there.",
)
@click.option("--reason", help="Why it is repaired; kept in the audit trail.")
def verify(
    frame: Frame,
    syncs: tuple[str, ...],
    max_downloads: int,
    output: Path | None,
    repair: bool,
    reason: str | None,
) -> ExitCode:
    """Read cohorts that syncd writes back, and name each difference by its cause.

    Costs a download for each cohort, the reserve excepted; the price is said first.
    Ends with 6 when more than 1 % of the people differ. Changes nothing, unless
    --repair is given and you agree to what was found: then a run sends exactly that,
    under the sync's guards. Whom others put there is never touched.
    """
    if reason is not None and not repair:
        raise click.UsageError("--reason is kept with a repair: it goes with --repair.")
    loaded = load(frame)
    wanted = [each for each in chosen(loaded.settings, syncs) if each.enabled]
    prices, results = _prices(frame, loaded.settings, wanted, repair=repair)
    _agree(frame, loaded.settings, prices, max_downloads)
    ended: dict[str, Result] = {}
    with asking(frame, loaded) if prices else nullcontext() as ask:
        if ask is not None:
            results |= _read_back(frame.out, ask, prices, output)
        found = [(each.name, results[each.name]) for each in wanted]
        if not frame.as_json:
            _print(frame.out, found)
        if ask is not None and repair:
            ended = mending.repaired(frame, ask, results, reason)
    if frame.as_json:
        documents = [_document(*each, ended if repair else None) for each in found]
        frame.out.json("verify", {"limit": DRIFT_LIMIT, "syncs": documents})
    return _exit_code(found, ended, named=bool(syncs))


# ---- what it would cost -------------------------------------------------------------


def _prices(
    frame: Frame,
    settings: Settings,
    wanted: Sequence[SyncSettings],
    *,
    repair: bool,
) -> tuple[list[_Price], dict[str, Result]]:
    """What can be read back, and for the others why not."""
    prices: list[_Price] = []
    refused: dict[str, Result] = {}
    with opened(settings) as database:
        with database.read() as connection:
            clock = on_its_clock(frame, connection).clock
        with closing(Vendors(settings, clock)) as vendors:
            for sync in wanted:
                try:
                    if repair:
                        _require_repairable(database, sync, clock.now())
                    prices.append(_price(database, settings, vendors, sync, frame))
                except SyncdError as error:
                    refused[sync.name] = error
    return prices, refused


def _price(
    database: Database,
    settings: Settings,
    vendors: Vendors,
    sync: SyncSettings,
    frame: Frame,
) -> _Price:
    binding = readable_binding(database, settings, sync)
    cohort = listed(vendors, binding)
    with database.read() as connection:
        count = acknowledged.count(connection, binding, frame.clock.now())
    return _Price(
        sync=sync.name,
        connection=binding.connection,
        acknowledged=count,
        size=cohort.size,
    )


def _require_repairable(database: Database, sync: SyncSettings, now: datetime) -> None:
    """What would send nothing is told before anything is spent."""
    with database.read() as connection:
        require_nothing_waits(connection, sync.name, now)


def _agree(
    frame: Frame, settings: Settings, prices: Sequence[_Price], agreed: int
) -> None:
    """Raise `NotAgreed` unless a flag or a person agrees to the downloads."""
    for price in prices:
        size = number(price.size) if price.size is not None else "nothing about it"
        frame.out.message(
            f"{price.sync}: {number(price.acknowledged)} acknowledged, "
            f"the free list says {size}"
        )
    if len(prices) <= agreed:
        return
    words = f"download {plural(len(prices), 'Amplitude cohort')}"
    left = f"{_left(frame, settings, prices[0].connection)}"
    if not agreed and frame.confirm(f"This will {words} ({left}). Continue?"):
        return
    hint = f"syncd verify --max-downloads {len(prices)}{frame.config_flags()}"
    raise NotAgreed(f"This would {words} ({left}).", code="verify.costs", hint=hint)


def _left(frame: Frame, settings: Settings, connection: str) -> str:
    with closing(Vendors(settings, frame.clock)) as vendors:
        try:
            usage = vendors.downloads(connection).usage()
        except SyncdError:
            usage = None
    if usage is None:
        return "how many are left this month is not known"
    return f"{number(max(usage.limit - usage.used, 0))} are left this month"


# ---- asking -------------------------------------------------------------------------


def _read_back(
    out: Output, ask: Ask, prices: Sequence[_Price], output: Path | None
) -> dict[str, Result]:
    """Spend what was agreed to; by sync what was found, and its ids in a file."""
    file = _new_file(output) if output is not None else None
    results = {
        price.sync: _ask(ask, price.sync, with_ids=file is not None) for price in prices
    }
    if output is not None and file is not None:
        _write(out, output, file, results)
    return results


def _ask(ask: Ask, sync: str, *, with_ids: bool) -> Result:
    try:
        answer = ask(
            "verify", {"sync": sync, **me(), **({"ids": "yes"} if with_ids else {})}
        )
    except SyncdError as error:
        return error
    if answer["state"] == "postponed":
        return SourceUnavailable(answer["message"], code="source.quota")
    return answer


def _new_file(path: Path) -> int:
    """Made before anything is spent, for its owner alone; one that is there stays."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SyncdError(
            f"{path} is already there and was left as it is",
            code="verify.output",
            hint="name another file",
        ) from None
    except OSError as error:
        raise SyncdError(
            f"cannot write {path}: {error.strerror}", code="verify.output"
        ) from None


def _write(
    out: Output, path: Path, descriptor: int, results: Mapping[str, Result]
) -> None:
    """One JSON object a line: sync, cause, id."""
    written = total = 0
    with open(descriptor, "w", encoding="utf-8") as file:
        for sync, result in results.items():
            if isinstance(result, SyncdError):
                continue
            total += result["missing"] + result["ghosts"]
            for each in result["ids"]:
                file.write(json_line({"sync": sync, **each}) + "\n")
                written += 1
    cut = "" if written == total else f" of {number(total)}"
    out.message(f"wrote {number(written)}{cut} ids to {path}")


# ---- telling ------------------------------------------------------------------------


def _print(out: Output, found: Sequence[tuple[str, Result]]) -> None:
    rows = [
        _row(name, each) for name, each in found if not isinstance(each, SyncdError)
    ]
    if rows:
        out.table(COLUMNS, rows)
    for name, result in found:
        for line in _notes(name, result):
            out.line(line)


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    counts = "acknowledged there missing ghosts ghosts_ours unmatched in_flight".split()
    return (
        name,
        *(number(found[count]) for count in counts),
        f"{found['drift_ratio']:.2%}",
    )


def _notes(name: str, result: Result) -> Iterator[str]:
    if isinstance(result, SyncdError):
        yield f"{name}: not verified: {result}"
        if result.hint:
            yield f"  next: {result.hint}"
        return
    for count, what in _CAUSES.items():
        if result[count]:
            yield f"  {name}: {plural(result[count], 'id')} {what}"


_CAUSES = {
    "missing": "acknowledged and not there: taken out by others, or lost",
    "ghosts_ours": "there and not acknowledged: left by syncd, a repair removes them",
    "ghosts_returned": "there again though syncd removed them: a request that landed "
    "late, or put in by others since",
    "ghosts_others": "there and not acknowledged: put in by others as far as is known",
    "in_flight": "without a proven answer yet, not judged",
}


def _document(
    name: str, result: Result, ended: Mapping[str, Result] | None
) -> dict[str, Any]:
    """Without ids: those go to a file only."""
    if isinstance(result, SyncdError):
        error = {"code": result.code, "message": str(result), "hint": result.hint}
        return {"sync": name, "error": error}
    shown = {k: v for k, v in result.items() if k not in ("ids", "evidence")}
    if ended is not None:
        shown["repair"] = mending.document(ended.get(name))
    return {"sync": name, **shown}


def _exit_code(
    found: Sequence[tuple[str, Result]], ended: Mapping[str, Result], *, named: bool
) -> ExitCode:
    """Who asks for all gets those that can be read; who names one is told it cannot."""
    for _, each in found:
        if isinstance(each, NotReadable) and not named:
            continue
        if isinstance(each, SyncdError):
            return for_error(each)
    for repaired in ended.values():
        if code := mending.code_of(repaired):
            return code
    high = any(
        each["drift_ratio_repaired" if name in ended else "drift_ratio"] > DRIFT_LIMIT
        for name, each in found
        if isinstance(each, Mapping)
    )
    return ExitCode.CONDITION_MET if high else ExitCode.OK
