"""What all verbs share: the flags that exist everywhere, and the parts behind them.

A verb is a function `(frame, …) -> ExitCode | None` under `@verb(...)`. The common
flags may stand before or after the verb; the later one wins.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from shlex import quote
from typing import Any

import click

from syncd.cli.exit_codes import ExitCode
from syncd.cli.output import ColorChoice, Output
from syncd.clock import Clock
from syncd.errors import ConfigError, Problem

DEFAULT_FILES = ("config/syncd.yaml", "/etc/syncd/syncd.yaml")
"""Where the configuration is looked for when nobody says where."""

CONFIG_VARIABLE = "SYNCD_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The common flags of one call, and what they decide."""

    read_environ: Callable[[], Mapping[str, str]]
    """Called only where a variable is needed: it loads the settings' package."""
    clock: Clock = field(default_factory=Clock)
    config: tuple[str, ...] = ()
    as_json: bool = False
    verbosity: int = 0
    color: ColorChoice = "auto"
    no_input: bool = False
    yes: bool = False

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables of this call."""
        return self.read_environ()

    @property
    def out(self) -> Output:
        """Where to write."""
        return Output(
            color=self.color, read_environ=self.read_environ, verbosity=self.verbosity
        )

    def config_paths(self) -> list[Path]:
        """The files to load: `-c`, else $SYNCD_CONFIG, else the default places.

        Raises `ConfigError` when nobody says where and nothing is there.
        """
        if self.config:
            return [Path(name) for name in self.config]
        # Not at the top: most commands that name their files need not load it.
        from syncd.config.process import Process

        if named := Process().config:
            return list(named)
        for name in DEFAULT_FILES:
            if Path(name).is_file():
                return [Path(name)]
        raise _nothing_found()

    def config_flags(self) -> str:
        """The `-c` flags of this call, to go on with in a command that is shown."""
        return "".join(f" -c {quote(name)}" for name in self.config)

    def may_ask(self) -> bool:
        """Whether a person is there to answer a question."""
        return not self.no_input and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str) -> bool:
        """Ask on stderr, unless `--yes` answers; False where nobody can answer."""
        if self.yes:
            return True
        return self.may_ask() and click.confirm(question, err=True)


def _nothing_found() -> ConfigError:
    places = " nor ".join(DEFAULT_FILES)
    problem = Problem(
        file=DEFAULT_FILES[0],
        line=1,
        column=1,
        code="file.missing",
        message=f"no configuration: -c and ${CONFIG_VARIABLE} are not given, and "
        f"there is neither {places}",
        hint="syncd init writes one",
    )
    return ConfigError([problem])


Function = Callable[..., ExitCode | None]


def verb(name: str, *, reads: bool = False) -> Callable[[Function], click.Command]:
    """Make a function the verb `name`; `reads` gives it `--json`."""

    def decorate(function: Function) -> click.Command:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> ExitCode | None:
            return function(
                click.get_current_context().find_root().obj, *args, **kwargs
            )

        command: click.Command = click.command(name)(common_flags(call))
        if reads:
            command.params.append(_json_flag())
        return command

    return decorate


def common_flags(function: Function) -> Function:
    """The flags that every verb has; they end up in the frame, not in arguments."""
    for flag in reversed(_flags()):
        function = flag(function)
    return function


def _flags() -> list[Callable[[Function], Function]]:
    places = "$SYNCD_CONFIG, else " + ", else ".join(DEFAULT_FILES)
    return [
        _flag(
            *("-c", "--config"),
            metavar="PATH",
            multiple=True,
            help=f"Configuration file or folder; repeatable. Default: {places}.",
        ),
        _flag("-q", "--quiet", is_flag=True, help="Only data and errors."),
        _flag("-v", "--verbose", count=True, help="More details; a trace for a bug."),
        _flag(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            help="Beats NO_COLOR, FORCE_COLOR and TERM.",
        ),
        _flag("--no-input", is_flag=True, help="Never ask anything."),
        _flag("-y", "--yes", is_flag=True, help="Answer questions with yes."),
    ]


def _flag(*names: str, **settings: Any) -> Callable[[Function], Function]:
    return click.option(*names, expose_value=False, callback=_remember, **settings)


def _json_flag() -> click.Option:
    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="One JSON document instead of text.",
    )


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Put a flag that was given into the frame of this call."""
    if not value:
        return value
    root = ctx.find_root()
    frame: Frame = root.obj
    match param.name:
        case "quiet":
            root.obj = replace(frame, verbosity=-1)
        case "verbose":
            root.obj = replace(frame, verbosity=value)
        case "json":
            root.obj = replace(frame, as_json=True)
        case str(name):
            root.obj = replace(frame, **{name: value})
    return value
