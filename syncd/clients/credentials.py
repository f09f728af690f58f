"""Credentials that may be renewed while we run: read again once when refused."""

import base64
from collections.abc import Callable
from typing import Generic, TypeVar

from syncd.errors import DeliveryError, SyncdError

Secret = TypeVar("Secret")
Result = TypeVar("Result")


class Renewable(Generic[Secret]):
    """What authenticates a connection, as read last. Shared by threads.

    Its repr is the default one, which shows no secret.
    """

    def __init__(self, read: Callable[[], Secret]) -> None:
        """`read` asks where they are kept, each time anew.

        Read at once, so that a missing secret is found at start.
        """
        self._read = read
        self._current = read()

    def try_with(self, attempt: Callable[[Secret], Result]) -> Result:
        """Attempt with the current ones, and once more if they were renewed.

        Only an error of the type `auth` asks for that.
        """
        used = self._current
        try:
            return attempt(used)
        except DeliveryError as error:
            if error.error_type != "auth" or not self._renewed(used):
                raise
        return attempt(self._current)

    def _renewed(self, used: Secret) -> bool:
        """Read again; True if they differ from the ones refused."""
        try:
            self._current = self._read()
        except SyncdError:
            return False  # the refusal is the news; the unreadable file comes up next
        return self._current != used


def basic(user: str, password: str = "") -> str:
    """The Authorization header of RFC 7617; the colon stays without a password."""
    joined = f"{user}:{password}".encode()
    return "Basic " + base64.b64encode(joined).decode("ascii")
