"""`syncd explain`: the runbook's page of any code, event, guard, state or word."""

from collections.abc import Iterable

import click

from syncd import help as runbook
from syncd.cli.frame import Frame, verb
from syncd.cli.lines import sentence
from syncd.cli.output import WIDTH, Output
from syncd.help import Page
from syncd.report.explained import explained_document, pages_of


@verb("explain", reads=True)
@click.argument("code", required=False)
def explain(frame: Frame, code: str | None) -> None:
    """Say what CODE means and what to do; without CODE list all there are.

    CODE is what stands in a finding, a log line, a refusal or `status`:
    guard.max_exit, source.stale, held, too_old.
    """
    if code is None:
        _list(frame)
        return
    found = pages_of(code)
    if frame.as_json:
        frame.out.json("explain", explained_document(found))
        return
    show_all(frame.out, found)


def show_all(out: Output, found: Iterable[Page]) -> None:
    """The pages of one word, an empty line between two."""
    for number, page in enumerate(found):
        if number:
            out.line()
        _show(out, page)


def _show(out: Output, page: Page) -> None:
    """One page, as wide as a terminal at most."""
    out.line(f"{', '.join(page.codes)}", style="bold")
    sentence(out, page.title)
    for heading in runbook.HEADINGS:
        out.line()
        out.line(heading, style="bold")
        match getattr(page, heading.lower()):
            case str() as text:
                sentence(out, text, indent=2)
            case commands:
                for command in commands:
                    out.line(f"  $ {command}")


def _list(frame: Frame) -> None:
    pages = runbook.pages()
    if frame.as_json:
        frame.out.json("explain", explained_document(pages))
        return
    group = ""
    for page in pages:
        if page.group != group:
            frame.out.line(("\n" if group else "") + page.group, style="bold")
            group = page.group
        for line in _entry(page):
            frame.out.line(line)


def _entry(page: Page) -> Iterable[str]:
    """What the page is about, then its codes: many share a page."""
    yield f"  {page.title}"
    line = "    "
    for code in page.codes:
        if len(line) + len(code) + 1 > WIDTH:
            yield line.rstrip()
            line = "    "
        line += f"{code} "
    yield line.rstrip()
