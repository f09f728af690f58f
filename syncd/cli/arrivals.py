"""How `status` shows what is pushed to us."""

from datetime import datetime

from syncd.cli.frame import Frame
from syncd.cli.lines import sentence
from syncd.report.arrivals import Arrivals, headline, oddities


def show_arrivals(frame: Frame, each: Arrivals, now: datetime) -> None:
    """A line, and one more for whatever is odd."""
    frame.out.line()
    frame.out.line(headline(each, now))
    for line in oddities(each, now):
        sentence(frame.out, line, indent=2, hanging=2)
