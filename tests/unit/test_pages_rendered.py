"""What the pages are made of: small, self-contained, said in words, safe."""

import re
from collections.abc import Mapping

import pytest

from syncd import help as runbook
from syncd.web.pages import render
from syncd.web.pages.views import Count, Fact, Link, Mark, Trip
from tests import paged
from tests.paged import Reader, shown

PAGE, STYLE = 60 * 1024, 16 * 1024
"""Bytes that a page and the style sheet may have, not compressed."""
HOSTILE = '<script>alert(\'x\')</script>" onmouseover="evil()" &amp; <b>'
REAL_PAGES = ("list", "sync", "run")


def size(template: str, page: object) -> int:
    return len(render.page(template, {**paged.NOBODY, "page": page}))


def every_page() -> Mapping[str, Reader]:
    """One of each kind."""
    guard = runbook.find("guard.max_exit")
    top = {"top": paged.TOP}
    return {
        "list": shown("list", paged.list_page(*paged.rows(4))),
        "sync": shown("sync", paged.sync_page()),
        "run": shown("run", paged.run_page()),
        "help": shown("help", None, pages=guard, asked="guard.max_exit", **top),
        "help_index": shown("help_index", None, groups=[("Guards", guard)], **top),
        "said": shown("said", None, title="Not found", what="No.", near=(), **top),
    }


@pytest.fixture(params=list(every_page()))
def page(request: pytest.FixtureRequest) -> Reader:
    return every_page()[request.param]


# --- budgets --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 8, 9, 24, 25, 50])
def test_the_list_is_small_however_many_syncs_there_are(count: int) -> None:
    assert size("list", paged.list_page(*paged.rows(count))) <= PAGE


def test_the_list_is_small_on_the_day_when_nothing_goes_well() -> None:
    rows = paged.rows(50, well=False)

    assert size("list", paged.list_page(*rows)) <= PAGE


def test_pages_of_syncs_and_runs_and_the_style_sheet_are_small() -> None:
    assert size("sync", paged.sync_page()) <= PAGE
    assert size("run", paged.run_page()) <= PAGE
    assert len(render.assets()["/style.css"].body) <= STYLE


# --- nothing from elsewhere -----------------------------------------------------------


def test_a_page_refers_to_nothing_elsewhere(page: Reader) -> None:
    for each in page.elements:
        for name in ("href", "src", "action"):
            value = each.attributes.get(name)
            assert value is None or re.match(r"/(?!/)|#|data:image/svg", value), each


def test_a_page_needs_nothing_that_its_policy_forbids(page: Reader) -> None:
    assert not page.all("style")
    assert all(
        not each.text and "src" in each.attributes for each in page.all("script")
    )
    for each in page.elements:
        assert "style" not in each.attributes
        assert not any(name.startswith("on") for name in each.attributes)


def test_a_page_is_useful_without_scripts_and_looks_again_by_itself() -> None:
    pages = every_page()

    for name, page in pages.items():
        again = [each for each in page.all("meta") if "http-equiv" in each.attributes]
        if name in REAL_PAGES:
            (refresh,) = again
            assert (refresh.attributes["content"], refresh.path[-1]) == (
                "15",
                "noscript",
            )
        else:
            assert not again


# --- for everybody --------------------------------------------------------------------


def test_a_page_has_a_language_a_title_one_main_heading_and_a_way_past_the_top(
    page: Reader,
) -> None:
    assert page.declaration.lower() == "doctype html"
    assert page.one("html").attributes["lang"] == "en"
    assert page.all("title")[0].text.endswith("· syncd prod-eu")
    assert len(page.all("h1")) == 1
    assert page.one("a", class_="skip").attributes["href"] == "#main"
    assert page.one("main").attributes["id"] == "main"


def test_headings_never_skip_a_level(page: Reader) -> None:
    levels = [
        int(each.tag[1]) for each in page.elements if each.tag in ("h1", "h2", "h3")
    ]

    assert levels[0] == 1
    assert set(levels) <= {1, 2}


def test_tables_say_what_they_are_and_what_their_rows_and_columns_are(
    page: Reader,
) -> None:
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(
        each.attributes.get("scope") in ("row", "col") for each in page.all("th")
    )


def test_every_picture_says_its_numbers(page: Reader) -> None:
    pictures = [n for n, each in enumerate(page.elements) if each.tag == "svg"]

    for index in pictures:
        first = page.elements[index + 1]
        assert first.tag == "title"
        assert re.search(r"\d|nothing", first.text), first.text


def test_sections_are_named(page: Reader) -> None:
    ids = {each.attributes.get("id") for each in page.elements}

    for each in page.all("section"):
        named = each.attributes.get("aria-labelledby")
        assert named in ids or "aria-label" in each.attributes or page.all("dl")


def test_a_state_is_a_glyph_and_a_word_and_its_glyph_is_not_read_out() -> None:
    page = shown("list", paged.list_page(*paged.rows(4)))

    marks = [each for each in page.all("b") if each.path[-1] == "th"]
    assert [each.text for each in marks] == ["◆ held"] * 3 + ["● on time"]
    glyphs = [each for each in page.all("i") if each.path[-1] == "b"]
    assert {each.attributes["aria-hidden"] for each in glyphs} == {"true"}


def colours(dark: bool) -> dict[str, str]:
    sheet = render.assets()["/style.css"].body.decode()
    at_night = "@media screen and (prefers-color-scheme: dark)"
    light_part, _, rest = sheet.partition(at_night)
    part = rest.partition("* {")[0] if dark else light_part
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", part))


def luminance(colour: str) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_of_words_can_be_read(dark: bool) -> None:
    known = colours(dark)
    words = "ink soft accent fine late bad held busy idle in out".split()

    assert known.keys() == {*words, "paper", "panel", "line"}
    for word in words:
        for ground in ("paper", "panel"):
            assert contrast(known[word], known[ground]) >= 4.5, (word, ground)


# --- the list -------------------------------------------------------------------------


def test_the_list_begins_with_what_needs_a_person_and_what_to_type() -> None:
    page = shown("list", paged.list_page(*paged.rows(4)))

    inside = [each for each in page.elements if each.path[-1:] == ("main",)]
    first = inside[0]
    assert first.attributes["class"] == "needed held"
    for words in (
        "1 of 4 syncs needs you.",
        "churn-risk is held: 9,870 people would leave.",
        paged.REASON,
        "syncd show a3373d68",
    ):
        assert words in first.text
    assert "1 of 4 syncs needs you." in page.all("title")[0].text


def test_each_cell_of_a_strip_leads_to_its_run_while_syncs_are_few() -> None:
    few = shown("list", paged.list_page(*paged.rows(8)))
    many = shown("list", paged.list_page(*paged.rows(30)))

    def runs(page: Reader) -> int:
        return sum(
            each.attributes["href"].startswith("/runs/") for each in page.all("a")
        )

    assert runs(few) == 8 * 30
    assert 0 < runs(many) <= 30


def test_states_are_links_and_the_chosen_one_is_said() -> None:
    chosen = Count(mark=paged.HELD, count=1, href="/?state=held", chosen=True)

    page = shown("list", paged.list_page(counts=(chosen,), chosen="held"))

    links = [each for each in page.all("a") if "aria-current" in each.attributes]
    assert [(each.attributes["href"], each.text) for each in links] == [
        ("/?state=held", "◆ held 1")
    ]


def test_a_state_without_syncs_offers_all_of_them() -> None:
    page = shown("list", paged.list_page(rows=(), chosen="stale"))

    assert page.one("p", class_="empty").text == "No sync is stale. Show all"
    assert not page.all("table", class_="syncs")


# --- a sync, a run --------------------------------------------------------------------


def test_a_held_plan_shows_its_numbers_and_the_choices_to_type() -> None:
    page = shown("sync", paged.sync_page())

    plan = page.one("section", class_="needed")
    assert 'syncd approve a3373d68 --reason "..."' in plan.text
    assert "Ask retention; nothing is sent while it waits until Wed" in plan.text
    assert page.all("a", href="/help/guard.max_exit")
    assert not page.all("form")


def test_a_decided_plan_says_its_fate_and_offers_no_choice() -> None:
    decided = paged.plan(waits=False, choices=(), fate="This plan was approved.")

    page = shown("run", paged.run_page(plan=decided, decisions=("approved by ann",)))

    assert "This plan was approved." in page.one("main").text
    assert "syncd approve" not in page.one("main").text
    assert "approved by ann" in page.one("main").text


def test_a_failed_run_says_why_and_what_to_type() -> None:
    mark = Mark(glyph="✖", word="failed", tone="bad")
    reasons = (Trip(guard="source.timeout", reason="no answer within 30 s"),)

    page = shown("run", paged.run_page(mark=mark, plan=None, reasons=reasons))

    assert page.one("section", class_="needed").text.strip().startswith("no answer")
    assert page.all("a", href="/help/source.timeout")
    assert "syncd show a3373d68" in page.one("p", class_="do").text


# --- safety ---------------------------------------------------------------------------


def test_whatever_is_written_in_a_configuration_is_only_text() -> None:
    held = paged.plan(
        ask=HOSTILE,
        since=HOSTILE,
        trips=(Trip(guard=HOSTILE, reason=HOSTILE),),
        notes=(HOSTILE,),
    )
    pages = (
        shown(
            "sync",
            paged.sync_page(
                name=HOSTILE,
                description=HOSTILE,
                ends=HOSTILE,
                pause=HOSTILE,
                plan=held,
                facts=(Fact(name=HOSTILE, words=HOSTILE, href="/x"),),
            ),
        ),
        shown("run", paged.run_page(headline=HOSTILE, plan=held, decisions=(HOSTILE,))),
        shown("list", paged.list_page(paged.row(HOSTILE, why=HOSTILE, owner=HOSTILE))),
        shown(
            "said",
            None,
            title="Not found",
            what=HOSTILE,
            near=(Link(words=HOSTILE, href=f"/syncs/{HOSTILE}"),),
            top=paged.TOP,
        ),
    )

    for page in pages:
        assert HOSTILE in page.one("main").text
        assert all(each.text == "" for each in page.all("script"))
        assert not [
            each for each in page.elements if "onmouseover" in "".join(each.attributes)
        ]


# --- help -----------------------------------------------------------------------------


def test_help_links_to_the_codes_it_speaks_of_and_not_to_itself() -> None:
    text = "See `guard.max_exit`, outcome.held and `syncd show RUN`; <b> stays."

    linked = str(render.linked(text, ("outcome.held",)))

    assert linked == (
        'See <a class=code href="/help/guard.max_exit">guard.max_exit</a>, '
        "outcome.held and <code>syncd show RUN</code>; &lt;b&gt; stays."
    )


def test_every_help_page_can_be_shown() -> None:
    for each in runbook.pages():
        page = shown("help", None, pages=[each], asked=each.codes[0], top=paged.TOP)

        assert [heading.text for heading in page.all("h2")] == list(runbook.HEADINGS)
        assert [
            code.text for code in page.all("code") if code.path[-1] == "pre"
        ] == list(each.diagnosis)
