"""What a vendor's answer says about waiting. Pure: given a header and the time.

Must never trust the header: it is outside data, so it is clamped, and whatever is not
plainly a wait is ignored (the caller's own back-off then decides).
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT = 900.0
"""Seconds. A longer wait is cut: one header must not silence a connection for a day
(reliability.md D6)."""

_MAX_DIGITS = 9
"""More digits than this are over the clamp anyway, and too long for int()."""


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header, 0 to `MAX_WAIT`; None if it says none.

    Both forms of RFC 9110 section 10.2.3 are read: whole seconds, and an HTTP date (a
    date that has passed means no wait). No Amplitude page documents the header.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return MAX_WAIT if len(text) > _MAX_DIGITS else min(float(text), MAX_WAIT)
    at = _http_date(text)
    if at is None:
        return None
    return min(max((at - now).total_seconds(), 0.0), MAX_WAIT)


def _http_date(text: str) -> datetime | None:
    """The instant an HTTP date names; a date without a zone is read as UTC."""
    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
