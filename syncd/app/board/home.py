"""The list: what needs a person first, then every sync, then what is around them."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from syncd.app.board.causes import causes
from syncd.app.board.downloads import burn_downs
from syncd.app.board.histories import Histories
from syncd.app.board.marks import (
    ago,
    beside,
    direction,
    freshness,
    state_mark,
    why,
)
from syncd.report.overview import Overview, next_command, summary
from syncd.report.phrases import (
    connection_sentences,
    daemon_words,
    next_words,
    worker_sentences,
)
from syncd.report.replicas import standing_words, work_words
from syncd.report.standing import Standing
from syncd.report.states import NEEDS_A_PERSON, State
from syncd.report.words import number, plural
from syncd.store import figures, installation
from syncd.store import history as past
from syncd.store.database import Connection
from syncd.web.pages.views import (
    Count,
    Fact,
    Figure,
    History,
    Link,
    ListPage,
    Month,
    Needed,
    Row,
    Top,
)

DAY = timedelta(hours=24)
_UNITS = ("B", "KB", "MB", "GB", "TB")


def home(
    connection: Connection,
    seen: Overview,
    top: Top,
    chosen: State | None,
    file: Path | None,
    histories: Histories,
) -> ListPage:
    """The page; `file` is what a SQLite store is kept in."""
    shown = [one for one in seen.standings if chosen in (None, one.state)]
    drawn = histories.of(connection, shown, seen.now)
    downloads = tuple(burn_downs(connection, seen))
    return ListPage(
        top=top,
        needed=_needed(seen),
        counts=tuple(_counts(seen, chosen)),
        figures=tuple(_figures(connection, seen, downloads)),
        rows=tuple(_row(seen, one, drawn[one.sync.name]) for one in shown),
        chosen=chosen.value if chosen else "",
        months=downloads,
        causes=tuple(causes(connection, seen.now)),
        notices=tuple(_notices(seen)),
        foot=tuple(_foot(connection, seen, file)),
    )


def _notices(seen: Overview) -> Iterator[str]:
    told = [worker_sentences(seen)]
    told += [connection_sentences(seen, state) for state in seen.connections]
    return (" ".join(sentences) for sentences in told if sentences)


# --- what needs a person --------------------------------------------------------------


def _needed(seen: Overview) -> Needed:
    states = [one.state for one in seen.standings]
    command = next_command(seen)
    if not seen.standings:
        mark = state_mark(State.OFF)
        return Needed(
            sentence=summary(states),
            mark=mark,
            worst="",
            reason="",
            command=command,
            look=None,
        )
    worst = seen.standings[0]
    needs = worst.state in NEEDS_A_PERSON
    return Needed(
        sentence=summary(states),
        mark=state_mark(worst.state),
        worst=_worst(worst) if needs else "",
        reason=_reason(seen, worst) if needs else "",
        command=command,
        look=Link(words="Look", href=f"/syncs/{worst.sync.name}") if needs else None,
    )


def _worst(one: Standing) -> str:
    """`churn-risk is held: 9,870 people would leave.`"""
    name, held = one.sync.name, one.held
    late = f", {beside(one)}" if one.overdue is not None else ""
    if held is None:
        return f"{name} is {one.state}{late}."
    numbers = held.summary
    guards = [str(each["guard"]) for each in numbers.get("trips", ())]
    enters = any("enter" in guard for guard in guards) or not numbers.get("to_exit")
    count = numbers.get("to_enter" if enters else "to_exit", 0)
    who = f"{_people(count)} would {'enter' if enters else 'leave'}"
    return f"{name} is {one.state}{late}: {who}."


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{number(count)} people"


def _reason(seen: Overview, one: Standing) -> str:
    told = why(one)
    if told:
        return told
    if one.last_success_at is None:
        return "It never succeeded."
    return f"It last succeeded {ago(one.last_success_at, seen.now)}."


def _counts(seen: Overview, chosen: State | None) -> Iterator[Count]:
    """Those that matter though nobody is in them, and all that somebody is in."""
    by_state = Counter(one.state for one in seen.standings)
    for state in State:
        if by_state[state] or state in NEEDS_A_PERSON:
            yield Count(
                mark=state_mark(state),
                count=by_state[state],
                href=f"/?state={state.value.replace(' ', '_')}",
                chosen=state is chosen,
            )


def _figures(
    connection: Connection, seen: Overview, downloads: tuple[Month, ...]
) -> Iterator[Figure]:
    states = [one.state for one in seen.standings]
    need = sum(state in NEEDS_A_PERSON for state in states)
    stale = sum(one.overdue is not None for one in seen.standings)
    running = sum(one.activity is not None for one in seen.standings)
    day = past.sent(connection, seen.now - DAY)
    yield Figure(label="needs you", value=number(need), tone="bad" if need else "")
    tone, href = ("bad", "/?state=stale") if stale else ("", "")
    yield Figure(label="stale", value=number(stale), tone=tone, href=href)
    yield Figure(label="running", value=number(running))
    yield Figure(label="sent, 24 h", value=number(day.accepted))
    unmatched = f"{number(day.unmatched)} unmatched" if day.unmatched else ""
    yield Figure(label="rejected, 24 h", value=number(day.rejected), note=unmatched)
    if downloads:
        fullest = max(downloads, key=lambda each: each.used / max(each.limit, 1))
        yield Figure(
            label="downloads used",
            value=number(fullest.used),
            note=f"of {number(fullest.limit)}",
        )


# --- rows -----------------------------------------------------------------------------


def _row(seen: Overview, one: Standing, drawn: History) -> Row:
    now, last = seen.now, one.last_success_at
    return Row(
        name=one.sync.name,
        owner=one.sync.team,
        direction=direction(seen.settings, one.sync),
        mark=state_mark(one.state),
        also=beside(one),
        why=why(one),
        freshness=freshness(one, now),
        last=ago(last, now) if last else "never",
        next=next_words(one, now),
        size="" if one.members is None else number(one.members),
        history=drawn,
    )


# --- the foot -------------------------------------------------------------------------


def _foot(connection: Connection, seen: Overview, file: Path | None) -> Iterator[Fact]:
    for each in seen.arrivals:
        last = ago(each.last_at, seen.now) if each.last_at else "never"
        words = f"last event {last}, {number(each.waiting)} waiting"
        yield Fact(name=f"{each.door} {each.connection}", words=words)
    waiting, dead = (
        sum(one.waiting[0] for one in seen.standings),
        sum(one.dead[0] for one in seen.standings),
    )
    yield Fact(
        name="outbox",
        words=f"{plural(waiting, 'batch')} waiting, {number(dead)} dead",
        href="/help/batch.dead_lettered" if dead else "",
    )
    yield Fact(name="daemons", words=daemon_words(seen))
    if len(seen.replicas) > 1:
        for one in seen.replicas:
            words = f"{standing_words(one, seen.wall)}, {work_words(one)}"
            yield Fact(name=f"{one.host} {one.pid}", words=words)
    size = _bytes(figures.size(connection, file))
    if file is not None:
        backup = installation.last_backup(connection)
        kept = f"backup {ago(backup, seen.wall)}" if backup else "no backup yet"
        size = f"{size}, {kept}"
    yield Fact(name="store", words=size)


def _bytes(count: int) -> str:
    """`212 MB`."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}"
