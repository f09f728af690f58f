"""The demo's other proof: a cohort and where it was sent, compared person by person."""

from dataclasses import dataclass
from typing import Any

from syncd.cli.demo_cohorts import Cohort
from syncd.cli.demo_vendors import FakeVendors
from syncd.cli.demo_watch import Records, Watch
from syncd.cli.lines import sentence
from syncd.cli.output import Column, Output
from syncd.report.words import number, plural

_COLUMNS = (
    Column(title="COHORT"),
    Column(title="COMPUTED", right=True),
    Column(title="ANONYMOUS", right=True),
    Column(title="ACKNOWLEDGED", right=True),
    Column(title="AS A"),
    Column(title="THERE", right=True),
    Column(title="MISSING", right=True),
    Column(title="EXTRA", right=True),
    Column(title=""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortProof:
    """One cohort and its trait or list, as sets of people."""

    cohort: str
    kind: str
    """`trait` or `list`."""
    computed: set[str]
    """Members with a user id, by Amplitude's last computation."""
    anonymous: int
    """Members without one."""
    acknowledged: set[str]
    """Members as syncd believes."""
    there: set[str]
    """Whose trait is true at Segment, or who is on the partner's list."""
    gone: set[str]
    """Who was a member once, by the demo's own book."""
    denied: set[str] | None
    """Whose trait is false; None: a list only forgets people."""

    @property
    def missing(self) -> set[str]:
        """Who should be there and is not."""
        return self.computed - self.there

    @property
    def extra(self) -> set[str]:
        """Who is there and should not be."""
        return self.there - self.computed

    @property
    def misjudged(self) -> set[str]:
        """Whose trait should be false and is not, or the reverse."""
        return set() if self.denied is None else self.denied ^ self.gone

    @property
    def holds(self) -> bool:
        """Everybody with a name is there, who left is denied, and syncd knows it."""
        in_step = self.there == self.computed == self.acknowledged
        return in_step and not self.misjudged

    def difference(self) -> str:
        """What is wrong, in a sentence."""
        wrong = self.acknowledged ^ self.there
        return (
            f"{self.cohort}: {plural(len(self.missing), 'member')} missing in the "
            f"{self.kind}, {number(len(self.extra))} too many, "
            f"{number(len(self.misjudged))} with a wrong false, syncd is wrong about "
            f"{number(len(wrong))}"
        )

    def about_gone(self, denied: set[str]) -> str:
        """What became of those who left, in a sentence."""
        start = f"{number(len(self.gone))} people left {self.cohort}: {self.kind} false"
        if not self.misjudged:
            return f"{start} for each of them, and for nobody else"
        reached = number(len(denied & self.gone))
        return (
            f"{start} for {reached} of them, and for {len(denied - self.gone)} others"
        )

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "cohort": self.cohort,
            "kind": self.kind,
            "computed": len(self.computed),
            "anonymous": self.anonymous,
            "acknowledged": len(self.acknowledged),
            "there": len(self.there),
            "false": None if self.denied is None else len(self.denied),
            "missing": len(self.missing),
            "extra": len(self.extra),
            "equal": self.holds,
        }


def prove_cohort(
    cohort: Cohort, records: Records, vendors: FakeVendors, watch: Watch
) -> CohortProof:
    """Ask all three: the fake Amplitude, syncd's store, Segment or the partner."""
    binding = records.binding(cohort.sync)
    computed = vendors.computed(cohort.id)
    if cohort.trait is not None:
        there = vendors.with_trait(cohort.trait, value=True)
        denied = vendors.with_trait(cohort.trait, value=False)
    else:
        there, denied = vendors.on_list(binding.external_id or ""), None
    return CohortProof(
        cohort=cohort.name,
        kind="list" if cohort.trait is None else "trait",
        computed=computed.named,
        anonymous=computed.anonymous,
        acknowledged=records.acknowledged(binding, watch.clock.now()),
        there=there,
        gone=set(cohort.gone),
        denied=denied,
    )


def show_cohorts(out: Output, proofs: list[CohortProof]) -> None:
    """The table, and what became of those who left."""
    out.table(_COLUMNS, [_row(each) for each in proofs], indent=3)
    for each in proofs:
        if each.denied is not None:
            sentence(out, each.about_gone(each.denied), indent=3, hanging=2)


def _row(proof: CohortProof) -> list[str]:
    return [
        proof.cohort,
        number(len(proof.computed) + proof.anonymous),
        number(proof.anonymous),
        number(len(proof.acknowledged)),
        proof.kind,
        number(len(proof.there)),
        number(len(proof.missing)),
        number(len(proof.extra)),
        "equal" if proof.holds else "DIFFERENT",
    ]
