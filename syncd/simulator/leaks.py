"""The credential-leak detector: secrets that reach an origin they are not for (R13).

What was leaked is named and never kept.
"""

import base64
from collections.abc import Iterable
from typing import Any

from syncd.simulator.world import World


class Leaks:
    """Every request that carried credentials to the wrong place."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def look(
        self,
        world: World,
        *,
        origin: str,
        at: str,
        path: str,
        sent: Iterable[tuple[str, str]],
    ) -> bool:
        """Note the leaks among names and values of a request; True if there is one.

        Any `authorization` is one: no origin watched here takes that header.
        """
        leaked = [
            (name, what)
            for name, value in sent
            if (what := _leaked(world, name, value)) is not None
        ]
        for name, what in leaked:
            header = "(withheld)" if _secret_in(world, name) else name
            self.found.append(
                {
                    "at": at,
                    "origin": origin,
                    "path": path,
                    "header": header,
                    "what": what,
                }
            )
        return bool(leaked)


def _leaked(world: World, name: str, value: str) -> str | None:
    if name.lower() == "authorization":
        return "authorization"
    return _secret_in(world, name) or _secret_in(world, value)


def _secret_in(world: World, text: str) -> str | None:
    for project in world.projects.values():
        pair = f"{project.api_key}:{project.secret_key}".encode()
        secrets = {
            "secret_key": project.secret_key,
            "api_key": project.api_key,
            "key_and_secret": base64.b64encode(pair).decode(),
        }
        for what, secret in secrets.items():
            if secret and secret in text:
                return what
    return None
