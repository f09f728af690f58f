"""A trait of Segment's people as a sink: an identify per person, true or false.

Rules (contract/segment.md 6, 8): the trait needs nothing at Segment, its name is all
there is to it; a 200 proves only what we validated ourselves; the same transition has
the same `messageId` however often it is sent, so sending it twice has the effect of
once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from syncd.clients.segment import SegmentClient
from syncd.clients.segment_events import Identifies
from syncd.model import Batch, Found, Operation, Receipt, Target
from syncd.sinks import Capabilities

MAX_BATCH = 1_000
"""Events in a body: what Amplitude's own sender uses (vendor page 1), and what keeps
a body with usual names under Segment's 500 KB. Its hard limit is 2,500."""
MAX_IN_FLIGHT = 4
"""Requests at once, as Amplitude's sender makes them (vendor page 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentIdentifySink:
    """Writes traits through one Segment source."""

    client: SegmentClient
    integrations: Mapping[str, bool]
    """Which destinations of Segment get the events (contract T8)."""

    @property
    def capabilities(self) -> Capabilities:
        """Events have no order among them: a plan names a person once."""
        return Capabilities(max_in_flight=MAX_IN_FLIGHT, max_batch=MAX_BATCH)

    def find(self, target: Target) -> Found | None:
        """See `Sink.find`. A trait is there as soon as it is named; asks nobody."""
        name = _trait(target)
        return Found(external_id=name, name=name, size=None)

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """See `Sink.deliver`. Segment knows everybody: nobody is unmatched."""
        identifies = Identifies(
            # Without a plan the run stands in: at worst an event is sent under two ids,
            # which says the same twice; one id for two transitions would lose one.
            plan_id=batch.plan_id or batch.run_id,
            sync=target.sync,
            trait=_trait(target),
            value=batch.operation is Operation.ADD,
            at=batch.planned_at,
            integrations=self.integrations,
        )
        answer = self.client.identify(identifies, batch.ids, run_id=batch.run_id)
        return Receipt(
            accepted=batch.ids, status=answer.status, request_id=answer.request_id
        )

    def probe(self) -> None:
        """See `Sink.probe`."""
        self.client.probe()


def _trait(target: Target) -> str:
    """Once bound the name stays, whatever the cohort is called by then."""
    return target.external_id or target.name
