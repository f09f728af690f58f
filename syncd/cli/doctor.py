"""`syncd doctor`: will it work here? One line for each thing, worst cause in the exit.

Free calls only: it may be run as often as one likes, also beside a daemon.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import click

from syncd.app.doctor import LONGEST, examine
from syncd.app.doctor.findings import Blame, Finding, Verdict
from syncd.cli.configured import load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.lines import sentence
from syncd.cli.output import Output, harmless
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Settings
from syncd.errors import SyncdError
from syncd.report.words import number, plural

_STYLES = {Verdict.OK: "", Verdict.WARN: "bold yellow", Verdict.FAIL: "bold red"}
_HANGING = 22
"""Columns before the words."""


@verb("doctor", reads=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1, max=600),
    default=LONGEST,
    show_default=True,
    metavar="SECONDS",
    help="For everything together.",
)
def doctor(frame: Frame, timeout: float) -> ExitCode:
    """Test credentials, store, quota, clock and doors by free calls.

    Ends with 78 when a secret or the configuration is at fault, with 77 when
    credentials are refused, with 1 when anything else fails; warnings end with 0.
    """
    loaded = load(frame)
    clock = _on_the_stores_clock(frame, loaded.settings).clock
    started = clock.monotonic()
    found = examine(loaded, clock, timeout)
    elapsed = clock.monotonic() - started
    if frame.as_json:
        frame.out.json("doctor", _document(found, elapsed))
    else:
        _print(frame.out, found, elapsed)
    return exit_code(found)


def exit_code(found: Iterable[Finding]) -> ExitCode:
    """What is to be mended first: the files, then the credentials, then the rest."""
    blames = {each.blame for each in found if each.verdict is Verdict.FAIL}
    if Blame.CONFIG in blames:
        return ExitCode.CONFIG
    if Blame.CREDENTIALS in blames:
        return ExitCode.CREDENTIALS
    return ExitCode.FAILED if blames else ExitCode.OK


def _on_the_stores_clock(frame: Frame, settings: Settings) -> Frame:
    """That of a daemon on a fast clock; a store that cannot be read has none."""
    with ExitStack() as stack:
        try:
            database = stack.enter_context(opened(settings))
            return on_its_clock(frame, stack.enter_context(database.read()))
        except SyncdError:
            return frame


def _print(out: Output, found: Sequence[Finding], elapsed: float) -> None:
    before = ""
    for each in found:
        subject = "" if each.subject == before else harmless(each.subject)
        before = each.subject
        if len(subject) > 15:
            out.line(subject)
            subject = ""
        line = f"{subject:<15} {each.verdict:<5} {harmless(each.detail)}"
        out.line(line, style=_STYLES[each.verdict])
        if each.next:
            sentence(out, f"next: {each.next}", indent=_HANGING)
    counts = Counter(each.verdict for each in found)
    out.line()
    out.line(
        f"{number(counts[Verdict.OK])} ok, {plural(counts[Verdict.WARN], 'warning')}, "
        f"{number(counts[Verdict.FAIL])} failed in {elapsed:.1f} s.  "
        "No quota was spent."
    )


def _document(found: Sequence[Finding], elapsed: float) -> dict[str, Any]:
    counts = Counter(each.verdict for each in found)
    return {
        "ok": counts[Verdict.OK],
        "warnings": counts[Verdict.WARN],
        "failed": counts[Verdict.FAIL],
        "seconds": round(elapsed, 3),
        "findings": [
            {
                "subject": each.subject,
                "verdict": each.verdict,
                "detail": each.detail,
                "next": each.next or None,
                "blame": each.blame if each.verdict is Verdict.FAIL else None,
            }
            for each in found
        ],
    }
