"""Pages for tests: views with defaults, and a reader of what was made of them."""

import random
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from syncd.web.pages import render
from syncd.web.pages.views import (
    Cause,
    Cell,
    Choice,
    Count,
    Fact,
    Figure,
    Freshness,
    History,
    Link,
    ListPage,
    Mark,
    Month,
    Needed,
    Plan,
    Row,
    RunLine,
    RunPage,
    Stage,
    Step,
    SyncPage,
    Top,
    Trip,
)

RUN = "019a8f3c-7d2e-7001-8a1b-0002a3373d68"
HELD = Mark(glyph="◆", word="held", tone="held")
FINE = Mark(glyph="●", word="on time", tone="fine")
TOP = Top(instance="prod-eu", version="0.4.0", now="Tue 12 May 11:41:05 CEST")
REASON = "9,870 of 31,433 people would leave (31.4%, limit 20%)"
NOBODY: dict[str, Any] = {"viewer": None, "actions": None}
"""What a template is given beside the page where nobody signed in."""

VOID = {"meta", "link", "br", "input", "img", "hr"}


@dataclass
class Element:
    """One element as a browser would find it."""

    tag: str
    attributes: dict[str, str]
    path: tuple[str, ...]
    """The tags around it that were open; ends that may be left out are not missed."""
    text: str = ""


@dataclass
class Reader(HTMLParser):
    """Every element of a page, with its text."""

    elements: list[Element] = field(default_factory=list)
    declaration: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []

    def handle_decl(self, decl: str) -> None:
        self.declaration = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)

    def _add(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        path = tuple(each.tag for each in self._open)
        given = {name: value or "" for name, value in attrs}
        self.elements.append(Element(tag, given, path))

    def handle_endtag(self, tag: str) -> None:
        tags = [each.tag for each in self._open]
        if tag in tags:
            del self._open[len(tags) - 1 - tags[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        for each in self._open:
            each.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of a tag with these attributes; `class_` is one word of it."""
        word = attributes.pop("class_", "")
        return [
            each
            for each in self.elements
            if each.tag == tag
            and attributes.items() <= each.attributes.items()
            and (not word or word in each.attributes.get("class", "").split())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only one."""
        (found,) = self.all(tag, **attributes)
        return found


def read(body: bytes) -> Reader:
    """What a browser finds in it."""
    reader = Reader()
    reader.feed(body.decode())
    reader.close()
    return reader


def shown(template: str, page: object, **values: Any) -> Reader:
    """A page that was rendered, and read."""
    return read(render.page(template, {**NOBODY, "page": page, **values}))


# --- views ----------------------------------------------------------------------------


def cells(rng: random.Random, *, well: bool = True) -> tuple[Cell, ...]:
    """30 runs of the usual kind, or of a day on which a vendor is down."""
    outcomes = ["success", "no_change", "partial", "failed", "held"]
    weights = [70.0, 25.0, 3.0, 1.5, 0.5] if well else [0.0, 0.0, 1.0, 99.0, 0.0]
    return tuple(
        Cell(
            run_id=f"019a8f3c-7d2e-7{number:03d}-8a1b-{rng.randrange(16**12):012x}",
            outcome=rng.choices(outcomes, weights)[0],
            words="success, Tue 03:01 CEST, +412 -133",
        )
        for number in range(30)
    )


def history(rng: random.Random, *, well: bool = True) -> History:
    """30 runs in which people move."""
    sizes = [48_000]
    for _ in range(29):
        sizes.append(sizes[-1] + rng.randint(-900, 900))
    moves = [(rng.randint(0, 900), rng.randint(0, 700)) for _ in range(30)]
    return History(sizes=tuple(sizes), moves=tuple(moves), cells=cells(rng, well=well))


def row(name: str = "churn-risk", *, seed: int = 1, **changes: Any) -> Row:
    values: dict[str, Any] = {
        "name": name,
        "owner": "growth-team",
        "direction": "Engage → Amplitude",
        "mark": FINE,
        "also": "",
        "why": "",
        "freshness": Freshness(share=0.16, words="16 % of 3 h", tone="fine"),
        "last": "28 m ago",
        "next": "Wed 12:12 CEST",
        "size": "48,489",
        "history": history(random.Random(seed)),  # noqa: S311 - the same pages each time
    }
    return Row(**(values | changes))


def rows(count: int, *, well: bool = True) -> tuple[Row, ...]:
    """Syncs with names as long as names are; the first three are held."""
    ill: dict[str, Any] = {"mark": HELD, "also": "overdue 4 h", "why": REASON}
    return tuple(
        row(
            f"power-users-of-brand-{number:02d}",
            seed=number,
            history=history(random.Random(number), well=well),  # noqa: S311
            **(ill if number < 3 or not well else {}),
        )
        for number in range(count)
    )


def needed(**changes: Any) -> Needed:
    values: dict[str, Any] = {
        "sentence": "1 of 4 syncs needs you.",
        "mark": HELD,
        "worst": "churn-risk is held: 9,870 people would leave.",
        "reason": REASON,
        "command": "syncd show a3373d68",
        "look": Link(words="Look", href="/syncs/churn-risk"),
    }
    return Needed(**(values | changes))


def list_page(*syncs: Row, **changes: Any) -> ListPage:
    values: dict[str, Any] = {
        "top": TOP,
        "needed": needed(),
        "counts": (
            Count(mark=HELD, count=1, href="/?state=held"),
            Count(mark=FINE, count=3, href="/?state=on_time"),
        ),
        "figures": tuple(
            Figure(label=label, value="18,204", note="of 500")
            for label in (
                "needs you",
                "stale",
                "running",
                "sent, 24 h",
                "rejected, 24 h",
                "downloads used",
            )
        ),
        "rows": syncs or (row(),),
        "chosen": "",
        "months": (
            Month(
                project="amplitude-eu",
                used=65,
                limit=500,
                reserve=50,
                forecast=166,
                elapsed=0.4,
                spent=tuple((number / 65 * 0.4, number) for number in range(1, 66)),
                words="asked 12 m ago, resets Mon 02:00 CEST",
            ),
        ),
        "causes": (
            Cause(
                whose="theirs",
                what="http_5xx (503)",
                count="12 requests in 6 runs, all recovered",
                code="delivery.http_5xx",
            ),
        )
        * 8,
        "notices": (),
        "foot": (
            Fact(name="inbox engage-main", words="last event 12 s ago, 0 waiting"),
        )
        * 6,
    }
    return ListPage(**(values | changes))


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "run_id": RUN,
        "short_id": "a3373d68",
        "waits": True,
        "since": "03:01 CEST",
        "trips": (Trip(guard="guard.max_exit", reason=REASON),),
        "figures": (Figure(label="would exit", value="9,870"),),
        "notes": (),
        "shares": (0.011, 0.314),
        "choices": (
            Choice(
                when="It was meant:",
                command='syncd approve a3373d68 --reason "..."',
                effect="sends exactly this plan",
            ),
        ),
        "until": " until Wed 03:01 CEST, then it is dropped",
        "ask": "retention",
        "fate": "",
    }
    return Plan(**(values | changes))


def run_line(**changes: Any) -> RunLine:
    values: dict[str, Any] = {
        "run_id": RUN,
        "short_id": "a3373d68",
        "started": "03:01 CEST",
        "trigger": "schedule",
        "mark": HELD,
        "took": "52 s",
        "members": "",
        "change": "+58 -9,870 unsent",
        "reason": "guard.max_exit",
    }
    return RunLine(**(values | changes))


def sync_page(**changes: Any) -> SyncPage:
    values: dict[str, Any] = {
        "top": TOP,
        "name": "churn-risk",
        "mark": HELD,
        "also": "overdue 4 h",
        "ends": "cohort 1a2bc3d of amplitude → trait churn_risk of engage",
        "description": "People who may leave.",
        "why": REASON,
        "facts": (Fact(name="owner", words="retention"),),
        "freshness": Freshness(share=1.17, words="117 % of 1 d 4 h", tone="bad"),
        "pause": "",
        "plan": plan(),
        "stages": (Stage(name="people", count="21,621"),),
        "last": run_line(),
        "steps": (Step(name="collect", milliseconds=41.0, took="41 ms", did="read"),),
        "history": history(random.Random(1)),  # noqa: S311
        "counts": (Count(mark=HELD, count=2, href="/syncs/churn-risk?outcome=held"),),
        "began": 2,
        "runs": (run_line(),) * 30,
        "chosen": "",
        "command": "syncd show a3373d68",
    }
    return SyncPage(**(values | changes))


def run_page(**changes: Any) -> RunPage:
    values: dict[str, Any] = {
        "top": TOP,
        "run_id": RUN,
        "short_id": "a3373d68",
        "sync": Link(words="churn-risk", href="/syncs/churn-risk"),
        "mark": HELD,
        "headline": "held since 03:01 CEST by guard.max_exit. Nothing was sent.",
        "origin": "started 03:01:05 CEST by schedule, due 03:00 CEST",
        "reasons": (),
        "plan": plan(),
        "decisions": (),
        "sent_by": None,
        "stages": (Stage(name="people", count="21,621"),),
        "steps": (Step(name="collect", milliseconds=41.0, took="41 ms", did="read"),),
        "sums": (),
        "failures": (),
        "batches": (),
        "more_batches": 0,
        "command": "syncd show a3373d68",
    }
    return RunPage(**(values | changes))
