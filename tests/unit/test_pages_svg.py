"""The pages' pictures: what they draw, what they say, what they cost."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest

from syncd.model import Outcome
from syncd.web.pages import svg
from syncd.web.pages.burn_down import burn_down
from syncd.web.pages.views import Cell, Month

UNQUOTED = re.compile(r"=([^\s\"'>/][^\s\"'>]*)")


def parsed(markup: str) -> ET.Element:
    """The picture as XML, which wants every value in quotes."""
    return ET.fromstring(UNQUOTED.sub(r'="\1"', str(markup)))  # noqa: S314 - our own


def said(markup: str) -> str:
    """What a picture says to who cannot see it."""
    return parsed(markup).findtext("title") or ""


def strokes(markup: str) -> dict[str, str]:
    """Class of a path -> what it draws."""
    return {
        path.get("class", ""): path.get("d", "") for path in parsed(markup).iter("path")
    }


def cells(*outcomes: str) -> list[Cell]:
    return [
        Cell(run_id=f"run-{number:02d}", outcome=outcome, words=f"{outcome}, {number}")
        for number, outcome in enumerate(outcomes)
    ]


def month(**changes: object) -> Month:
    values: dict[str, object] = {
        "project": "amplitude",
        "used": 65,
        "limit": 500,
        "reserve": 50,
        "forecast": 166,
        "elapsed": 0.4,
        "spent": ((0.1, 20), (0.3, 65)),
        "words": "asked 12 m ago",
    }
    return Month(**(values | changes))  # type: ignore[arg-type]


def test_a_freshness_bar_is_full_once_all_that_was_promised_is_used_up() -> None:
    half = strokes(svg.freshness(0.5, "50 % of 3 h", "fine"))
    full = strokes(svg.freshness(1.0, "100 % of 3 h", "bad"))
    over = strokes(svg.freshness(7.3, "730 % of 3 h", "bad"))

    assert half == {"g": "M0,4h60"}
    assert full == over == {"b": "M0,4h120"}


def test_without_a_promise_there_is_no_bar_and_the_words_still_stand() -> None:
    picture = svg.freshness(None, "nothing promised", "idle")

    assert strokes(picture) == {}
    assert said(picture) == "nothing promised"


def test_a_sparkline_says_the_newest_size_and_the_range() -> None:
    picture = svg.sparkline([48_000, 47_900, 48_502, 48_489])

    assert said(picture) == "48,489; 47,900 to 48,502"
    assert strokes(picture)[""].startswith("M104 ")


@pytest.mark.parametrize("sizes", [[], [7]])
def test_less_than_two_sizes_are_no_line(sizes: Sequence[int]) -> None:
    assert svg.sparkline(sizes) == ""


def test_a_sparkline_of_one_size_is_level() -> None:
    assert strokes(svg.sparkline([5, 5, 5]))[""] == "M108 14l4 0 4 0"


def test_a_thinned_sparkline_ends_with_the_newest_size() -> None:
    whole = strokes(svg.sparkline([0, 10, 0, 10]))[""]
    thinned = strokes(svg.sparkline([0, 10, 0, 10], every=2))[""]

    assert whole == "M104 26l4-24 4 24 4-24"
    assert thinned == "M108 2l8 0"


def test_entered_goes_up_and_exited_down_on_one_scale() -> None:
    drawn = strokes(svg.bars([(100, 0), (0, 50)]))

    assert drawn["n"] == "M112 13v-13h4v13h4z"
    assert drawn["x"] == "M112 15h4v6h4v-6z"


def test_whoever_moved_is_seen() -> None:
    drawn = strokes(svg.bars([(10_000, 0), (1, 0)]))

    assert drawn["n"] == "M112 13v-13h4v12h4v1z"


def test_a_bar_beyond_the_scale_is_cut_notched_and_counted() -> None:
    moves = [(10, 10)] * 29 + [(900, 0)]

    picture = svg.bars(moves)

    assert said(picture) == "1,190 entered, 290 exited, cut at 10 of 900"
    assert strokes(picture)["w"] == "M116 3h4"


def test_nobody_moved_is_no_picture() -> None:
    assert svg.bars([(0, 0)] * 30) == ""
    assert svg.bars([]) == ""


def test_bars_of_several_runs_add_up_and_the_newest_is_whole() -> None:
    single = said(svg.bars([(1, 2), (3, 4), (5, 6)]))
    summed = svg.bars([(1, 2), (3, 4), (5, 6)], every=2)

    assert said(summed).startswith("9 entered, 12 exited")
    assert single.startswith("9 entered, 12 exited")
    # (1, 2) alone, then (8, 10).
    assert strokes(summed)["n"] == "M104 13v-1h8v-9h8v10z"


def test_each_outcome_of_a_run_has_a_height_or_shape_of_its_own() -> None:
    drawn = {
        outcome: re.sub(
            r"^M\d+ ",
            "",
            "".join(strokes(svg.strip(cells(outcome), linked=False)).values()),
        )
        for outcome in (*(each.value for each in Outcome), "running")
    }

    assert len(set(drawn.values())) == len(drawn)


def test_neighbours_that_ended_alike_are_one_line() -> None:
    picture = svg.strip(cells(*["success"] * 29, "failed"), linked=False, most=0)

    assert strokes(picture) == {"s": "M0 11h144", "f": "M145 9h4"}
    assert said(picture) == "30 runs: 29 success, 1 failed"
    assert parsed(picture).get("role") == "img"


def test_a_linked_strip_leads_from_each_cell_to_its_run() -> None:
    picture = parsed(svg.strip(cells("success", "no_change", "held"), linked=True))

    links = picture.findall("a")
    assert [link.get("href") for link in links] == [
        "/runs/run-00",
        "/runs/run-01",
        "/runs/run-02",
    ]
    assert [link.findtext("title") for link in links][2] == "held, 2"
    # Links inside of an image would be hidden from screen readers.
    assert picture.get("role") is None


def test_a_small_strip_leads_to_the_newest_that_did_not_go_well() -> None:
    picture = parsed(
        svg.strip(cells("failed", "success", "partial", "held"), linked=False, most=2)
    )

    hrefs = [link.get("href") for link in picture.findall("a")]
    assert hrefs == ["/runs/run-02", "/runs/run-03"]
    assert len(picture.findall("path")) == 2


def test_only_the_last_thirty_runs_are_drawn() -> None:
    picture = svg.strip(cells(*["failed"] * 10, *["success"] * 30), linked=True)

    assert said(picture) == "30 runs: 30 success"


def test_what_a_run_says_is_escaped() -> None:
    hostile = Cell(run_id='"><script>', outcome="held", words="</title><script>&")

    picture = parsed(svg.strip([hostile], linked=True))

    assert [each.tag for each in picture.iter()] == [
        "svg",
        "title",
        "a",
        "title",
        "path",
    ]
    assert picture.findtext("a/title") == "</title><script>&"
    (link,) = picture.findall("a")
    assert link.get("href") == '/runs/"><script>'


def test_an_unknown_outcome_is_drawn_all_the_same() -> None:
    assert said(svg.strip(cells("transcended"), linked=False)) == "1 run: 1 transcended"


def test_the_month_says_its_numbers_and_draws_the_forecast_from_now() -> None:
    picture = burn_down(month())

    drawn = strokes(picture)
    assert said(picture) == (
        "65 of 500 downloads used, even pace 180, forecast 166, 50 reserved"
    )
    assert drawn["c"].startswith("M128 ")
    assert "L320 " in drawn["c"]
    assert drawn["q"].endswith("H128")


def test_a_month_over_its_limit_stays_inside_of_its_picture() -> None:
    picture = burn_down(month(used=700, forecast=900, spent=((0.2, 700),)))

    numbers = [int(each) for each in re.findall(r"[ V](\d+)", strokes(picture)["q"])]
    assert all(0 <= each <= 120 for each in numbers)


def test_a_month_of_many_downloads_is_drawn_in_few_steps() -> None:
    spent = tuple((number / 1250, number) for number in range(1, 501))

    path = strokes(burn_down(month(used=500, spent=spent)))["q"]

    assert path.count("V") <= 33
    assert re.findall(r"V(\d+)", path)[-1] == "16"


def test_exit_shares_stand_beside_each_other_and_the_last_one_stands_out() -> None:
    picture = svg.shares([0.011, 0.009, 0.314])

    assert said(picture) == "exit shares, oldest first: 1.1 %, 0.9 %, 31 %"
    kinds = [path.get("class") for path in parsed(picture).iter("path")]
    assert kinds == ["i", "i", "h"]


def test_the_longest_step_fills_its_bar() -> None:
    assert strokes(svg.step_bar(200.0, 200.0)) == {"u": "M0,4h120"}
    assert strokes(svg.step_bar(0.0, 200.0)) == {"u": "M0,4h1"}
    assert strokes(svg.step_bar(0.0, 0.0)) == {"u": "M0,4h1"}
