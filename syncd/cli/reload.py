"""`syncd reload`: the daemon uses the files as they are now, and says what changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from syncd.cli.configured import load
from syncd.cli.engine import asking_daemon, me
from syncd.cli.frame import Frame, verb
from syncd.config.loader import InvalidConfig
from syncd.errors import DaemonError, Problem
from syncd.store.location import is_sqlite

CHANGES = {
    "added": "new",
    "removed": "gone",
    "changed": "changed",
    "connections": "changed connections",
}
"""Key of the daemon's answer → how it is shown."""


@verb("reload", reads=True)
def reload(frame: Frame) -> None:
    """Check the files, have the daemon use them, and show what changed.

    With a mistake in the files nothing is changed and the exit code is 78. Runs in
    progress finish with what they began with.
    """
    loaded = load(frame)
    url = loaded.settings.store.read_url()
    with asking_daemon(frame, url) as ask:
        if ask is None:
            raise _nobody(on_sqlite=is_sqlite(url))
        done = ask("reload", me())
    if problems := done.get("problems"):
        # It reads with its own variables and folder: what it says may differ from us.
        raise InvalidConfig([Problem(**each) for each in problems], loaded.sources)
    if frame.as_json:
        frame.out.json("reload", done)
    else:
        _show(frame, done)


def _nobody(*, on_sqlite: bool) -> DaemonError:
    if on_sqlite:
        message = "no daemon works on this store; it reads the files when it starts"
        return DaemonError(message, code="daemon.missing", hint="syncd serve")
    return DaemonError(
        "the files are right; daemons on Postgres have no control socket and read "
        "them again on SIGHUP, each for itself",
        code="daemon.no_socket",
        hint="send SIGHUP to each daemon and worker: kill -HUP PID, or docker compose "
        "kill -s SIGHUP syncd worker",
    )


def _show(frame: Frame, done: Mapping[str, Any]) -> None:
    for file in done["files"]:
        frame.out.line(f"{file:<30} ok")
    before, now = done["config_hash_before"], done["config_hash"]
    if before == now:
        frame.out.line(f"nothing changed: the daemon goes on with {now}")
        return
    frame.out.line(f"the daemon uses {now}, before it {before}")
    shown = [(word, done[key]) for key, word in CHANGES.items() if done[key]]
    for word, names in shown or [("changed", ["other settings, no sync"])]:
        frame.out.line(_listed(word, names))


def _listed(word: str, names: Sequence[str]) -> str:
    return f"  {word}: {', '.join(names)}"
