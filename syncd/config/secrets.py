"""A secret as a reference: where it is, and how to read it now.

Settings carry references, so nothing that prints settings can print a secret, and a
rotated file counts at the next `read()` (the daemon reads again on a 401 or 403).
`syncd check` never calls `read()`. No message here holds a secret's text.

Who may read a secret's file: nobody but its owner (mode 0400 or 0600). Container
runtimes give their secrets modes such as 0444 in a private mount, so a file that
others may read is accepted where only a runtime puts files: below `/run/secrets`,
below systemd's `$CREDENTIALS_DIRECTORY`, or on a mount that is read-only
(Kubernetes). A file that others may *write* is refused everywhere.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from syncd.config.interpolate import BadReference, Lookup, fill, names
from syncd.errors import SyncdError

LARGEST = 64 * 1024
"""Bytes; a bigger file is not a secret but a mistake."""

RUNTIME_FOLDER = Path("/run/secrets")
CREDENTIALS = "CREDENTIALS_DIRECTORY"


class SecretUnavailable(SyncdError):
    """A secret is missing, empty, malformed or open to others."""

    code = "secret"


def _nothing(_: str) -> None:
    """An environment without variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """Where one secret is: exactly one of `file`, `env` and `template` is set."""

    key: str
    """The config key that names it, e.g. `connections.amplitude-main.api_key_file`."""
    origin: str = field(compare=False)
    """Where that key is written: `file:line:column`. The same secret wherever that is.
    """
    file: Path | None = None
    env: str = ""
    """Name of the variable that holds it."""
    template: str = ""
    """Or text around variables: `postgresql://syncd:${SYNCD_PASSWORD}@db/syncd`."""
    token: bool = False
    """True for keys that travel in a header: printable ASCII without spaces."""
    header: bool = False
    """True for the value of a header: printable ASCII, spaces inside it."""
    lookup: Lookup = field(default=_nothing, repr=False, compare=False)
    """Reads one variable. Not the variables: those would be printed with the value."""

    def read(self) -> str:
        """The secret as it is now, without one trailing newline.

        Raises `SecretUnavailable` when it is missing, empty, too big, not text, open
        to others or (`token`, `header`) nothing a header can hold.
        """
        text = self._from_environment() if self.file is None else self._from(self.file)
        if not text:
            raise self._refused("secret.empty", "is empty")
        if self.token and not _is_token(text):
            what = "has a space, a line end or a non-ASCII character in it"
            raise self._refused("secret.malformed", what)
        if self.header and not _is_header_value(text):
            what = "has a line end, a non-ASCII character or a space around it"
            raise self._refused("secret.malformed", what)
        return text

    def __str__(self) -> str:
        if self.file is not None:
            return str(self.file)
        variables = {self.env} if self.env else names(self.template)
        return " ".join(f"${name}" for name in sorted(variables))

    def _from_environment(self) -> str:
        try:
            filled = None if self.env else str(fill(self.template, self.lookup))
        except BadReference:
            filled = None
        text = self.lookup(self.env) if self.env else filled
        if text is None:
            raise self._refused("secret.missing", "is not set")
        return _without_newline(text)

    def _from(self, file: Path) -> str:
        try:
            # One descriptor, so that what is checked is what is read.
            # Not blocking, since a pipe that nobody fills would hang the daemon.
            with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
                mode = os.fstat(stream.fileno()).st_mode
                refusal = mode_refusal(mode, in_mount=self._in_runtime_mount(file))
                content = b"" if refusal else stream.read(LARGEST + 1)
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise self._refused("secret.missing", what) from None
        if refusal:
            raise self._refused("secret.open", refusal, hint=f"chmod 600 {file}")
        if len(content) > LARGEST:
            raise self._refused("secret.malformed", f"is over {LARGEST} bytes long")
        try:
            return _without_newline(content.decode())
        except UnicodeDecodeError:
            raise self._refused("secret.malformed", "is not UTF-8 text") from None

    def _in_runtime_mount(self, file: Path) -> bool:
        folders = [RUNTIME_FOLDER]
        if credentials := self.lookup(CREDENTIALS):
            folders.append(Path(credentials))
        if any(file.is_relative_to(folder) for folder in folders):
            return True
        return bool(os.statvfs(file).f_flag & os.ST_RDONLY)

    def _refused(self, code: str, what: str, *, hint: str = "") -> SecretUnavailable:
        message = f"secret {self} ({self.key}, {self.origin}) {what}"
        return SecretUnavailable(message, code=code, hint=hint)


def mode_refusal(mode: int, *, in_mount: bool) -> str:
    """Why a secret's file with this mode is not read; empty when it may be."""
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"may be written by others (mode {stat.S_IMODE(mode):04o})"
    if mode & (stat.S_IRGRP | stat.S_IROTH) and not in_mount:
        return f"may be read by others (mode {stat.S_IMODE(mode):04o})"
    return ""


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_header_value(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip()


def _without_newline(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")
