"""Whether the schedules fit into the month's downloads, asked of the raw tree.

The arithmetic is in `forecast`; here is what the files say, and where they say it.
A sync or a quota that cannot be read is left out: the schema refuses it anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from syncd.config.feeding import PUSH, RELIST_BY_DOWNLOAD, via_of
from syncd.config.findings import key_place, node_at, value_place
from syncd.config.forecast import (
    Demand,
    Excess,
    Relists,
    budget_text,
    downloads_of,
    excesses,
)
from syncd.config.inbound_values import SpanOrNever
from syncd.config.place import Place
from syncd.config.raw import RawSync, connections, raw_syncs, scalar_text, text
from syncd.config.reader import Mapping, Scalar, plain
from syncd.config.resolve_connections import quota_of
from syncd.config.schedule_text import BadSchedule
from syncd.config.schema import DEFAULT_ZONE, schedule_of
from syncd.config.schema_connections import QuotaShape
from syncd.config.settings import Budget
from syncd.config.settings_connections import QuotaSettings
from syncd.config.wire_values import Spending
from syncd.errors import Problem
from syncd.schedule import Schedule, duration_text

TIGHT = 0.8
"""Share of what may be spent above which there is a warning."""

_BUDGET: TypeAdapter[Budget] = TypeAdapter(Spending)
_RELIST: TypeAdapter[timedelta | Literal["never"]] = TypeAdapter(SpanOrNever)


@dataclass(frozen=True, slots=True)
class _Project:
    """One quota and the connection that says it first."""

    key: str
    connection: str
    quota: QuotaSettings


def spending_problems(root: Mapping) -> Iterator[Problem]:
    """Quotas that contradict, syncs that do not fit, months that are nearly full."""
    projects: dict[str, _Project] = {}
    for found in _projects(root):
        if found.quota.reserve >= found.quota.downloads_per_month:
            yield _bad_reserve(root, found)
            continue
        first = projects.setdefault(found.key, found)
        if first.quota != found.quota:
            yield _conflict(root, first, found)
    for project in projects.values():
        demands = [
            (sync, demand)
            for sync in raw_syncs(root)
            if (demand := _demand(root, sync, project.key))
        ]
        if demands:
            yield from _verdict(root, project, demands)


def _verdict(
    root: Mapping, project: _Project, demands: Sequence[tuple[RawSync, Demand]]
) -> Iterator[Problem]:
    found = excesses([demand for _, demand in demands], project.quota)
    for excess in found:
        yield _exceeded(*demands[excess.index], excess, project.quota)
    quota = project.quota
    spendable = quota.downloads_per_month - quota.reserve
    total = sum(downloads_of(demand) for _, demand in demands)
    if not found and total > TIGHT * spendable:
        message = f"the schedules may spend {total:,} of {spendable:,} downloads"
        hint = "other tools spend from them too: leave more room"
        place = key_place(root, _quota_path(root, project.connection))
        yield place.problem("quota.tight", message, hint=hint, severity="warning")


def _exceeded(
    sync: RawSync, demand: Demand, excess: Excess, quota: QuotaSettings
) -> Problem:
    place, written = _slow_down(sync, demand)
    limit, reserve = quota.downloads_per_month, quota.reserve
    kept = f" ({reserve:,} are reserved)" if reserve else ""
    capped = "" if demand.budget is None else f", {budget_text(demand.budget)}"
    message = (
        f"'{written}'{capped} needs {_downloads(excess.downloads)} a month; "
        f"{excess.left:,} of {limit:,} are left{kept}"
    )
    hint = _proposal(excess, by_push=demand.relists is not None)
    return place.problem("quota.exceeded", message, hint=hint)


def _slow_down(sync: RawSync, demand: Demand) -> tuple[Place, str]:
    """What causes the downloads: where it is written, and how."""
    if demand.relists is None or demand.relists.every is None:
        return sync.place("schedule"), _written(sync)
    every, entry = demand.relists.every, sync.entry("from", "relist_every")
    place = sync.place("from") if entry is None else entry.node.place
    return place, f"relist_every: {duration_text(every)}"


def _downloads(count: int) -> str:
    return f"{count:,} download" + ("" if count == 1 else "s")


def _proposal(excess: Excess, *, by_push: bool) -> str:
    ways = []
    if excess.interval is not None:
        interval = duration_text(excess.interval)
        ways.append(f"relist_every: {interval}" if by_push else f"every {interval}")
    if excess.budget is not None:
        ways.append(f"budget: {budget_text(excess.budget)}")
    if not ways:
        return "nothing fits: slow down or leave out another sync"
    return f"fits: {', or '.join(ways)}"


def _written(sync: RawSync) -> str:
    """The schedule as the person wrote it."""
    node = node_at(sync.node, ("schedule",))
    if isinstance(node, Mapping):
        return f"cron {text(node, 'cron')}"
    return node.text if isinstance(node, Scalar) else ""


def _demand(root: Mapping, sync: RawSync, project: str) -> Demand | None:
    connection = text(sync.node, "from", "connection") or ""
    if not sync.enabled or _key_of(root, connection) != project:
        return None
    schedule = _schedule(root, sync)
    if schedule is None or text(sync.node, "from", "cohort_id") is None:
        return None
    by_push = via_of(sync) == PUSH
    relists = _relists(sync) if by_push else None
    if by_push and relists is None:
        return None
    return Demand(
        sync=sync.name,
        project=project,
        schedule=schedule,
        budget=_budget(sync),
        relists=relists,
    )


def _relists(sync: RawSync) -> Relists | None:
    """None where the files say something that the schema refuses."""
    entry = sync.entry("from", "relist_every")
    if entry is None:
        return Relists(every=RELIST_BY_DOWNLOAD)
    try:
        every = _RELIST.validate_python(plain(entry.node))
    except ValidationError:
        return None
    return Relists(every=None if every == "never" else every)


def _schedule(root: Mapping, sync: RawSync) -> Schedule | None:
    node = node_at(sync.node, ("schedule",))
    value = None if node is None else plain(node)
    default = scalar_text(node_at(root, ("defaults", "timezone")))
    zone = text(sync.node, "timezone") or default or DEFAULT_ZONE
    if not isinstance(value, str | dict):
        return None
    try:
        return schedule_of(value, zone)
    except (BadSchedule, ValidationError):
        return None


def _budget(sync: RawSync) -> Budget | None:
    entry = sync.entry("budget")
    try:
        return None if entry is None else _BUDGET.validate_python(plain(entry.node))
    except ValidationError:
        return None


def _projects(root: Mapping) -> Iterator[_Project]:
    for name, _, _ in connections(root):
        key, quota = _key_of(root, name), _quota(root, name)
        if key and quota is not None:
            yield _Project(key, name, quota)


def _key_of(root: Mapping, connection: str) -> str:
    """As `forecast.project_key`; empty for what is no complete amplitude project."""
    node = node_at(root, ("connections", connection))
    if not isinstance(node, Mapping) or text(node, "type") != "amplitude":
        return ""
    region, app_id = node_at(node, ("region",)), node_at(node, ("app_id",))
    if not isinstance(region, Scalar) or not isinstance(app_id, Scalar):
        return ""
    return f"{region.value}:{app_id.value}"


def _quota(root: Mapping, connection: str) -> QuotaSettings | None:
    node = node_at(root, ("connections", connection, "quota"))
    try:
        shape = QuotaShape.model_validate({} if node is None else plain(node))
    except ValidationError:
        return None
    return quota_of(shape)


def _bad_reserve(root: Mapping, project: _Project) -> Problem:
    message = f"'reserve' must be less than {project.quota.downloads_per_month:,}"
    place = value_place(root, ("connections", project.connection, "quota", "reserve"))
    return place.problem("value.range", message)


def _conflict(root: Mapping, first: _Project, other: _Project) -> Problem:
    message = f"'{first.connection}' is the same project, with another quota"
    hint = "write the same quota at both"
    place = key_place(root, _quota_path(root, other.connection))
    return place.problem("quota.conflict", message, hint=hint)


def _quota_path(root: Mapping, connection: str) -> tuple[str, ...]:
    path = ("connections", connection, "quota")
    return path if node_at(root, path) is not None else path[:-1]
