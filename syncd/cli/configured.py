"""The configuration as a verb gets it."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import click

from syncd import config
from syncd.cli.frame import Frame
from syncd.config.settings import Loaded, Settings, SyncSettings


def load(frame: Frame, paths: Sequence[Path] | None = None) -> Loaded:
    """The valid configuration of this call, from `paths` or where it is by default.

    Raises `ConfigError` with every finding.
    """
    places = frame.config_paths() if paths is None else paths
    return config.load(places, frame.environ, stdin=sys.stdin)


def chosen(settings: Settings, names: Sequence[str]) -> list[SyncSettings]:
    """The syncs that the names or globs mean, in the order of the files; all if none.

    Raises `click.UsageError` for a name that means no sync.
    """
    known = [sync.name for sync in settings.syncs]
    for name in names:
        if not any(fnmatchcase(one, name) for one in known):
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"No sync '{name}' in the configuration.{hint}")
    return [
        sync
        for sync in settings.syncs
        if not names or any(fnmatchcase(sync.name, name) for name in names)
    ]
