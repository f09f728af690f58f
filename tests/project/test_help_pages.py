"""The runbook and the code agree, both ways: what can be met has a page, every page is
about something that can be met, and every command on a page exists.

Codes are read from the syntax of the code, so that one which no test reaches counts.
"""

import ast
import re
import string
import typing
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain, takewhile
from pathlib import Path

import click
import pytest

from syncd import events
from syncd import help as runbook
from syncd.cli.frame import Frame
from syncd.cli.main import VERBS
from syncd.clients import http
from syncd.events import ERROR_TYPES, Event, Level
from syncd.help import Page
from syncd.metrics import SKIP_REASONS
from syncd.model import Outcome
from syncd.report.states import State
from syncd.sources.amplitude_download import gate
from syncd.sources.amplitude_push.words import LeftOut
from syncd.sources.engage_inbox.event import Result
from syncd.sync.guard import Guard
from syncd.sync.ids import Doubt, Reason
from syncd.web import refusals, turned_away

PRODUCT = Path(__file__).parents[2] / "syncd"
CODE = re.compile(r"[a-z][a-z_]*(\.[a-z][a-z0-9_]*)*")
DOTTED = re.compile(r"[a-z][a-z_]*(\.[a-z][a-z0-9_]*)+")

NO_CODES = frozenset(
    "error.type service.name service.version server.address api.request_id "
    "http.request http.response.body http.response.start fuse.sshfs "
    "syncd.cli syncd.help source.unknown_".split()
)
"""Dotted words that are something else: fields, messages of ASGI, modules, a stem."""
A_FILE = (".db", ".log", ".json", ".yaml", ".md", ".txt", ".csv", ".sock")

OURS = frozenset("config guard baseline store lease_lost cancelled internal".split())
"""Values of `error.type` that no vendor's answer has."""
COMPUTED = frozenset(
    chain(
        (f"delivery.{kind}" for kind in ERROR_TYPES - OURS),
        (f"source.{kind}" for kind in ERROR_TYPES - OURS),
        (f"error.{kind}" for kind in OURS),
        (f"transport.{kind}" for kind in typing.get_args(http.Kind)),
        (f"source.{kind}" for kind in ("unknown_table", "unknown_column")),
        (f"source.{gate.State[name]}" for name in ("REFUSED", "NEVER_COMPUTED")),
        (f"http.{reason}" for reason in turned_away._MESSAGES),  # noqa: SLF001
    )
)
"""Codes that are put together: each place that does so has its line here."""


def words() -> Iterator[str]:
    """The closed lists of the product, under the family that `syncd explain` lists."""
    yield from (f"state.{state.name.lower()}" for state in State)
    yield from (f"outcome.{outcome}" for outcome in Outcome)
    yield from (f"skipped.{reason}" for reason in SKIP_REASONS)
    yield from (guard.value for guard in Guard)
    results = {*Result, *LeftOut, *refusals.NO_LOSS}
    yield from (f"result.{result}" for result in results)
    yield from (f"rejected.{reason}" for reason in (*Reason, *Doubt))
    yield "usage"  # of click, in `cli.failure`
    yield from ("library.logged", "log.failed")  # of `log`


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PRODUCT.rglob("*.py")):
        inside = path.relative_to(PRODUCT).parts[0]
        if inside not in {"simulator", "events"}:
            yield path, ast.parse(path.read_text())


@cache
def codes() -> dict[str, str]:
    """Each code in the product, and one place where it is."""
    found: dict[str, str] = {}
    for path, tree in trees():
        for node in ast.walk(tree):
            for code in coded(node):
                line = getattr(node, "lineno", 0)
                found.setdefault(code, f"{path.relative_to(PRODUCT)}:{line}")
    return found


def coded(node: ast.AST) -> Iterator[str]:
    """The codes that a node gives or is."""
    match node:
        case ast.Call(func=ast.Name(id="InvalidJson"), args=[reason, *_]):
            yield from (f"json.{each}" for each in texts(reason))
        case ast.keyword(arg="code", value=value):
            yield from filter(CODE.fullmatch, texts(value))
        case ast.Assign(targets=[ast.Name(id="code")], value=value):
            yield from texts(value)
        case ast.Constant(value=str(text)) if is_dotted_code(text):
            yield text
        case _:
            pass


def is_dotted_code(text: str) -> bool:
    if text in NO_CODES or text.endswith(A_FILE):
        return False
    return DOTTED.fullmatch(text) is not None


def texts(expression: ast.expr) -> list[str]:
    match expression:
        case ast.Constant(value=str(text)):
            return [text] if text else []
        case ast.IfExp(body=body, orelse=orelse):
            return [*texts(body), *texts(orelse)]
        case _:
            return []


def columns() -> set[str]:
    """Names such as `batch.id`, by which SQLAlchemy names a foreign key."""
    names = re.compile(r'ForeignKey(?:Constraint)?\(\s*\[?[^)]*?"(\w+\.\w+)"')
    found = (names.findall(path.read_text()) for path in PRODUCT.rglob("*.py"))
    return set(chain.from_iterable(found))


def loud_events() -> dict[str, str]:
    """Events that are or may become a warning or an error, by name."""
    entries = [entry for entry in vars(events).values() if isinstance(entry, Event)]
    loud = {e.name for e in entries if e.level in {Level.WARNING, Level.ERROR}}
    by_constant = {e.name.replace(".", "_").upper(): e.name for e in entries}
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("emit"):
                if any(keyword.arg == "level" for keyword in node.keywords):
                    name = ast.unparse(node.args[0]).removeprefix("events.")
                    loud.add(by_constant[name])
    return dict.fromkeys(loud, "events")


@cache
def met() -> dict[str, str]:
    """Everything a person may meet, and where it comes from."""
    found = {code: place for code, place in codes().items() if code not in columns()}
    return {
        **found,
        **dict.fromkeys(COMPUTED, "computed"),
        **dict.fromkeys(words(), "a closed list"),
        **loud_events(),
    }


PAGES = runbook.pages()
NAMES = [page.codes[0] for page in PAGES]


@pytest.mark.parametrize("code", sorted(met()))
def test_whatever_people_meet_has_a_page(code: str) -> None:
    assert runbook.find(code), (
        f"{code} ({met()[code]}) needs a page in syncd/help/pages"
    )


def test_every_page_is_about_something_that_can_be_met() -> None:
    everything = met()
    settled = {f"reason.{code}" for code in everything} | {"reason.process_died"}
    listed = {code for page in PAGES for code in page.codes}

    assert listed - everything.keys() - settled == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_is_short_and_says_what_and_what_to_do(page: Page) -> None:
    lines = f"{page.meaning} {page.impact} {page.mitigation}"

    assert page.title.endswith(".")
    assert len(page.title) <= 100
    assert 40 <= len(lines) <= 900
    assert 1 <= len(page.diagnosis) <= 4


@cache
def command_of(name: str) -> click.Command:
    module, _, attribute = VERBS[name].target.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


OTHER_COMMANDS = {"ls", "df", "date"}


def shown_commands() -> Iterator[tuple[str, str]]:
    """(page, command) for each command in a page, in its text as well."""
    for page in PAGES:
        prose = f"{page.meaning} {page.impact} {page.mitigation}"
        inline = re.findall(r"`(syncd [^`]*)`", prose)
        yield from ((page.codes[0], line) for line in (*page.diagnosis, *inline))


def arguments_of(line: str) -> list[str]:
    return [*takewhile(lambda word: word != "#", line.split())]


COMMANDS = sorted({line for _, line in shown_commands()})


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_a_page_exists(line: str) -> None:
    program, *words_ = arguments_of(line)
    if program != "syncd":
        assert program in OTHER_COMMANDS
        return
    if words_ == ["--help"]:
        return
    verb, *rest = words_

    command = command_of(verb)
    context = click.Context(
        command, info_name=verb, obj=Frame(read_environ=dict[str, str])
    )
    with context:
        # Raises for an unknown flag, a missing argument, a word that is no choice.
        command.parse_args(context, rest)


@pytest.mark.parametrize("line", [line for line in COMMANDS if "explain " in line])
def test_a_page_leads_on_to_pages_that_exist(line: str) -> None:
    word = arguments_of(line)[-1]

    assert word in {"CODE", "REASON", "WORD"} or runbook.find(word)


def test_what_settles_a_run_is_explained_under_its_bare_word() -> None:
    for reason in (*ERROR_TYPES, *SKIP_REASONS, *Outcome, "retries", "max_runtime"):
        assert runbook.find(reason), reason


def test_a_bare_word_finds_all_that_it_is() -> None:
    found = {code for page in runbook.find("HELD") for code in page.codes}

    assert {"state.held", "outcome.held", "skipped.held"} <= found
    assert runbook.find("on time")[0].codes == ("state.on_time",)
    assert runbook.find("catch_up: skip")[0].codes == ("skipped.catch_up",)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("lease", "lease.lost"),
        ("replicas", "lease.lost"),
        ("worker", "jobs.unattended"),
        ("cluster", "cluster.needs_postgres"),
    ],
)
def test_a_word_that_is_no_code_leads_to_the_pages_about_it(
    word: str, code: str
) -> None:
    assert code in {each for page in runbook.find(word) for each in page.codes}


def test_the_nearest_three_are_named_for_a_word_without_a_page() -> None:
    assert runbook.nearest("guard.max_exits")[0] == "guard.max_exit"
    assert len(runbook.nearest("guard.max_exits")) == 3
    assert len(runbook.nearest("?")) == 3


@pytest.mark.parametrize(
    "text",
    [
        "## a.b\nTitle.\n\nMeaning: x\nImpact: y\nDiagnosis:\n  z\nMitigation: w",
        "# G\n## a.b\nMeaning: x\nImpact: y\nDiagnosis:\n  z\nMitigation: w",
        "# G\n## a.b\nTitle.\nImpact: y\nDiagnosis:\n  z\nMitigation: w",
        "# G\n## a.b\nTitle.\nMeaning: x\nImpact: y\nDiagnosis:\nMitigation: w",
    ],
    ids=["no group", "no title", "a heading is missing", "nothing below a heading"],
)
def test_a_page_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(runbook.Malformed):
        list(runbook.parse(text))


def test_the_code_that_a_line_names_is_one_of_its_fields() -> None:
    for entry in vars(events).values():
        if isinstance(entry, Event):
            named = {field for _, field, _, _ in string.Formatter().parse(entry.about)}
            assert named - {None} <= entry.fields | events.CONTEXT, entry.name
