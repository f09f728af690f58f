"""Which buttons a page carries, and for whom; what is pressed is tested elsewhere."""

import pytest
from starlette.requests import Request

from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.web.access import ANYBODY, Access, Everybody, Viewer
from syncd.web.pages.actions import (
    LONGEST_REASON,
    Actions,
    Buttons,
    Held,
    Planned,
    Pressed,
    reason_of,
)
from syncd.web.refusals import Denied
from tests import paged

ANA = Viewer(name="ana", may_act=True)
JOE = Viewer(name="joe", may_act=False)


class Desk:
    """Knows one plan that waits."""

    def __init__(self, run_id: str = paged.RUN) -> None:
        self._run_id = run_id

    def press(self, pressed: Pressed) -> str:
        raise AssertionError(pressed)

    def held(self, sync: str) -> Held | None:
        return Held(run_id=self._run_id, plan_hash="sha256:1")

    def planned(self, sync: str) -> Planned | None:
        raise AssertionError(sync)


def buttons(desk: Desk | None = None, key: bytes = b"k" * 32) -> Buttons:
    access = Access(Everybody(), Denied(Clock()))
    return Buttons(desk or Desk(), access, key=key, top=lambda: paged.TOP)


def actions_of(page: object, viewer: Viewer, desk: Desk | None = None) -> object:
    request = Request({"type": "http", "state": {"viewer": viewer}})
    return buttons(desk).extras(request, page)["actions"]


def test_the_plan_of_a_form_is_the_one_that_the_page_shows() -> None:
    page = paged.sync_page()

    shown = actions_of(page, ANA)
    overtaken = actions_of(page, ANA, Desk(run_id="another"))

    assert isinstance(shown, Actions)
    assert isinstance(overtaken, Actions)
    assert shown.held == Held(run_id=paged.RUN, plan_hash="sha256:1")
    assert overtaken.held is None


@pytest.mark.parametrize("viewer", [JOE, ANYBODY])
def test_who_may_only_look_gets_no_button(viewer: Viewer) -> None:
    assert actions_of(paged.sync_page(), viewer) is None


def test_a_page_about_nothing_that_can_be_pressed_has_no_button() -> None:
    assert actions_of(None, ANA) is None
    assert actions_of(paged.run_page(plan=None), ANA) is None


def test_a_token_is_of_one_person_one_form_and_one_installation() -> None:
    tokens = {
        buttons().token(ANA, "/syncs/vip/run"),
        buttons().token(JOE, "/syncs/vip/run"),
        buttons().token(ANA, "/syncs/vip/plan"),
        buttons(key=b"l" * 32).token(ANA, "/syncs/vip/run"),
    }

    assert len(tokens) == 4
    assert buttons().token(ANA, "/syncs/vip/run") in tokens


def test_a_reason_is_one_line() -> None:
    assert reason_of({"reason": "  a redesign\r\n of the audience "}) == (
        "a redesign of the audience"
    )


@pytest.mark.parametrize("words", ["", " \n", "a" * (LONGEST_REASON + 1), "a\x1b[2Jb"])
def test_what_is_no_reason_is_refused(words: str) -> None:
    with pytest.raises(SyncdError) as caught:
        reason_of({"reason": words})

    assert caught.value.code == "form.reason"
