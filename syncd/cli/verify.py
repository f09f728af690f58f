"""`syncd verify`: does the destination hold what it has acknowledged? Person by person.

Reading a cohort back costs a download, so it is said first what that would cost, beside
what the free list says already. Nothing is changed: differences are named, not mended.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from syncd.app.vendors import Vendors
from syncd.app.verifying import NotReadable, readable_binding
from syncd.cli.configured import chosen, load
from syncd.cli.engine import Ask, asking, me
from syncd.cli.exit_codes import ExitCode, for_error
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column, Output
from syncd.cli.plan_files import NotAgreed
from syncd.cli.store import on_its_clock, opened
from syncd.clients.amplitude_answers import Cohort
from syncd.config.settings import Settings, SyncSettings
from syncd.errors import SourceUnavailable, SyncdError
from syncd.report.documents import json_line
from syncd.report.words import number, plural
from syncd.store import acknowledged
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.sync.differences import DRIFT_LIMIT

COLUMNS = (
    Column(title="SYNC"),
    Column(title="ACKNOWLEDGED", right=True, drop=1),
    Column(title="THERE", right=True, drop=2),
    Column(title="MISSING", right=True),
    Column(title="GHOSTS", right=True),
    Column(title="UNMATCHED", right=True, drop=3),
    Column(title="IN FLIGHT", right=True, drop=4),
    Column(title="DRIFT", right=True),
)

Result = Mapping[str, Any] | SyncdError
"""What was found, or why nothing could be."""


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
    help="Write the ids that differ to a new FILE that only you may read.",
)
def verify(
    frame: Frame, syncs: tuple[str, ...], max_downloads: int, output: Path | None
) -> ExitCode:
    """Read cohorts that syncd writes back, and name each difference by its cause.

    Costs a download for each cohort, the reserve excepted; the price is said first.
    Ends with 6 when more than 1 % of the people differ. Changes nothing.
    """
    loaded = load(frame)
    wanted = [each for each in chosen(loaded.settings, syncs) if each.enabled]
    prices, results = _prices(frame, loaded.settings, wanted)
    _agree(frame, loaded.settings, prices, max_downloads)
    if prices:
        file = _new_file(output) if output is not None else None
        with asking(frame, loaded) as ask:
            for price in prices:
                results[price.sync] = _ask(ask, price.sync, with_ids=file is not None)
        if output is not None and file is not None:
            _write(frame.out, output, file, results)
    found = [(each.name, results[each.name]) for each in wanted]
    if frame.as_json:
        documents = [_document(*each) for each in found]
        frame.out.json("verify", {"limit": DRIFT_LIMIT, "syncs": documents})
    else:
        _print(frame.out, found)
    return _exit_code([result for _, result in found], named=bool(syncs))


# ---- what it would cost -------------------------------------------------------------


def _prices(
    frame: Frame, settings: Settings, wanted: Sequence[SyncSettings]
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
    listed = _listed(vendors, binding)
    with database.read() as connection:
        count = acknowledged.count(connection, binding, frame.clock.now())
    return _Price(
        sync=sync.name,
        connection=binding.connection,
        acknowledged=count,
        size=listed.size,
    )


def _listed(vendors: Vendors, binding: Binding) -> Cohort:
    for each in vendors.downloads(binding.connection).cohorts():
        if each.id == binding.external_id:
            return each
    raise SourceUnavailable(
        f"{binding.connection} lists no cohort {binding.external_id} any more",
        code="source.not_found",
        hint=f"syncd show, for the last run of {binding.sync}",
    )


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
    counts = ("acknowledged", "there", "missing", "ghosts", "unmatched", "in_flight")
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
    if result["missing"]:
        count = plural(result["missing"], "id")
        what = "acknowledged and not there: taken out by others, or lost"
        yield f"  {name}: {count} {what}"
    if result["ghosts"]:
        count = plural(result["ghosts"], "id")
        yield f"  {name}: {count} there and not acknowledged: put in by others, or left"
    if result["in_flight"]:
        count = plural(result["in_flight"], "id")
        yield f"  {name}: {count} without a proven answer yet, not judged"


def _document(name: str, result: Result) -> dict[str, Any]:
    """Without ids: those go to a file only."""
    if isinstance(result, SyncdError):
        error = {"code": result.code, "message": str(result), "hint": result.hint}
        return {"sync": name, "error": error}
    return {"sync": name, **{k: v for k, v in result.items() if k != "ids"}}


def _exit_code(results: Sequence[Result], *, named: bool) -> ExitCode:
    """Who asks for all gets those that can be read; who names one is told it cannot."""
    for each in results:
        if isinstance(each, NotReadable) and not named:
            continue
        if isinstance(each, SyncdError):
            return for_error(each)
    drifts = [each["drift_ratio"] for each in results if isinstance(each, Mapping)]
    high = any(drift > DRIFT_LIMIT for drift in drifts)
    return ExitCode.CONDITION_MET if high else ExitCode.OK
