"""Segment's Tracking API: batches of events (contract/segment.md section 6).

One `SegmentClient` per connection, thread-safe. It never retries, with one exception:
when the write key is refused it reads it again, and asks once more if it has changed.
The key is a user name, never a part of a URL or of a body.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import orjson

from syncd.clients.credentials import Renewable, basic
from syncd.clients.http import Answer, HttpClient, TransportError
from syncd.clients.proof import Accepted, accepted_by_object, unanswered
from syncd.clients.refusals import Verdict, is_page, refusal, said, usual_verdict
from syncd.clients.segment_events import Identifies, body_of
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault

HOSTS: Mapping[str, str] = {
    "us": "https://api.segment.io",
    "eu": "https://events.eu1.segmentapis.com",
}
"""Origin by region (contract T1)."""

_PATH = "/v1/batch"
_CALL = "Segment's batch call"


class SegmentClient:
    """The one call that writes."""

    def __init__(
        self, http: HttpClient, write_key: Callable[[], str], *, clock: Clock
    ) -> None:
        """`write_key` reads the key of the Segment source, each time anew."""
        self._http = http
        self._write_key = Renewable(write_key)
        self._clock = clock

    def identify(
        self, identifies: Identifies, ids: tuple[bytes, ...], *, run_id: str = ""
    ) -> Accepted:
        """Tell Segment of 1 to 2,500 people that a trait of theirs is true or false.

        Idempotent, since each event has its `messageId`. Raises `DeliveryError`; what
        Segment would drop or refuse for its size is refused before a byte leaves.
        """
        body = body_of(identifies, ids, sent_at=self._clock.now())
        return self._send(body, ids, run_id)

    def probe(self) -> None:
        """Have the write key looked at, with a batch of no events.

        The same call on the same host that a delivery makes, and it changes nothing.
        Segment's settings address, which its own clients ask, would be another host and
        has the key in its path. What the body of no events is answered is not
        documented: only a refusal of the key or silence raises here, a 400 about the
        emptiness does not. It proves little, since Segment may answer 200 to any key
        (contract T4, 11.8).
        """
        try:
            self._send(orjson.dumps({"batch": []}), (), "")
        except DeliveryError as error:
            if error.fault is not Fault.BAD_IDS:
                raise

    def _send(self, body: bytes, ids: Sequence[bytes], run_id: str) -> Accepted:
        """`ids` are those in the body: they must not come back in an error text."""
        return self._write_key.try_with(
            lambda key: self._attempt(key, body, ids, run_id)
        )

    def _attempt(
        self, key: str, body: bytes, ids: Sequence[bytes], run_id: str
    ) -> Accepted:
        authorization = basic(key)
        try:
            answer = self._http.request(
                "POST",
                _PATH,
                body=body,
                headers={
                    "authorization": authorization,
                    "content-type": "application/json",
                },
                run_id=run_id,
                operation="batch",
            )
        except TransportError as error:
            raise unanswered(error) from error
        if answer.ok:
            return accepted_by_object(answer, _CALL)
        private = [key, authorization.split()[1], *(each.decode() for each in ids)]
        raise self._refusal(answer, said(answer.body, private))

    def _refusal(self, answer: Answer, words: str) -> DeliveryError:
        verdict = verdict_of(answer, words)
        return refusal(
            answer,
            verdict,
            call=_CALL,
            words=words,
            now=self._clock.now(),
            hint=_HINTS.get(verdict[1], ""),
        )


_HINTS: Mapping[str, str] = {
    "auth": "check the write key and the region of the connection: syncd check",
    "not_found": "check `base_url` of the connection: syncd check",
    "rate_limited": "lower `max_events_per_second` of the connection",
}

_SIZE = re.compile(
    r"too (large|big|long)|exceed|payload limit|max(imum)? size|\d bytes\b"
)
_KEY = re.compile(r"write ?key|unauthori[sz]ed|authenticat|authori[sz]ation|api key")

_NOT_HERE = {404, 410, 460}
"""The path is ours and fixed, so these say that something else answers there, or that
the connection broke: no verdict on the payload. Segment's own client repeats the last
two (contract T5)."""


def verdict_of(answer: Answer, words: str) -> Verdict:
    """What a refusal means. `words` are the vendor's, read as in contract T4.

    A 400 is about size, the key or an event: all events were valid to us, so halving
    finds the one that Segment does not take. A page is of something in between.
    """
    status, lower = answer.status, words.casefold()
    if status in _NOT_HERE:
        return Fault.PASSING, "not_found"
    if status != 400:
        return usual_verdict(status)
    if is_page(answer.body):
        return Fault.PASSING, "bad_response"
    if _SIZE.search(lower):
        return Fault.TOO_LARGE, "too_large"
    if _KEY.search(lower):
        return Fault.CREDENTIALS, "auth"
    return Fault.BAD_IDS, "invalid_id"
