"""When a vendor as a sender asks again: what its answers mean to it. Pure.

Both wait 1, 2, 4, … 128 seconds of the simulator's clock between tries. Segment drops
an event for ever at most 4xx (R11); Amplitude takes nothing but a 200 for a yes (R26).
"""

from dataclasses import dataclass

RETRIES = 8
"""After the first try; with doubling delays the last one waits 128 s."""
SEGMENT_4XX = frozenset({408, 423, 429})
"""The only 4xx that Segment retries (R11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one vendor treats the answers of one receiver."""

    vendor: str
    """`segment` or `amplitude`."""
    timeout: float
    """Real seconds until the whole answer must be there."""
    retries: int = RETRIES
    retries_4xx: bool = True
    """Amplitude: also answers that say the request is wrong (contract section 11)."""
    honours_retry_after: bool = False
    """Wait at least as long as the receiver asks for (both contracts, section 11)."""

    def accepts(self, status: int) -> bool:
        """The receiver has it."""
        if self.vendor == "segment":
            return 200 <= status < 300
        return status == 200

    def asks_again(self, status: int | None) -> bool:
        """The answer (None: none came in time) may be another one later."""
        if status is None:
            return True
        if self.vendor == "segment":
            return status in SEGMENT_4XX or (status >= 500 and status != 501)
        refused = 400 <= status < 500 and status != 429
        return self.retries_4xx or not refused

    def delay(self, tries: int, retry_after: str | None) -> float:
        """Seconds of the clock after so many tries; `retry_after` is the header."""
        own = float(2 ** (tries - 1))
        if self.honours_retry_after and retry_after and retry_after.isdigit():
            return max(own, float(retry_after))
        return own
