"""When news makes a sync run: so long after it arrived, once, and never in vain."""

from datetime import UTC, datetime, timedelta

from syncd.app.reacting import News, wait_or_run

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def looked(
    before: News, *, newest: int, read: int = 0, second: float = 0.0
) -> tuple[News, bool]:
    """A look `second` seconds after noon at a sync that runs 10 s after news."""
    return wait_or_run(
        before,
        newest=newest,
        read=read,
        now=NOON + second * SECOND,
        run_after=10 * SECOND,
    )


def test_news_waits_for_so_long_and_then_runs_the_sync() -> None:
    seen, at_once = looked(News(), newest=1)
    waits, early = looked(seen, newest=1, second=9.9)
    _, runs = looked(waits, newest=1, second=10)

    assert (at_once, early, runs) == (False, False, True)


def test_what_comes_meanwhile_neither_delays_the_run_nor_makes_another() -> None:
    state, _ = looked(News(), newest=1)
    for second in range(1, 10):
        state, early = looked(state, newest=1 + second, second=second)
        assert not early

    state, runs = looked(state, newest=11, second=10)
    _, again = looked(state, newest=11, read=11, second=30)

    assert runs
    assert not again


def test_news_that_a_run_read_meanwhile_is_none() -> None:
    state, _ = looked(News(), newest=5)

    state, runs = looked(state, newest=5, read=5, second=10)
    state, first_sight = looked(state, newest=6, read=5, second=11)

    assert (runs, first_sight) == (False, False)
    assert state.since == NOON + 11 * SECOND


def test_a_sync_that_did_not_read_it_is_tried_again_only_for_something_newer() -> None:
    state, _ = looked(News(), newest=5)
    state, tried = looked(state, newest=5, second=10)

    for second in (11, 20, 30, 3600):
        state, again = looked(state, newest=5, second=second)
        assert not again
    state, _ = looked(state, newest=6, second=4000)
    _, for_newer = looked(state, newest=6, second=4010)

    assert tried
    assert for_newer


def test_a_clock_that_was_set_back_keeps_news_no_longer_than_it_says() -> None:
    state, _ = looked(News(), newest=1, second=3600)

    state, back = looked(state, newest=1, second=0)
    _, runs = looked(state, newest=1, second=10)

    assert not back
    assert runs
