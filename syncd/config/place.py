"""Where something in a configuration is written, and a problem found there."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from syncd.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """File as shown to people, 1-based line and column."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def problem(
        self, code: str, message: str, *, hint: str = "", severity: str = "error"
    ) -> Problem:
        """A finding at this place."""
        return Problem(
            file=self.file,
            line=self.line,
            column=self.column,
            code=code,
            message=message,
            hint=hint,
            severity=severity,
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'schedule'?` when one known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
