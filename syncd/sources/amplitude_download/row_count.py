"""Is a file whole, by its rows? Pure: what was listed before and after, and a count.

A plain text that was cut just after a row looks like a whole one, and nothing but the
free list's `size` tells. The two are never compared for equality: rows hold duplicates
and people who were never identified, and the cohort may be computed once more between
the request and the look at the list (contract 4.4).
"""

from datetime import datetime

from syncd.errors import SourceUntrusted
from syncd.store.fetches import Fetch, FetchState

SHORT_SHARE = 0.9
SHORT_BY = 5
"""A file with fewer rows than this share of the listed size, and more than so many
short of it, is not believed. To read it again is free."""


def doubt(
    fetch: Fetch, rows: int, *, size_now: int | None = None
) -> SourceUntrusted | None:
    """Why a file of so many rows is not to be believed, or None.

    `size_now` as listed by now, if it was looked at again: how long it takes until a
    listed size is right is not known (contract section 11).
    """
    if fetch.state is FetchState.COMPLETED:
        return _another(fetch, rows) if rows != fetch.rows else None
    size = _expected(fetch)
    if size is None or not _is_short(rows, size) or _is_older(fetch, rows):
        return None
    if size_now is not None and not _is_short(rows, size_now):
        return None
    return _untrusted(
        f"the file has {rows} rows, the list counts {size} members", "source.short"
    )


def stands_for(fetch: Fetch, rows: int) -> tuple[datetime | None, int | None]:
    """`lastComputed` and `size` of the computation that a believed file shows."""
    if _is_older(fetch, rows):
        return fetch.computed_before, fetch.size_before
    return fetch.computed_after, fetch.size


def _expected(fetch: Fetch) -> int | None:
    """The size of the computation in the file; where that is not known, the smaller of
    those before and after it."""
    if fetch.size is not None:
        return fetch.size
    listed = (fetch.size_before, fetch.size_ready)
    return min((each for each in listed if each is not None), default=None)


def _is_older(fetch: Fetch, rows: int) -> bool:
    """Whether the file shows the cohort as it was before the request, though it was
    computed anew since: it grew after its members had been taken down."""
    moved = fetch.computed_before != fetch.computed_after
    before, after = fetch.size_before, fetch.size
    if not moved or before is None or after is None:
        return False
    as_before = not _is_short(rows, before) and not _is_short(before, rows)
    return _is_short(rows, after) and as_before


def _is_short(rows: int, size: int) -> bool:
    return rows < SHORT_SHARE * size and size - rows > SHORT_BY


def _another(fetch: Fetch, rows: int) -> SourceUntrusted:
    return _untrusted(
        f"the file has {rows} rows, it had {fetch.rows} before", "source.file_changed"
    )


def _untrusted(message: str, code: str) -> SourceUntrusted:
    return SourceUntrusted(
        message, code=code, hint="the next run reads the file again, which is free"
    )
