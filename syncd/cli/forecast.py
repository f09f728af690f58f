"""The quota forecast for people and programs: the worst month of each project."""

from collections.abc import Iterator, Sequence
from typing import Any

from syncd.cli.output import WIDTH, Output
from syncd.config.forecast import ProjectForecast
from syncd.report.words import number

HEADLINE = (
    "Quota forecast, worst case: 31 days, every due download happens "
    "(the free change check saves some)"
)
BAR = 20
"""Cells of a bar; the whole of it is the limit."""
_INDENT = 2


def show_forecast(out: Output, forecasts: Sequence[ProjectForecast]) -> None:
    """A line with a bar for each project, its syncs below; nothing without any."""
    if not forecasts:
        return
    out.line()
    out.line(HEADLINE)
    column = _INDENT + 2 + max(len(_names(one)) for one in forecasts)
    for one in forecasts:
        name = f"{' ' * _INDENT}{_names(one)}".ljust(column)
        used = f"downloads {number(one.total):>5} of {number(one.limit)}"
        reserve = f"reserve {number(one.reserve)}"
        out.line(f"{name}{used}  {bar(one.total, one.limit)}  {reserve}")
        for line in _wrapped(one, WIDTH - column):
            out.line(f"{' ' * column}{line}")


def bar(used: int, limit: int) -> str:
    """`██████░░░░░░░░░░░░░░`: full cells only where they are wholly used."""
    full = min(BAR, used * BAR // limit)
    return "█" * full + "░" * (BAR - full)


def forecast_document(forecasts: Sequence[ProjectForecast]) -> list[dict[str, Any]]:
    """For `--json`."""
    return [
        {
            "project": one.project,
            "connections": list(one.connections),
            "limit": one.limit,
            "reserve": one.reserve,
            "downloads": one.total,
            "syncs": [
                {
                    "name": sync.name,
                    "downloads": sync.downloads,
                    "schedule": sync.schedule,
                }
                for sync in one.syncs
            ],
        }
        for one in forecasts
    ]


def _names(one: ProjectForecast) -> str:
    return ", ".join(one.connections)


def _wrapped(one: ProjectForecast, width: int) -> Iterator[str]:
    """`feature-adopters 124 · churn-risk 31`, broken between syncs."""
    line = ""
    for sync in one.syncs:
        item = f"{sync.name} {number(sync.downloads)}"
        if line and len(line) + len(item) + 3 > width:
            yield line
            line = ""
        line += f" · {item}" if line else item
    yield line
