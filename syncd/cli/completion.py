"""`syncd completion`: what the shell offers behind TAB.

The script of each shell asks `syncd completion words` for what may come next. That is
quick and silent: no network, nothing is written, and a broken configuration only means
fewer offers.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import click

from syncd.cli.frame import Frame, verb
from syncd.errors import SyncdError

SCRIPTS = {
    "bash": """\
_syncd() {
    local IFS=$'\\n'
    COMPREPLY=($(syncd completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _syncd syncd
""",
    "zsh": """\
#compdef syncd
_syncd() {
    local -a found
    found=("${(@f)$(syncd completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _syncd syncd
""",
    "fish": """\
function __syncd_words
    set -l typed (commandline -opc)
    set -l begun (commandline -ct | string collect -a)
    syncd completion words -- $typed[2..] $begun 2>/dev/null
end
complete -c syncd -a '(__syncd_words)'
""",
}
RECENT = 20
"""Runs whose ids are offered."""
SHORT_ID = 8
"""The last characters of a run's id, which are enough for every command."""


@verb("completion")
@click.argument("shell", type=click.Choice([*SCRIPTS, "words"]))
@click.argument("words", metavar="", nargs=-1, type=click.UNPROCESSED)
def completion(frame: Frame, shell: str, words: tuple[str, ...]) -> None:
    """Print what makes the TAB key of a shell complete syncd's words.

    bash: source <(syncd completion bash). zsh: the same, after compinit. fish: syncd
    completion fish | source. (`words` is what the scripts ask.)
    """
    if shell in SCRIPTS:
        frame.out.stdout.write(SCRIPTS[shell])
        return
    *before, begun = words or ("",)
    for word in sorted(set(offers(frame, before, begun))):
        frame.out.line(word)


def offers(frame: Frame, before: Sequence[str], begun: str) -> Iterator[str]:
    """The words that may stand after `before` and begin with `begun`."""
    command = _command(before)
    for word in _next(frame, command, before, begun):
        if word.startswith(begun):
            yield word


def _next(
    frame: Frame, command: click.Command, before: Sequence[str], begun: str
) -> Iterator[str]:
    last = before[-1] if before else ""
    options = [each for each in command.params if isinstance(each, click.Option)]
    asking = next((each for each in options if last in each.opts), None)
    if asking is not None and not asking.is_flag and not asking.count:
        yield from _values(asking)
    elif begun.startswith("-"):
        yield from (opt for each in options for opt in each.opts if opt[:2] == "--")
    elif isinstance(command, click.Group):
        yield from command.list_commands(click.Context(command))
    else:
        yield from _arguments(frame, command, before)


def _values(parameter: click.Parameter) -> Iterator[str]:
    if isinstance(parameter.type, click.Choice):
        yield from map(str, parameter.type.choices)


def _arguments(
    frame: Frame, command: click.Command, before: Sequence[str]
) -> Iterator[str]:
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    for each in arguments:
        yield from _values(each)
    metavars = " ".join(each.metavar or (each.name or "").upper() for each in arguments)
    with suppress(SyncdError):
        if "SYNC" in metavars:
            yield from _syncs(_as_typed(frame, before))
        if "RUN" in metavars:
            yield from _runs(_as_typed(frame, before))


def _command(before: Sequence[str]) -> click.Command:
    """The verb, or the part of it, that the words have led to."""
    # Not at the top: the verbs' table is what leads here.
    from syncd.cli.main import syncd

    command: click.Command = syncd
    for word in before:
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word) or command
    return command


def _as_typed(frame: Frame, before: Sequence[str]) -> Frame:
    """The call with the `-c` flags that are typed so far."""
    flags = ("-c", "--config")
    named = [word for flag, word in pairwise(before) if flag in flags and word]
    return replace(frame, config=tuple(named)) if named else frame


def _syncs(frame: Frame) -> Iterator[str]:
    from syncd.cli.configured import load

    yield from (sync.name for sync in load(frame).settings.syncs)


def _runs(frame: Frame) -> Iterator[str]:
    from syncd.cli.configured import load
    from syncd.cli.store import opened
    from syncd.store import runs

    with opened(load(frame).settings) as database, database.read() as connection:
        newest = runs.latest(connection, limit=RECENT)
    yield from (each.id[-SHORT_ID:] for each in newest)
