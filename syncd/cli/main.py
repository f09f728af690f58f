"""The command `syncd`: finds the verb, loads only its module, ends with the right code.

To add a verb, add one line to `VERBS` and a module whose function is made with
`syncd.cli.frame.verb`. Nothing here may load sqlalchemy, httpx, starlette or pydantic:
the help and the shell's completion must come at once.
"""

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import click

from syncd import __version__
from syncd.cli import failure
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, common_flags
from syncd.errors import SyncdError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """Where a verb is, and how the help names it."""

    target: str
    """`module:name` of its click command."""
    section: str
    summary: str


START, DAILY, ON_CALL, OPERATE = "Start here", "Every day", "On call", "Operate"
SECTIONS = (START, DAILY, ON_CALL, OPERATE)

VERBS = {
    "demo": Verb(
        target="syncd.cli.demo:demo",
        section=START,
        summary="try everything with fake APIs, no credentials",
    ),
    "init": Verb(
        target="syncd.cli.files:init",
        section=START,
        summary="write a commented config/syncd.yaml",
    ),
    "check": Verb(
        target="syncd.cli.check:check",
        section=START,
        summary="validate config files (no network)",
    ),
    "doctor": Verb(
        target="syncd.cli.doctor:doctor",
        section=START,
        summary="test credentials, store, quota, clock",
    ),
    "plan": Verb(
        target="syncd.cli.plan:plan",
        section=DAILY,
        summary="show who would enter and exit; send nothing",
    ),
    "run": Verb(
        target="syncd.cli.run:run",
        section=DAILY,
        summary="run syncs now",
    ),
    "verify": Verb(
        target="syncd.cli.verify:verify",
        section=OPERATE,
        summary="read cohorts back and name each difference",
    ),
    "pause": Verb(
        target="syncd.cli.pausing:pause",
        section=ON_CALL,
        summary="stop syncs for a while, with a reason",
    ),
    "resume": Verb(
        target="syncd.cli.pausing:resume",
        section=ON_CALL,
        summary="end a pause; one run catches up",
    ),
    "approve": Verb(
        target="syncd.cli.decide:approve",
        section=ON_CALL,
        summary="send exactly the plan that a guard holds",
    ),
    "reject": Verb(
        target="syncd.cli.decide:reject",
        section=ON_CALL,
        summary="drop a held plan and keep the baseline",
    ),
    "resync": Verb(
        target="syncd.cli.resync:resync",
        section=ON_CALL,
        summary="begin anew: adopt what is there, or push everybody",
    ),
    "detach": Verb(
        target="syncd.cli.detach:detach",
        section=OPERATE,
        summary="let a sync's target go; empty it first on request",
    ),
    "serve": Verb(
        target="syncd.cli.serve:serve",
        section=OPERATE,
        summary="the daemon: runs every sync when it is due",
    ),
    "worker": Verb(
        target="syncd.cli.worker:worker",
        section=OPERATE,
        summary="run what daemons defer; for several machines",
    ),
    "simulate": Verb(
        target="syncd.cli.simulate:simulate",
        section=START,
        summary="serve the fake vendors alone",
    ),
    "status": Verb(
        target="syncd.cli.status:status",
        section=DAILY,
        summary="state, freshness and next run of each sync",
    ),
    "runs": Verb(
        target="syncd.cli.runs:runs",
        section=DAILY,
        summary="history, newest first",
    ),
    "show": Verb(
        target="syncd.cli.show:show",
        section=DAILY,
        summary="one run in detail, and a held plan's choices",
    ),
    "user": Verb(
        target="syncd.cli.person_page:user",
        section=ON_CALL,
        summary="where a person stands in every sync (id on stdin)",
    ),
    "why": Verb(
        target="syncd.cli.person_page:why",
        section=ON_CALL,
        summary="why a person is, or is not, in a cohort: one time line",
    ),
    "forget": Verb(
        target="syncd.cli.forget:forget",
        section=OPERATE,
        summary="people leave every cohort and every table (ids on stdin)",
    ),
    "members": Verb(
        target="syncd.cli.members:members",
        section=OPERATE,
        summary="the ids of a sync's members, or of those not taken",
    ),
    "cohorts": Verb(
        target="syncd.cli.cohorts:cohorts",
        section=DAILY,
        summary="Amplitude's cohorts, and what a download would mean",
    ),
    "quota": Verb(
        target="syncd.cli.quota:quota",
        section=DAILY,
        summary="downloads used this month, forecast, by sync",
    ),
    "healthcheck": Verb(
        target="syncd.cli.healthcheck:healthcheck",
        section=OPERATE,
        summary="exit 0 if the daemon lives and the store answers",
    ),
    "outbox": Verb(
        target="syncd.cli.outbox:outbox",
        section=ON_CALL,
        summary="batches that wait or are dead; retry or drop them",
    ),
    "notify": Verb(
        target="syncd.cli.notify:notify",
        section=OPERATE,
        summary="what people are told of now; try a channel with a test",
    ),
    "explain": Verb(
        target="syncd.cli.explain:explain",
        section=ON_CALL,
        summary="what a code, an event or a state means, and what to do",
    ),
    "logs": Verb(
        target="syncd.cli.logs:logs",
        section=ON_CALL,
        summary="make JSON log lines readable: … | syncd logs -",
    ),
    "schedule": Verb(
        target="syncd.cli.files:schedule",
        section=OPERATE,
        summary="normal form and next times of each sync",
    ),
    "config": Verb(
        target="syncd.cli.config:config",
        section=OPERATE,
        summary="config show: each value, and where it comes from",
    ),
    "schema": Verb(
        target="syncd.cli.schema:schema",
        section=OPERATE,
        summary="JSON Schema of the config files, for editors",
    ),
    "reload": Verb(
        target="syncd.cli.reload:reload",
        section=OPERATE,
        summary="check the files and have the daemon use them",
    ),
    "db": Verb(
        target="syncd.cli.database:db",
        section=OPERATE,
        summary="backup, migrate or copy: a move to another store",
    ),
    "completion": Verb(
        target="syncd.cli.completion:completion",
        section=OPERATE,
        summary="what makes TAB complete words in bash, zsh or fish",
    ),
    "help": Verb(
        target="syncd.cli.topics:help_",
        section=OPERATE,
        summary="this page, a verb's, a code's, or exit-codes",
    ),
}


class Verbs(click.Group):
    """A group that imports a verb's module only when that verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].target.partition(":")
        command: click.Command = getattr(_loaded(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.NoSuchCommand(args[0], possibilities=VERBS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(overview())


def _loaded(module: str) -> ModuleType:
    """A verb's module; what loading it makes stays, so nobody looks for garbage there.

    A twentieth of a command's start is spared by that.
    """
    if module in sys.modules:
        return sys.modules[module]
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def overview() -> str:
    """The first page: what it is, the verbs by occasion, where to read on."""
    lines = ["syncd: keep Twilio Engage audiences and Amplitude cohorts in step", ""]
    for section in SECTIONS:
        title = section
        for name, entry in VERBS.items():
            if entry.section == section:
                lines.append(f"{title:<18}{name:<13}{entry.summary}")
                title = ""
    lines += [
        "",
        "Flags everywhere  -c/--config PATH (repeatable), -q, -v, --no-input, -y/--yes",
        "                  and --color auto|always|never; --json on reading commands",
        "Exit codes        syncd help exit-codes         One verb: syncd VERB --help",
        "Any word you meet syncd explain WORD            e.g. syncd explain held",
        "",
    ]
    return "\n".join(lines)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="syncd", message="%(prog)s %(version)s")
@common_flags
def syncd() -> None:
    """Keep Twilio Engage audiences and Amplitude cohorts in step."""


def run(args: Sequence[str], read_environ: Callable[[], Mapping[str, str]]) -> int:
    """Carry one command out and return its exit code; never raises, but for signals."""
    root = Frame(read_environ=read_environ, as_json="--json" in args)
    context: click.Context | None = None
    try:
        context = syncd.make_context("syncd", [*args] or ["--help"], obj=root)
        with context:
            result: Any = syncd.invoke(context)
        sys.stdout.flush()
        return int(result or ExitCode.OK)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        terminated = type(stop).__name__ == "Terminated"
        return int(ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _let_go_of_stdout()
        return int(ExitCode.READER_GONE)
    except click.ClickException as error:
        return int(failure.report_usage(error, _frame(context, root)))
    except SyncdError as error:
        return int(failure.report(error, _frame(context, root)))
    except Exception as error:  # noqa: BLE001 - the outermost frame
        return int(failure.report_bug(error, _frame(context, root)))


def _frame(context: click.Context | None, root: Frame) -> Frame:
    return context.obj if context and isinstance(context.obj, Frame) else root


def _let_go_of_stdout() -> None:
    """Keep the interpreter from complaining when it flushes to nobody at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
