"""A disk so small that a test can fill it to the page, and free it again.

A file system of its own in memory, where one may be mounted (root, as in CI). Where
not, a limit on the size of every file of this process does: a write beyond it fails as
on a full disk. Anybody gets the real one with `unshare -rm python -m pytest ...`.
"""

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
SIZE = 4 << 20


@dataclass(frozen=True)
class Disk:
    """A folder whose room a test decides about."""

    folder: Path
    is_real: bool
    """A file system of its own; otherwise a limit on each file's size."""

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    @property
    def kind(self) -> str:
        """In words, for the report of a run."""
        return "a file system in memory" if self.is_real else "a limit on file sizes"

    def fill(self, leave: int = 0) -> None:
        """Let so many pages of 4 KiB be left, and no more."""
        if self.is_real:
            self._fill(leave)
        else:
            largest = max(each.stat().st_size for each in self.folder.iterdir())
            _limit(largest + leave * PAGE)

    def free(self) -> None:
        """Have room again."""
        if self.is_real:
            self._ballast.unlink(missing_ok=True)
        else:
            _limit(resource.RLIM_INFINITY)

    @property
    def pages_left(self) -> int:
        """How many pages may still be written; only known of a real one."""
        return os.statvfs(self.folder).f_bavail

    def _fill(self, leave: int) -> None:
        self._ballast.unlink(missing_ok=True)
        spare = self.pages_left - leave
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            if spare > 0:
                os.posix_fallocate(descriptor, 0, spare * PAGE)
        finally:
            os.close(descriptor)


def _limit(size: int) -> None:
    """Python ignores the signal: who writes beyond gets an error."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def small_disk(size: int = SIZE) -> Iterator[Disk]:
    """An empty one, gone at the end with all that is on it."""
    with tempfile.TemporaryDirectory(prefix="syncd-disk-") as name:
        folder = Path(name)
        mounted = _mount(folder, size)
        disk = Disk(folder, mounted)
        try:
            yield disk
        finally:
            disk.free()
            if mounted:
                subprocess.run(["umount", "--lazy", name], check=True)


def _mount(folder: Path, size: int) -> bool:
    options = f"size={size},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "syncd-test", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
