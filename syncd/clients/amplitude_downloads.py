"""Amplitude's download API: list, usage, request, status, file (contract 4.1 to 4.5).

One `AmplitudeDownloads` per connection, thread-safe. Only `request` costs one of the
month's downloads; it is never repeated here. When a link has expired or a file came
broken, the file endpoint is asked again, which is free for seven days.
"""

from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import quote

from syncd.clients.amplitude_answers import Cohort, read_cohorts
from syncd.clients.amplitude_call import Call, Caller, Taking, listing
from syncd.clients.amplitude_errors import Endpoint
from syncd.clients.amplitude_job import Usage, read_request, read_status, read_usage
from syncd.clients.http import Answer, HttpClient, TransportError
from syncd.clients.proof import unanswered
from syncd.clients.storage import FILE_HEADERS, StorageClient
from syncd.clients.unpack import Bounds, BrokenFile, Unpacked
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault

__all__ = ["AmplitudeDownloads", "Usage"]

TRIES = 3
"""Times the file endpoint is asked in one call of `file`."""

_LINK_EXPIRED = (400, 403, 404, 410)
"""What S3 answers to a link that is too old: 403 AccessDenied, 400 ExpiredToken."""


class AmplitudeDownloads:
    """The five calls of a download."""

    def __init__(
        self,
        http: HttpClient,
        storage: StorageClient,
        credentials: Callable[[], tuple[str, str]],
        *,
        clock: Clock,
        file_deadline: float = 600.0,
        bounds: Bounds | None = None,
    ) -> None:
        """`credentials` as for `Caller`; `file_deadline` in real seconds, all tries."""
        self._caller = Caller(http, credentials, clock=clock)
        self._storage = storage
        self._clock = clock
        self._file_deadline = file_deadline
        self._bounds = bounds or Bounds()

    def cohorts(self) -> tuple[Cohort, ...]:
        """All discoverable cohorts, with Amplitude's own syncs of them; free."""
        call = listing("/api/3/cohorts?includeSyncInfo=true")
        return read_cohorts(self._caller.send(call))

    def usage(self) -> Usage | None:
        """What the month has cost so far; None for an account without that call."""
        call = Call(endpoint=Endpoint.USAGE, path="/api/3/cohorts/usage")
        try:
            return read_usage(self._caller.send(call))
        except DeliveryError as error:
            if error.error_type != "not_found":
                raise
        return None

    def request(self, cohort_id: str, *, run_id: str = "") -> str:
        """Ask for a cohort's file: the id of the request. Costs one download.

        Keep the id before anything else is done: it is good for seven days. After an
        error without `status` the download may have been spent all the same.
        """
        call = Call(
            endpoint=Endpoint.REQUEST,
            path=f"/api/5/cohorts/request/{quote(cohort_id, safe='')}",
            run_id=run_id,
        )
        return read_request(self._caller.send(call), cohort_id=cohort_id)

    def is_complete(self, request_id: str, *, run_id: str = "") -> bool:
        """Whether the file is there; free. See `read_status` for a failed job.

        A request that Amplitude does not know (any more) is `not_found`.
        """
        call = Call(
            endpoint=Endpoint.STATUS,
            path=f"/api/5/cohorts/request-status/{quote(request_id, safe='')}",
            run_id=run_id,
        )
        return read_status(self._caller.send(call), request_id=request_id)

    def file(self, request_id: str, out: BinaryIO, *, run_id: str = "") -> None:
        """Write the file's plain text to `out`, from its start; whole, or an error.

        Free. `out` must be seekable; after an error its content means nothing. A file
        that keeps coming broken is a passing `bad_response`, links that keep being
        refused a passing `http_4xx`, a link that leads astray a refused `bad_response`,
        an unknown request `not_found`. The request stays good in all but the last. What
        writing raises (a full disk) passes.
        """
        ends_at = self._clock.monotonic() + self._file_deadline
        for number in range(1, TRIES + 1):
            out.seek(0)
            out.truncate()
            try:
                self._write(request_id, out, ends_at, run_id)
            except _AnotherTry as another:
                if number == TRIES:
                    raise another.error from None
            else:
                return

    def _write(
        self, request_id: str, out: BinaryIO, ends_at: float, run_id: str
    ) -> None:
        """One try: the body of the file endpoint, or the one behind its link."""
        unpacked = Unpacked(out, self._bounds)
        try:
            answer = self._ask(request_id, unpacked, ends_at, run_id)
            if 300 <= answer.status <= 399:
                answer = self._follow(answer, unpacked, ends_at)
            if answer.status != 200:
                raise BrokenFile(f"it came with the status {answer.status}")
            unpacked.finish(answer)
        except BrokenFile as broken:
            error = _broken(str(broken))
            raise (_AnotherTry(error) if broken.again else error) from None

    def _ask(
        self, request_id: str, unpacked: Unpacked, ends_at: float, run_id: str
    ) -> Answer:
        call = Call(
            endpoint=Endpoint.FILE,
            path=f"/api/5/cohorts/request/{quote(request_id, safe='')}/file",
            headers=FILE_HEADERS,
            max_bytes=self._bounds.raw_bytes,
            taking=Taking(take=unpacked.take, deadline=self._left(ends_at)),
            run_id=run_id,
        )
        try:
            return self._caller.send(call)
        except DeliveryError as error:
            if error.error_type == "connect":
                raise _AnotherTry(error) from None
            raise

    def _follow(self, found: Answer, unpacked: Unpacked, ends_at: float) -> Answer:
        """The body behind the link; whatever is wrong with that is said without it."""
        try:
            answer = self._storage.get(
                found.headers.get("location", ""),
                unpacked.take,
                max_bytes=self._bounds.raw_bytes,
                deadline=self._left(ends_at),
            )
        except TransportError as error:
            raise _unfetched(error) from None
        if answer.ok:
            return answer
        refused = _refused_link(answer.status)
        raise _AnotherTry(refused) if answer.status in _LINK_EXPIRED else refused

    def _left(self, ends_at: float) -> float:
        return max(0.0, ends_at - self._clock.monotonic())


class _AnotherTry(Exception):
    """This try failed in a way that the next one may not."""

    def __init__(self, error: DeliveryError) -> None:
        super().__init__(str(error))
        self.error = error


def _broken(why: str) -> DeliveryError:
    return DeliveryError(
        f"Amplitude's file is not a whole list: {why}",
        fault=Fault.PASSING,
        error_type="bad_response",
        status=200,
    )


def _unfetched(error: TransportError) -> Exception:
    """No whole body from the storage: cut off, or not had at all.

    A certificate of the storage that does not verify says nothing of our credentials,
    so it must not stop the connection as one of Amplitude does.
    """
    if error.kind == "tls":
        return DeliveryError(
            str(error),
            fault=Fault.REFUSED,
            error_type="tls",
            hint=unanswered(error).hint,
        )
    failure = unanswered(error)
    return _AnotherTry(failure) if failure.error_type == "connect" else failure


def _refused_link(status: int) -> DeliveryError:
    """Without the storage's words: S3's quote the signature that it refused."""
    error_type = {4: "http_4xx", 5: "http_5xx"}.get(status // 100, "bad_response")
    return DeliveryError(
        f"the storage answered {status} to a link that Amplitude gave",
        fault=Fault.PASSING,
        error_type=error_type,
        status=status,
    )
