"""The file of a SQLite store: made for its owner alone, and on a disk of this host."""

import os
import re
from pathlib import Path

from syncd.errors import StoreRefused, StoreUnavailable

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs"}
)
MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")
"""How it writes blanks and backslashes."""


def create_file(path: Path, mounts: Path = MOUNTS) -> None:
    """Create an empty database file only its owner can read; keep one that is there.

    Raises `StoreRefused` on a network file system, before anything is written: WAL
    needs the shared memory of one host, and its locks do not hold there.
    """
    kind = file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreRefused(
            f"{path} is on a network file system ({kind}); SQLite would corrupt it",
            hint="use a local disk, or store.url: postgresql://…",
        )
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"cannot create the store file {path}: {error.strerror}",
            hint="set store.url to a folder the daemon may write to",
        ) from None


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system `path` lies on; empty where it cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    resolved = path.resolve()
    best, kind = "", ""
    for line in lines:
        _, point, fs_type, *_ = line.split(" ")
        folder = _OCTAL.sub(lambda found: chr(int(found[1], 8)), point)
        if resolved.is_relative_to(folder) and len(folder) >= len(best):
            best, kind = folder, fs_type
    return kind
