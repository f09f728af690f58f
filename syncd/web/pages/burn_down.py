"""The month's downloads of one project as a picture. Pure.

What is used climbs in steps; beside it the even pace, and dashed where it goes to if
every schedule downloads as often as it may; above it the limit, its reserve shaded.
"""

from dataclasses import dataclass

from markupsafe import Markup

from syncd.web.pages.svg import number, picture
from syncd.web.pages.views import Month

WIDTH, HEIGHT = 320, 120
_STEP = 4
"""Pixels: what was spent closer together is one step."""
_FOOT, _HEAD = 4, 16
"""Pixels below 0, and above the highest number for its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paper:
    """Where numbers lie in the picture."""

    highest: int

    def y(self, count: int) -> int:
        """From the top, of a number of downloads."""
        room = HEIGHT - _FOOT - _HEAD
        return round(HEIGHT - _FOOT - count / self.highest * room)

    def x(self, share: float) -> int:
        """From the left, of a share of the month."""
        return round(share * WIDTH)


def burn_down(month: Month) -> Markup:
    """What a month's downloads went and go to: used, even pace, forecast, limit."""
    paper = _Paper(highest=max(month.limit, month.forecast, month.used, 1))
    drawn = _ground(month, paper) + _used(month, paper)
    said = (
        f"{number(month.used)} of {number(month.limit)} downloads used, even pace "
        f"{number(month.even_pace)}, forecast {number(month.forecast)}, "
        f"{number(month.reserve)} reserved"
    )
    return picture("d", said, drawn, size=f' viewBox="0 0 {WIDTH} {HEIGHT}"')


def _ground(month: Month, paper: _Paper) -> str:
    limit, spendable = paper.y(month.limit), paper.y(month.limit - month.reserve)
    return "".join(
        (
            f"<rect y={limit} width={WIDTH} height={spendable - limit} />",
            f'<path class=m d="M0 {limit}h{WIDTH}"/>',
            f'<path class=p d="M0 {paper.y(0)}L{WIDTH} {spendable}"/>',
            f"<text x=2 y={limit - 4}>limit {number(month.limit)}</text>",
            f"<text x=2 y={spendable + 11}>reserve {number(month.reserve)}</text>",
        )
    )


def _used(month: Month, paper: _Paper) -> str:
    now, used = paper.x(month.elapsed), paper.y(month.used)
    # The last of those that fall on one step is how far it went there.
    steps = {paper.x(share) // _STEP * _STEP: count for share, count in month.spent}
    path = "".join(f"H{x}V{paper.y(count)}" for x, count in steps.items())
    return "".join(
        (
            f'<path class=c d="M{now} {used}L{WIDTH} {paper.y(month.forecast)}"/>',
            f'<path class=q d="M0 {paper.y(0)}{path}H{now}"/>',
            f"<circle cx={now} cy={used} r=3 />",
        )
    )
