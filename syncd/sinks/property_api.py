"""A partner's user property as a sink: true on entry, false on exit.

Rules (vendor page 1; contract/amplitude.md 7.3): an update names one person, or a batch
of them, and the property by the cohort's name; no list is made. The page prints the
path of another call above both bodies, so the path is the partner's to say.
"""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from syncd.clients.integration import CONTEXT
from syncd.clients.partner import Call, PartnerClient, Request, require_fits
from syncd.clients.proof import accepted_by_status
from syncd.model import Batch, Found, Operation, Receipt, Target
from syncd.sinks import Capabilities

MAX_BATCH = 10_000
"""People in a batch: the most that Amplitude's partner portal offers (contract A7)."""
MAX_IN_FLIGHT = 4
"""Requests at once, as Amplitude's sender makes them (vendor page 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyApiSink:
    """Writes properties of one partner's users."""

    client: PartnerClient
    path: str
    """Of the update call below the base URL, beginning with a slash."""
    mode: Literal["batch", "single"] = "batch"
    """One request for many people, or one for each."""
    traits_key: str = "traits"
    user_id_key: str = "userId"
    batch_key: str = "batch"

    @property
    def capabilities(self) -> Capabilities:
        """Updates have no order among them: a plan names a person once."""
        return Capabilities(
            max_in_flight=MAX_IN_FLIGHT,
            max_batch=MAX_BATCH if self.mode == "batch" else 1,
            can_probe=False,
        )

    def find(self, target: Target) -> Found | None:
        """See `Sink.find`. A property is there as soon as it is named; asks nobody."""
        name = _trait(target)
        return Found(external_id=name, name=name, size=None)

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """See `Sink.deliver`."""
        named = self.client.name(Call.UPDATE)
        # In the outbox may be a batch that was planned before the mode was changed.
        require_fits(batch.ids, self.capabilities.max_batch, named)
        answer = self.client.post(
            Request(
                call=Call.UPDATE,
                path=self.path,
                body=orjson.dumps(self._body(batch, _trait(target))),
                ids=batch.ids,
                run_id=batch.run_id,
            )
        )
        accepted = accepted_by_status(answer, named)
        return Receipt(
            accepted=batch.ids, status=accepted.status, request_id=accepted.request_id
        )

    def probe(self) -> None:
        """See `Sink.probe`. The page has no call that changes nothing.

        So nothing is asked and nothing proven: the next delivery tells.
        """

    def _body(self, batch: Batch, trait: str) -> dict[str, Any]:
        value = batch.operation is Operation.ADD
        updates = [self._update(each, trait, value) for each in batch.ids]
        return updates[0] if self.mode == "single" else {self.batch_key: updates}

    def _update(self, member_id: bytes, trait: str, value: bool) -> dict[str, Any]:
        return {
            "type": "identify",
            self.traits_key: {trait: value},
            self.user_id_key: member_id.decode(),
            "context": CONTEXT,
        }


def _trait(target: Target) -> str:
    """Once bound the name stays, whatever the cohort is called by then."""
    return target.external_id or target.name
