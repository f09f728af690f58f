"""The runbook's pages of a word, and their JSON."""

from collections.abc import Iterable
from typing import Any

from syncd import help as runbook
from syncd.errors import SyncdError
from syncd.help import Page


class NoPage(SyncdError):
    """Nothing is known about this word."""

    code = "explain.unknown"


def pages_of(code: str) -> tuple[Page, ...]:
    """The pages of a word. Raises `NoPage`, which names the nearest three."""
    found = runbook.find(code)
    if not found:
        near = runbook.nearest(code)
        raise NoPage(
            f"there is no page about '{code}'; the nearest are {', '.join(near)}",
            hint=f"syncd explain {near[0]}",
        )
    return found


def explained_document(found: Iterable[Page]) -> dict[str, Any]:
    """What `explain --json` says."""
    return {"pages": [_page_document(page) for page in found]}


def _page_document(page: Page) -> dict[str, Any]:
    return {
        "codes": list(page.codes),
        "group": page.group,
        "title": page.title,
        "meaning": page.meaning,
        "impact": page.impact,
        "diagnosis": list(page.diagnosis),
        "mitigation": page.mitigation,
    }
