"""Who sent a request to the Engage door: the signature, the second factor, or both.

A signature alone proves single events. A batch needs the second factor, since Segment
signs only its first event: the rest of it rests on that secret (reliability 5.1). With
no signature configured the second factor proves everything.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from syncd.sources.door import Head, Refused
from syncd.sources.engage_inbox.signature import Covers, signature_in, verify
from syncd.sources.presented import Keys, Which, basic, raw


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    """A secret beside the signature, in a header that the webhook is told to send."""

    header: str
    """Lower case; `authorization` for Basic."""
    user: str | None
    """The user of Basic; None where the header holds nothing but the secret."""
    keys: Keys

    def matches(self, headers: Mapping[str, str], now: datetime) -> Which | None:
        """Which secret the headers carry; user and password are always compared."""
        presented = headers.get(self.header, "")
        if self.user is None:
            return self.keys.matches(raw(presented), now)
        user, password = basic(presented) or (b"", b"")
        is_user = hmac.compare_digest(user, self.user.encode())
        which = self.keys.matches(password, now)
        return which if is_user else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proven of a request."""

    covers: Covers
    """How much of the body a signature proves; `nothing` where none is asked for."""
    previous: bool
    """A secret that was replaced proved it: the sender did not change over yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """The secrets of one door. At least one of the two is set."""

    signature: Keys | None
    factor: SecondFactor | None

    def __post_init__(self) -> None:
        """Without a secret everybody could write."""
        if self.signature is None and self.factor is None:
            raise ValueError("a door needs a signature or a second factor")

    def admit(self, head: Head, now: datetime) -> None:
        """Refuse with 401 what cannot be proven by any body."""
        self._factor(head, now)
        if self.signature is not None:
            signature_in(head.headers)

    def prove(self, head: Head, body: bytes, now: datetime) -> Proof:
        """What the request proves. Raises `Refused` with 401."""
        by_factor = self._factor(head, now)
        if self.signature is None:
            return Proof(covers="nothing", previous=by_factor == "previous")
        proven = verify(signature_in(head.headers), body, self.signature, now)
        if proven is None:
            raise Refused(
                401,
                "the signature is not of this body by our secret",
                code="signature.wrong",
                hint="use one shared secret here and in Segment's destination; where"
                " that adds `extras` it signs another text than it sends: then use"
                " second_factor without a signature",
            )
        covers, which = proven
        return Proof(covers=covers, previous="previous" in (which, by_factor))

    def _factor(self, head: Head, now: datetime) -> Which | None:
        """Which second factor is presented; None where none is asked for."""
        if self.factor is None:
            return None
        which = self.factor.matches(head.headers, now)
        if which is None:
            raise Refused(
                401,
                f"the header {self.factor.header} does not carry the second factor",
                code="second_factor",
                hint="set the header in the webhook's mapping in Segment",
            )
        return which
