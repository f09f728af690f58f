"""The demo's proof: audience and cohort compared person by person."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.cli.demo_audiences import Audience
from syncd.cli.demo_vendors import FakeVendors
from syncd.cli.demo_watch import Records
from syncd.cli.demo_world import World
from syncd.cli.lines import sentence
from syncd.cli.output import Column, Output
from syncd.report.words import number, plural

_SHOWN = 10
_COLUMNS = (
    Column(title="AUDIENCE"),
    Column(title="IN THE SOURCE", right=True),
    Column(title="UNMATCHED", right=True),
    Column(title="ACKNOWLEDGED", right=True),
    Column(title="AT AMPLITUDE", right=True),
    Column(title="MISSING", right=True),
    Column(title="EXTRA", right=True),
    Column(title=""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One audience and its cohort, as sets of people."""

    audience: str
    cohort_id: str
    source: set[str]
    """By the warehouse, or by Engage's own word where its webhooks tell of it."""
    unmatched: set[str]
    """Listed by syncd as unknown to Amplitude."""
    acknowledged: set[str]
    """Members as syncd believes."""
    cohort: set[str]
    """Members as the fake Amplitude has them."""

    @property
    def missing(self) -> set[str]:
        """Who should be in the cohort and is not."""
        return self.source - self.unmatched - self.cohort

    @property
    def extra(self) -> set[str]:
        """Who is in the cohort and should not be."""
        return self.cohort - (self.source - self.unmatched)

    @property
    def holds(self) -> bool:
        """Cohort = audience minus the listed unmatched ids, and syncd knows it."""
        in_step = self.cohort == self.source - self.unmatched
        honest = self.unmatched <= self.source
        return in_step and honest and self.acknowledged == self.cohort

    def difference(self) -> str:
        """What is wrong, in a sentence."""
        wrong = self.acknowledged ^ self.cohort
        return (
            f"{self.audience}: {plural(len(self.missing), 'member')} missing at "
            f"Amplitude, {number(len(self.extra))} too many, syncd is wrong about "
            f"{number(len(wrong))}"
        )

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "audience": self.audience,
            "cohort_id": self.cohort_id,
            "source": len(self.source),
            "acknowledged": len(self.acknowledged),
            "cohort": len(self.cohort),
            "unmatched": sorted(self.unmatched),
            "missing": len(self.missing),
            "extra": len(self.extra),
            "equal": self.holds,
        }


def prove(
    world: World,
    audience: Audience,
    records: Records,
    vendors: FakeVendors,
    now: datetime,
) -> Proof:
    """Ask all three: the source, syncd's store and the fake Amplitude."""
    binding = records.binding(audience.sync)
    webhook = audience.by_webhook
    named = (
        vendors.in_audience(audience.key) if webhook else world.in_warehouse(audience)
    )
    cohort_id = binding.external_id or ""
    return Proof(
        audience=audience.key,
        cohort_id=cohort_id,
        source=named,
        unmatched=records.unmatched(binding),
        acknowledged=records.acknowledged(binding, now),
        cohort=vendors.members(cohort_id),
    )


def show(out: Output, proofs: list[Proof]) -> None:
    """The table, and who is unmatched."""
    out.table(_COLUMNS, [_row(each) for each in proofs], indent=3)
    for each in proofs:
        if each.unmatched:
            shown = sorted(each.unmatched)[:_SHOWN]
            rest = len(each.unmatched) - len(shown)
            more = f" and {number(rest)} more" if rest else ""
            words = f"unmatched in {each.audience}: {', '.join(shown)}{more}"
            sentence(out, words, indent=3, hanging=2)


def _row(proof: Proof) -> list[str]:
    counts = (
        proof.source,
        proof.unmatched,
        proof.acknowledged,
        proof.cohort,
        proof.missing,
        proof.extra,
    )
    verdict = "equal" if proof.holds else "DIFFERENT"
    return [proof.audience, *(number(len(each)) for each in counts), verdict]
