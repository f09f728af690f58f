"""The door that Engage's webhooks knock at: classic, Actions, Audiences, Extensible.

Nothing is parsed before it is proven, nothing of a request is taken before all of it
was read, and a whole batch has one answer (contract H4): good events are taken beside
bad ones, which are counted, since Segment sends nothing of it again.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from syncd.model import Message
from syncd.sources.door import Delivery, Head, Refused, Reply, Stored
from syncd.sources.engage_inbox.body import content_of
from syncd.sources.engage_inbox.event import Result, hear
from syncd.sources.engage_inbox.hooks import Hooks, is_hook
from syncd.sources.engage_inbox.proof import Proof, Prover
from syncd.sources.engage_inbox.settings import EngageDoorSettings

PREVIOUS_SECRET = "previous_secret"  # noqa: S105 - a word for a count
"""Counted beside the results: a request that a replaced secret proved. Leaves nothing
out; the last time of it tells when the old secret can go."""

_METHODS = ("POST", "PUT", "PATCH")


class EngageDoor:
    """A `sources.door.Door`. Keeps no state, so any thread may use it."""

    def __init__(self, settings: EngageDoorSettings) -> None:
        self._settings = settings
        self._clock = settings.clock
        self._prover = Prover(
            signature=settings.signature, factor=settings.second_factor
        )
        self._hooks = Hooks(settings, self._prover)

    @property
    def connection(self) -> str:
        return self._settings.connection

    @property
    def path(self) -> str:
        return self._settings.path

    @property
    def max_body(self) -> int:
        return self._settings.max_body

    def admit(self, head: Head) -> None:
        """Refuse path, method and credentials before a byte of the body is read."""
        if is_hook(head):
            self._hooks.admit(head, self._clock.now())
            return
        if head.path not in ("", "/"):
            raise Refused(404, "there is nothing at this path", code="path")
        if head.method not in _METHODS:
            raise Refused(405, "events come by POST, PUT or PATCH", code="method")
        self._prover.admit(head, self._clock.now())

    def asks_store(self, head: Head) -> bool:
        return is_hook(head)

    def read(self, head: Head, body: bytes) -> Delivery | Reply:
        """Prove, parse and understand a body. Raises `Refused`.

        Proves all of it, whatever `admit` has seen of the head.
        """
        if is_hook(head):
            return self._hooks.read(head, body, self._clock.now())
        proof = self._prover.prove(head, body, self._clock.now())
        content = content_of(body)
        if not isinstance(content, list):
            return self._single(content, proof)
        if self._prover.factor is None:
            raise Refused(
                403,
                "batches are refused: Segment signs only the first event of a batch",
                code="batch.unproven",
                hint="set inbox.second_factor on the connection and send that header"
                " from the webhook's mapping, or switch batching off there",
            )
        return self._batch(content, proof)

    def _single(self, event: Any, proof: Proof) -> Delivery:
        heard = hear(event, self._settings, self._clock.now())
        messages = [heard.message] if heard.message else []
        return _delivery(messages, Counter(heard.results), proof)

    def _batch(self, events: list[Any], proof: Proof) -> Delivery:
        """The events that can be read; refused only where none of them can."""
        messages: list[Message] = []
        results: Counter[str] = Counter()
        first: tuple[int, Refused] | None = None
        now = self._clock.now()
        for index, event in enumerate(events):
            try:
                heard = hear(event, self._settings, now)
            except Refused as refusal:
                results[Result.MALFORMED.value] += 1
                first = first or (index, refusal)
                continue
            results.update(heard.results)
            messages += [heard.message] if heard.message else []
        if results[Result.MALFORMED.value] == len(events):
            raise _none_readable(first)
        return _delivery(messages, results, proof, first)


def _none_readable(first: tuple[int, Refused] | None) -> Refused:
    if first is None:
        return Refused(400, "the batch holds no event", code="batch.empty")
    index, refusal = first
    return Refused(
        400, f"event {index}: {refusal}", code=refusal.code, hint=refusal.hint
    )


def _delivery(
    messages: list[Message],
    results: Counter[str],
    proof: Proof,
    first: tuple[int, Refused] | None = None,
) -> Delivery:
    """What is to be stored. The answer says what was left out and how far the signature
    reached, so that whoever looks at a webhook's log in Segment can see both."""
    said: dict[str, Any] = {"ignored": dict(results), "signed": proof.covers}
    if first is not None:
        said["malformed"] = f"event {first[0]}: {first[1]}"
    if proof.previous:
        results[PREVIOUS_SECRET] += 1
    return Delivery(
        messages=messages, results=dict(results), reply=partial(_reply, said)
    )


def _reply(said: Mapping[str, Any], stored: Stored) -> Reply:
    counts = {"accepted": stored.messages, "duplicates": stored.duplicates}
    return Reply(status=200, body={**counts, **said})
