"""Secrets that a sender presents to us, compared in constant time.

A secret may have a predecessor that is accepted as well while the sender changes
over, for ever or until a given instant. Nothing here raises on what a stranger sends,
and no secret gets into a `repr`.
"""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Which = Literal["current", "previous"]
"""The secret that matched; "previous" tells that the sender did not change over yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A secret as bytes, and the one it replaces."""

    current: bytes = field(repr=False)
    previous: bytes | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    """From this instant on the previous one is refused; None is no end."""

    def __post_init__(self) -> None:
        """An empty secret would let everybody in."""
        if not self.current or self.previous == b"":
            raise ValueError("a secret is empty")

    def matches(self, presented: bytes, now: datetime) -> Which | None:
        """Which secret `presented` is; None where it is neither."""
        wanted = _digest(presented)
        return self.proven_by(
            lambda secret: hmac.compare_digest(_digest(secret), wanted), now
        )

    def proven_by(self, proof: Callable[[bytes], bool], now: datetime) -> Which | None:
        """Which secret passes `proof`; each is tried, whatever the other says.

        `proof` must take the same time whether it passes or not.
        """
        current = proof(self.current)
        previous = proof(self.previous) if self.previous is not None else False
        if current:
            return "current"
        return "previous" if previous and self._still(now) else None

    def _still(self, now: datetime) -> bool:
        return self.previous_until is None or now < self.previous_until


def _digest(value: bytes) -> bytes:
    """Of fixed length, so that the time of a comparison does not tell a length."""
    return hashlib.sha256(value).digest()


def raw(value: str) -> bytes:
    """The bytes of a header's value, which `Head` holds as Latin-1 text.

    Text that no header can hold becomes other bytes rather than an error.
    """
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def basic(header: str) -> tuple[bytes, bytes] | None:
    """User and password of an `Authorization: Basic` header (RFC 7617), else None."""
    scheme, _, credentials = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = b64decode(credentials.strip().encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None
