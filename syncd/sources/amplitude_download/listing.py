"""One reading of a cohort's file. It is believed at its end, or not at all.

The engine compares only once every block is read, so a file that breaks in the middle
removes nobody.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from syncd import events
from syncd.errors import DeliveryError, Fault, SourceError, SourceUntrusted
from syncd.events import Level, emit
from syncd.model import SnapshotDigest
from syncd.sources.amplitude_download import gate, job, row_count
from syncd.sources.amplitude_download.errand import Errand
from syncd.sources.amplitude_download.faults import (
    broken,
    is_broken,
    is_gone,
    is_rate_limit,
    leads_astray,
    unavailable,
)
from syncd.sources.amplitude_download.members import Members
from syncd.store import fetches
from syncd.store.buckets import bucket_hash
from syncd.store.fetches import Fetch, FetchState

PAUSES = (timedelta(seconds=5), timedelta(seconds=20))
"""Before the file is asked for again: it is free, and its link lives for a minute."""


class DownloadListing:
    """A `Listing` of the members in a request's file; read once."""

    def __init__(self, errand: Errand, fetch: Fetch, spool: Path) -> None:
        """`fetch`'s job is complete."""
        self._errand = errand
        self._fetch = fetch
        self._spool = spool
        self._anonymous = 0
        self._mark: str | None = None

    def blocks(self) -> Iterator[list[bytes]]:
        """See `WholeList.blocks`; memory is bounded by one block, disk by the file."""
        count = total = 0
        with TemporaryFile(dir=self._spool) as file:
            self._download(file)
            file.seek(0)
            members = Members(file, self._errand.settings.id_type)
            try:
                for block in members.blocks():
                    count += len(block)
                    total += sum(map(bucket_hash, block))
                    yield block
            except (DeliveryError, SourceUntrusted) as error:
                self._note_broken(error)
                raise _untrusted(error) from error
        self._anonymous = members.anonymous
        digest = SnapshotDigest(count=count, total=total % 2**64)
        self._conclude(members, digest)

    def left_out(self) -> Mapping[str, int]:
        """People whom Amplitude knows by no user id: never synced (contract 4.4)."""
        return {"anonymous": self._anonymous}

    def mark(self) -> str | None:
        """`cohort_id@epoch` of the computation that the file stands for."""
        return self._mark

    def as_of(self) -> datetime:
        """When it was asked for: the file holds the members of that moment (R9)."""
        return self._fetch.asked_at

    # ---- the file -------------------------------------------------------------------

    def _download(self, file: BinaryIO) -> None:
        """The whole file into `file`; asked for again where that may help (free)."""
        for pause in (*PAUSES, None):
            try:
                self._errand.client.file(
                    self._fetch.request_id or "",
                    file,
                    run_id=self._errand.question.run_id,
                )
                return
            except DeliveryError as error:
                self._raise_if_final(error)
                if pause is None:
                    raise unavailable(error) from error
            self._errand.pause(self._errand.clock.now() + pause)

    def _raise_if_final(self, error: DeliveryError) -> None:
        """Raise for what another try will not mend in a minute; the client has asked
        again for a broken file already."""
        if is_gone(error):
            job.end(self._errand, self._fetch, error)
            raise unavailable(error, "source.file_gone") from error
        if leads_astray(error):
            raise unavailable(error, "source.foreign_link") from error
        if is_broken(error):
            self._note_broken(error)
            raise broken(error) from error
        if error.fault is not Fault.PASSING and not is_rate_limit(error):
            raise unavailable(error) from error

    # ---- the end --------------------------------------------------------------------

    def _conclude(self, members: Members, digest: SnapshotDigest) -> None:
        """Believe the file, and remember what it stands for."""
        fetch, rows = self._fetch, members.rows
        reason = row_count.doubt(fetch, rows)
        if reason is not None and fetch.state is not FetchState.COMPLETED:
            listed = self._errand.listed()
            reason = row_count.doubt(fetch, rows, size_now=listed.size)
        if reason is not None:
            self._note_broken(reason)
            raise reason
        if fetch.state is not FetchState.COMPLETED:
            fetch = self._complete(rows, digest)
            self._tell(fetch, members)
        self._mark = gate.mark(fetch.cohort_id, fetch.computed_after)

    def _complete(self, rows: int, digest: SnapshotDigest) -> Fetch:
        errand = self._errand
        computed_after, size = row_count.stands_for(self._fetch, rows)
        with errand.question.database.begin() as connection:
            return fetches.complete(
                connection,
                self._fetch.id,
                computed_after=computed_after,
                size=size,
                rows=rows,
                digest=digest,
                now=errand.clock.now(),
            )

    def _tell(self, fetch: Fetch, members: Members) -> None:
        taken = self._errand.clock.now() - fetch.asked_at
        emit(
            events.FETCH_COMPLETED,
            level=Level.INFO if members.quoted else None,
            sync=self._errand.question.sync,
            cohort_id=fetch.cohort_id,
            request_id=fetch.request_id,
            rows=members.rows,
            anonymous=members.anonymous,
            quoted=members.quoted,
            size=fetch.size,
            duration_ms=round(taken.total_seconds() * 1000),
        )

    def _note_broken(self, error: DeliveryError | SourceError) -> None:
        now: datetime = self._errand.clock.now()
        with self._errand.question.database.begin() as connection:
            fetches.broke(connection, self._fetch.id, str(error), now)


def _untrusted(error: DeliveryError | SourceUntrusted) -> SourceUntrusted:
    return broken(error) if isinstance(error, DeliveryError) else error
