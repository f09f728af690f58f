"""How the demo ends: with every proof holding, or with what is wrong."""

from dataclasses import dataclass
from typing import Any

from syncd.cli.demo_cohort_proof import CohortProof
from syncd.cli.demo_proof import Proof
from syncd.cli.demo_pushes import Push
from syncd.cli.demo_spending import Spending
from syncd.cli.output import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Everything that was found out."""

    audiences: list[Proof]
    cohorts: list[CohortProof]
    spending: Spending
    pushes: list[Push]

    @property
    def holds(self) -> bool:
        """Everybody is where they belong, and the downloads are counted alike."""
        return not self.wrong

    @property
    def wrong(self) -> list[str]:
        """What is not as it should be, in sentences."""
        found: list[Proof | CohortProof | Spending]
        found = [*self.audiences, *self.cohorts, self.spending]
        return [each.difference() for each in found if not each.holds]

    def conclude(self, out: Output, seconds: float) -> None:
        """The last word."""
        out.line()
        for each in self.wrong:
            out.line(f"   {each}", style="bold red")
        if self.holds:
            first = "Every cohort is its audience minus the listed unmatched people,"
            second = "every trait and list is its cohort minus the anonymous people"
            out.line(f"   {first}", style="bold green")
            out.line(f"   {second} ({seconds:.0f} s).", style="bold green")

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "equal": self.holds,
            "audiences": [each.document() for each in self.audiences],
            "cohorts": [each.document() for each in self.cohorts],
            "downloads": self.spending.document(),
            "pushes": [each.document() for each in self.pushes],
        }
