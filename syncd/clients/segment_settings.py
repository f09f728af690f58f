"""Whether Segment knows a write key: its settings call (contract/segment.md T2).

Segment's own clients ask it. It is free and changes nothing, but the key is a part of
the path; so it is asked only where a person wants to know (`syncd doctor`), and by
`stream`, whose path gets into no log and no error.
"""

from collections.abc import Callable
from urllib.parse import quote

from syncd.clients.credentials import Renewable
from syncd.clients.http import ACKNOWLEDGEMENT_BYTES, Answer, HttpClient, TransportError
from syncd.clients.proof import unanswered
from syncd.clients.refusals import refusal, said, usual_verdict
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault

HOST = "https://cdn.segment.com"
"""The same for both regions."""

_CALL = "Segment's settings call"
_MAX_BYTES = 4 * 1024 * 1024
"""The answer holds the settings of every destination in a browser."""
_PATIENCE_S = 10.0


class WriteKeyCheck:
    """Asks whether the key of one connection is known."""

    def __init__(
        self, http: HttpClient, write_key: Callable[[], str], *, clock: Clock
    ) -> None:
        """`write_key` reads the key, each time anew."""
        self._http = http
        self._write_key = Renewable(write_key)
        self._clock = clock

    def look(self) -> None:
        """Return for a known key. Raises `DeliveryError`; `auth` for an unknown one."""
        self._write_key.try_with(self._attempt)

    def _attempt(self, key: str) -> None:
        kept = bytearray()
        try:
            answer = self._http.stream(
                "GET",
                f"/v1/projects/{quote(key, safe='')}/settings",
                lambda piece: kept.extend(piece[: ACKNOWLEDGEMENT_BYTES - len(kept)]),
                max_bytes=_MAX_BYTES,
                deadline=_PATIENCE_S,
                operation="settings",
            )
        except TransportError as error:
            raise unanswered(error) from error
        if answer.status != 200 or not bytes(kept).lstrip().startswith(b"{"):
            raise self._refusal(answer, said(answer.body, [key]))

    def _refusal(self, answer: Answer, words: str) -> DeliveryError:
        """A 404 is the answer to an unknown key: there is nothing else to be found."""
        verdict = usual_verdict(answer.status)
        if answer.status in (400, 404):
            verdict = Fault.CREDENTIALS, "auth"
        return refusal(
            answer,
            verdict,
            call=_CALL,
            words=words,
            now=self._clock.now(),
            hint="copy the write key of the source anew, then: syncd doctor"
            if verdict[1] == "auth"
            else "",
        )
