"""The small pictures of the pages: numbers in, SVG out. Pure, and frugal with bytes.

Each says its numbers in a `<title>` as well. Colours come from the style sheet, by
class; sizes are attributes, since inline styles are forbidden. Every picture of a list
of runs has one column per run, so that they can be read across.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from markupsafe import Markup, escape

from syncd.web.pages.views import Cell

RUNS = 30
"""Columns of a picture of runs."""

_FRESH_WIDTH = 120
_SPARK_STEP, _SPARK_HEIGHT = 4, 28
_BARS_HEIGHT = 28
_BAR = 4
"""Pixels from one bar to the next."""
_CELL = 5
"""Pixels from one cell to the next; four of them are drawn."""
_CUT = 0.95
"""Bars above this quantile are cut, so that one big day does not hide the others."""
_SEVERAL = 4
"""Fewer bars are never cut."""

_CALM = ("success", "no_change", "skipped")
_LINES = {
    "success": ("s", 11),
    "no_change": ("o", 15),
    "skipped": ("k", 17),
    "failed": ("f", 9),
}
"""Outcomes drawn as one line for all neighbours, dashed into cells: class, and where it
runs. How thick it is, and so how high the cells are, says the style sheet."""
_SHAPES = {
    "partial": ("l", "4v4m0 3v7"),
    "held": ("h", "2v4m0 2v4m0 2v4"),
    "abandoned": ("b", "0v7m0 4v7"),
    "interrupted": ("l", "9v9"),
    "running": ("u", "4v9m0 2v3"),
}
"""Outcomes drawn cell by cell: class of the colour, from where, and the stroke. Each
outcome has a height and a shape of its own."""


def freshness(share: float | None, words: str, tone: str) -> Markup:
    """How much of the promised time is used up; full is stale."""
    filled = 0 if share is None else max(1, round(min(share, 1.0) * _FRESH_WIDTH))
    bar = f"<path class={_tone(tone)} d=M0,4h{filled} />" if filled else ""
    return picture("f", words, bar)


def sparkline(sizes: Sequence[int], *, every: int = 1) -> Markup:
    """How the number of members went, oldest first; empty for less than two.

    Drawn of each `every`th number, and always of the newest.
    """
    shown = list(sizes[-RUNS:])
    if len(shown) < 2:
        return Markup()
    low, high = min(shown), max(shown)
    said = f"{number(shown[-1])}; {number(low)} to {number(high)}"
    drawn = shown[::-1][::every][::-1]
    line = _line(drawn, low, high, _SPARK_STEP * every)
    return picture("s", said, f'<path d="{line}"/>')


def bars(moves: Sequence[tuple[int, int]], *, every: int = 1) -> Markup:
    """Entered up and exited down, on one scale; a cut bar is notched, and counted.

    Each bar is the sum of `every` runs. Empty where nobody moved.
    """
    shown = list(moves[-RUNS:])
    entered, exited = sum(each[0] for each in shown), sum(each[1] for each in shown)
    if not entered + exited:
        return Markup()
    summed, step = list(_summed(shown, every)), _BAR * every
    scale, start = _scale(summed), RUNS * _BAR - len(summed) * step
    up = [-_height(value, scale) for value, _ in summed]
    down = [_height(value, scale) for _, value in summed]
    said = f"{number(entered)} entered, {number(exited)} exited"
    middle = _BARS_HEIGHT // 2
    drawn = _steps("n", start, middle - 1, up, step)
    drawn += _steps("x", start, middle + 1, down, step)
    longest = max(max(pair) for pair in summed)
    if longest > scale:
        said += f", cut at {number(scale)} of {number(longest)}"
        drawn += _notches(summed, scale, start, step)
    return picture("b", said, drawn)


def strip(cells: Sequence[Cell], *, linked: bool, most: int = RUNS) -> Markup:
    """The last runs, one cell each. Linked, each leads to its run.

    Not linked, those that did not go well lead to theirs, the newest `most` of them;
    all others are one path for each outcome.
    """
    shown = list(cells[-RUNS:])
    if not shown:
        return Markup()
    first = RUNS - len(shown)
    placed = [((first + n) * _CELL, cell) for n, cell in enumerate(shown)]
    odd = [each for each in placed if each[1].outcome not in _CALM]
    apart = placed if linked else odd[-most:] if most else []
    calm = [each for each in placed if each not in apart]
    drawn = "".join([*_merged(calm), *(_one(x, cell) for x, cell in apart)])
    # A picture is opaque for those who cannot see it; links in it must not be.
    return picture("r", _said(shown), drawn, role="" if apart else "img")


def shares(values: Sequence[float]) -> Markup:
    """Exit shares of the last plans, oldest first, as bars; the last one stands out."""
    if not values:
        return Markup()
    highest = max(max(values), 0.0001)
    parts = []
    for index, value in enumerate(values):
        height = max(1, round(value / highest * 30))
        kind = "h" if index == len(values) - 1 else "i"
        parts.append(f'<path class={kind} d="M{index * 22 + 8} 32v-{height}"/>')
    said = "exit shares, oldest first: " + ", ".join(percent(each) for each in values)
    size = f" width={len(values) * 22} height=32"
    return picture("e", said, "".join(parts), size=size)


def step_bar(milliseconds: float, longest: float) -> Markup:
    """How long a step took beside the longest one."""
    width = max(1, round(milliseconds / longest * _FRESH_WIDTH)) if longest else 1
    said = f"{milliseconds / 1000:.1f} s"
    return picture("t", said, f"<path class=u d=M0,4h{width} />")


# --- parts ----------------------------------------------------------------------------


def picture(
    kind: str, said: str, drawn: str, role: str = "img", size: str = ""
) -> Markup:
    """A picture that says its numbers; `kind` is its class, `size` more attributes."""
    shown = f" role={role}" if role else ""
    # Everything drawn is made of our own numbers; words are escaped.
    return Markup(  # noqa: S704
        f"<svg class={kind}{size}{shown}><title>{escape(said)}</title>{drawn}</svg>"
    )


def _merged(placed: Sequence[tuple[int, Cell]]) -> Iterator[str]:
    """One path for each outcome; of neighbours that ended alike, one line."""
    by_outcome = sorted(placed, key=lambda each: each[1].outcome)
    for outcome, group in groupby(by_outcome, key=lambda each: each[1].outcome):
        places = [x for x, _ in group]
        if outcome in _LINES:
            kind, y = _LINES[outcome]
            yield f'<path class={kind} d="{_lines(places, y)}"/>'
        else:
            yield _shaped(places, outcome)


def _lines(places: Sequence[int], y: int) -> str:
    """`M0 11h59M65 11h4`: a line for neighbours, dashed into cells when drawn."""
    path, begin = "", places[0]
    for x, following in zip(places, [*places[1:], None], strict=True):
        if following != x + _CELL:
            path += f"M{begin} {y}h{x + _CELL - 1 - begin}"
            begin = following or 0
    return path


def _shaped(places: Sequence[int], outcome: str) -> str:
    kind, stroke = _SHAPES.get(outcome, _SHAPES["partial"])
    drawn = "".join(f"M{x + 2} {stroke}" for x in places)
    return f'<path class={kind} d="{drawn}"/>'


def _one(x: int, cell: Cell) -> str:
    title = f"<title>{escape(cell.words)}</title>"
    drawn = "".join(_merged([(x, cell)]))
    return f'<a href="/runs/{escape(cell.run_id)}">{title}{drawn}</a>'


def _said(cells: Sequence[Cell]) -> str:
    """`30 runs: 28 success, 1 partial, 1 held`."""
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell.outcome] = counts.get(cell.outcome, 0) + 1
    parts = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items()]
    return f"{len(cells)} run{'' if len(cells) == 1 else 's'}: {', '.join(parts)}"


def _line(values: Sequence[int], low: int, high: int, step: int) -> str:
    """A path through the values, the newest at the right end, by whole pixels."""
    room, spread = _SPARK_HEIGHT - 4, high - low
    heights = [
        _SPARK_HEIGHT // 2
        if not spread
        else _SPARK_HEIGHT - 2 - round((value - low) / spread * room)
        for value in values
    ]
    start = (RUNS - 1) * _SPARK_STEP - (len(values) - 1) * step
    path, y = f"M{start} {heights[0]}l", heights[0]
    for height in heights[1:]:
        path += f"{step} {height - y} "
        y = height
    return path.replace(" -", "-").rstrip()


def _summed(moves: Sequence[tuple[int, int]], every: int) -> Iterator[tuple[int, int]]:
    """Neighbours summed; the oldest sum may be of fewer."""
    first = len(moves) % every
    starts = [*([0] if first else []), *range(first, len(moves), every)]
    for begin, end in zip(starts, [*starts[1:], len(moves)], strict=True):
        part = moves[begin:end]
        yield sum(each[0] for each in part), sum(each[1] for each in part)


def _scale(moves: Iterable[tuple[int, int]]) -> int:
    """The number that fills a bar: the longest, or the 95th percentile of all that is
    not 0 where the longest would make the others vanish."""
    values = sorted(value for pair in moves for value in pair if value)
    usual = values[int((len(values) - 1) * _CUT)]
    return usual if len(values) >= _SEVERAL and values[-1] > 2 * usual else values[-1]


def _height(value: int, scale: int) -> int:
    """Whoever moved is seen: at least a pixel."""
    room = _BARS_HEIGHT // 2 - 1
    return max(1, round(min(value / scale, 1) * room)) if value else 0


def _steps(kind: str, x: int, y: int, heights: Sequence[int], step: int) -> str:
    """Bars side by side as one area; equal neighbours are one."""
    path, at, wide = "", 0, 0
    for height in heights:
        if height != at and wide:
            path, wide = f"{path}h{wide}", 0
        if height != at:
            path, at = f"{path}v{height - at}", height
        wide += step
    path += f"h{wide}" + (f"v{-at}" if at else "")
    return f'<path class={kind} d="M{x} {y}{path}z"/>'


def _notches(
    moves: Sequence[tuple[int, int]], scale: int, start: int, step: int
) -> str:
    """A gap near the end of each bar that is cut."""
    lines = "".join(
        f"M{start + index * step} {3 if side == 0 else _BARS_HEIGHT - 3}h{step}"
        for index, pair in enumerate(moves)
        for side, value in enumerate(pair)
        if value > scale
    )
    return f'<path class=w d="{lines}"/>'


def _tone(tone: str) -> str:
    return {"fine": "g", "late": "l", "bad": "b", "held": "h", "busy": "u"}.get(
        tone, "i"
    )


def number(value: int) -> str:
    """`48,489`."""
    return f"{value:,}"


def percent(share: float) -> str:
    """`16 %`; one digit more where that is little."""
    value = share * 100
    return f"{value:.1f} %" if 0 < value < 10 else f"{value:.0f} %"
