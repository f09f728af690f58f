"""Where the things are that a config names: files, secrets, database URLs.

A relative path is relative to the file it is written in (to the working folder where
it comes from the environment or standard input); names of `…_file` keys are looked
up in `secrets_dir`.
"""

import os
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from pathlib import Path

from syncd.config.findings import Path as KeyPath
from syncd.config.findings import node_at, value_place
from syncd.config.interpolate import EnvText, Lookup
from syncd.config.reader import Mapping, Scalar
from syncd.config.schema_connections import SecretShape
from syncd.config.secrets import CREDENTIALS, RUNTIME_FOLDER, SecretRef
from syncd.config.settings_connections import PresentedSecret
from syncd.config.values import holds_password


@dataclass(frozen=True, slots=True)
class Locator:
    """Finds what the values of one tree stand for."""

    root: Mapping
    lookup: Lookup
    secrets_dir: Path

    def path(self, key: KeyPath, value: str) -> Path:
        """An absolute path for a value written at `key`."""
        return Path(beside(self.root, key, value))

    def secret(
        self,
        owner: KeyPath,
        name: str,
        shape: object,
        *,
        token: bool = False,
        header: bool = False,
    ) -> SecretRef | None:
        """The secret that `name_file` or `name_env` of a map refers to, if any.

        The keys are `file` and `env` where the map is of one secret (`name` is empty).
        """
        file_key, env_key = (f"{name}_{end}".lstrip("_") for end in ("file", "env"))
        file, env = getattr(shape, file_key, None), getattr(shape, env_key, None)
        if file is None and env is None:
            return None
        key = (*owner, env_key if file is None else file_key)
        return SecretRef(
            key=".".join(map(str, key)),
            origin=str(value_place(self.root, key)),
            file=None if file is None else self.secrets_dir / file,
            env=env or "",
            token=token,
            header=header,
            lookup=self.lookup,
        )

    def presented(
        self,
        owner: KeyPath,
        name: str,
        shape: object,
        *,
        until: str = "",
        token: bool = False,
        header: bool = False,
    ) -> PresentedSecret | None:
        """A secret of a sender with the `previous_` one that it replaces, if any.

        `until` is the key of its end where that is not `previous_<name>_until`.
        """
        old = f"previous_{name}".rstrip("_")
        secret = self.secret(owner, name, shape, token=token, header=header)
        if secret is None:
            return None
        return PresentedSecret(
            secret=secret,
            previous=self.secret(owner, old, shape, token=token, header=header),
            previous_until=getattr(shape, until or f"{old}_until"),
        )

    def headers(
        self, owner: KeyPath, shapes: MappingOf[str, SecretShape]
    ) -> dict[str, SecretRef]:
        """Header → where its value is; each shape names exactly one place."""
        found = {
            name: self.secret((*owner, name), "", shape, header=True)
            for name, shape in shapes.items()
        }
        return {name: secret for name, secret in found.items() if secret is not None}

    def url(self, owner: KeyPath, url: str | None, shape: object) -> str | SecretRef:
        """A database URL; as a secret where it comes from one or holds one."""
        key = (*owner, "url")
        if url is None:
            secret = self.secret(owner, "url", shape)
            return "" if secret is None else secret
        node = node_at(self.root, key)
        if not isinstance(node, Scalar) or not isinstance(node.value, EnvText):
            return url
        if not holds_password(url):
            return url
        return SecretRef(
            key=".".join(map(str, key)),
            origin=str(node.place),
            template=node.text,
            lookup=self.lookup,
        )


def beside(root: Mapping, key: KeyPath, value: str) -> str:
    """`value` as an absolute path, seen from the file in which `key` is written."""
    # A variable and standard input are in no folder: that is the working folder.
    folder = os.path.dirname(value_place(root, key).file)
    return os.path.abspath(os.path.join(folder, value))


def secrets_folder(root: Mapping, value: str | None, lookup: Lookup) -> Path:
    """`secrets_dir`, else systemd's credentials folder, else `/run/secrets`."""
    if value is not None:
        return Path(beside(root, ("secrets_dir",), value))
    return Path(lookup(CREDENTIALS) or RUNTIME_FOLDER)
