"""The runbook: a page for every code, event, guard, state and word that people meet.

`syncd explain` prints it and the web page serves the same text, so that it is there at
3 a.m. in a container without internet. The pages are written in `pages/*.md`, one file
per family, in a form that is read as it stands:

    # Guards                                   the group of all pages of the file
    ## guard.max_exit, guard.max_enter         the codes that this page is about
    One line: what it is.

    Meaning: …                                 text, over as many lines as it takes
    Impact: …
    Diagnosis:
        syncd show RUN                         commands, four blanks before each
    Mitigation: …

A state, an outcome and other bare words stand under a family (`state.held`,
`outcome.held`); asked for by the bare word, every page of it is shown.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
"""Of each page, in this order; those of the runbooks of prometheus-operator."""

_NEAREST = 3
_ALSO = {
    "lease": ("lease.lost",),
    "replica": ("lease.lost", "run.abandoned"),
    "worker": ("jobs.unattended", "job.given_back", "cluster.embedded"),
    "cluster": ("cluster.embedded", "cluster.needs_postgres", "jobs.unattended"),
}
"""Words of `status` and the configuration that are no code, and what is about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What to know and to do about some codes that mean the same."""

    codes: tuple[str, ...]
    """Dotted, as logs, findings and refusals carry them; the first is the title's."""
    group: str
    """The title of its file: `Guards`."""
    title: str
    """One line: what it is."""
    meaning: str
    impact: str
    diagnosis: tuple[str, ...]
    """Commands to copy, in the order to try them; words in capitals are to fill in."""
    mitigation: str


class Malformed(ValueError):
    """A page of the package is not written in the form above."""


@cache
def pages() -> tuple[Page, ...]:
    """Every page, in the order of the files and of the pages in them."""
    folder = files("syncd.help") / "pages"
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    texts = [each.read_text("utf-8") for each in found if each.name.endswith(".md")]
    return tuple(page for text in texts for page in parse(text))


def find(word: str) -> tuple[Page, ...]:
    """The pages about a word; empty where there is none.

    A whole code first; else what ends with it after a dot: `held` is a state, an
    outcome and why a run was skipped. `workers` are no code, and have pages as well.
    """
    wanted = _spelled(word)
    known = _by_code()
    if wanted in known:
        return (known[wanted],)
    ending = f".{wanted}"
    ends = [page for code, page in known.items() if code.endswith(ending)]
    also = [known[code] for code in _ALSO.get(wanted.removesuffix("s"), ())]
    return tuple(dict.fromkeys([*ends, *also]))


def nearest(word: str) -> list[str]:
    """The codes that look most like a word that has no page, three at most."""
    wanted = _spelled(word)
    codes = list(_by_code())
    last = {code.rpartition(".")[2]: code for code in codes}
    close = get_close_matches(wanted, [*codes, *last], n=2 * _NEAREST, cutoff=0.5)
    found = [last.get(each, each) for each in close]
    return list(dict.fromkeys(found or codes))[:_NEAREST]


def parse(text: str) -> Iterator[Page]:
    """The pages of one file. Raises `Malformed` with the code of the page."""
    head, *parts = f"\n{text}".split("\n## ")
    group = head.strip().removeprefix("#").strip()
    if not group:
        raise Malformed("a file begins with '# ' and its title")
    for part in parts:
        codes, _, body = part.partition("\n")
        yield _page(group, [code.strip() for code in codes.split(",")], body)


def _page(group: str, codes: Iterable[str], body: str) -> Page:
    title, *sections = _sections(body)
    found = dict(sections)
    names = tuple(name for name, _ in sections)
    named = tuple(codes)
    if names != HEADINGS or not all(found.values()) or not title[1]:
        raise Malformed(f"{named[0]}: a page has a title, then {', '.join(HEADINGS)}")
    return Page(
        codes=named,
        group=group,
        title=_flowing(title[1]),
        meaning=_flowing(found["Meaning"]),
        impact=_flowing(found["Impact"]),
        diagnosis=tuple(line.strip() for line in found["Diagnosis"]),
        mitigation=_flowing(found["Mitigation"]),
    )


def _sections(body: str) -> list[tuple[str, list[str]]]:
    """(heading, lines) in the order written; the first, without a name, is the title.

    Empty lines only separate.
    """
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in filter(None, map(str.rstrip, body.splitlines())):
        name, colon, rest = line.partition(":")
        if colon and name in HEADINGS:
            found.append((name, [rest.strip()] if rest.strip() else []))
        else:
            found[-1][1].append(line)
    return found


def _flowing(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _spelled(word: str) -> str:
    """As codes are written: `on time` and `ON-TIME` are `on_time`.

    What follows a colon says more than the code does: `catch_up: skip`.
    """
    code = word.partition(":")[0]
    return code.strip().lower().replace(" ", "_").replace("-", "_")


@cache
def _by_code() -> Mapping[str, Page]:
    found: dict[str, Page] = {}
    for page in pages():
        for code in page.codes:
            if code in found:
                raise Malformed(f"{code} has two pages")
            found[code] = page
    return found
