"""Run ids: UUIDv7, which sorts by time and is what heartbeat services accept. Pure."""

from datetime import datetime
from uuid import UUID


def run_id(now: datetime, chance: int) -> str:
    """The id of a run that starts now; `chance` is 74 random bits (RFC 9562, 5.7)."""
    milliseconds = int(now.timestamp() * 1000) & (2**48 - 1)
    high, low = chance >> 62 & (2**12 - 1), chance & (2**62 - 1)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))
