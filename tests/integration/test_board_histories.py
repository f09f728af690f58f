"""What is kept for the pictures is what the store would tell anew."""

from datetime import timedelta
from pathlib import Path

import pytest

from syncd.app.board.histories import Histories
from syncd.config.settings import Settings
from syncd.model import Outcome, Trigger
from syncd.report.standing import standings
from syncd.store import runs
from syncd.store.database import Database
from syncd.web.pages.svg import RUNS
from syncd.web.pages.views import History
from tests.builders import ManualClock, new_database, settings_of, sync_settings

HOUR = timedelta(hours=1)


@pytest.fixture
def settings() -> Settings:
    return settings_of(sync_settings("vip"), sync_settings("calm"))


class Past:
    """Runs of two syncs; `calm` runs once in a while."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.database: Database = new_database(folder)
        self.clock = ManualClock()
        self._settings = settings
        self._count = 0
        with self.database.begin() as connection:
            for sync in settings.syncs:
                runs.know_sync(connection, sync.name, self.clock.now())

    def run(self, sync: str, *, ends: bool = True) -> None:
        """One run, a minute after the last."""
        self.clock.advance(timedelta(minutes=1))
        self._count += 1
        run_id, now = f"run-{self._count:04d}", self.clock.now()
        with self.database.begin() as connection:
            runs.begin(
                connection,
                run_id=run_id,
                sync_name=sync,
                slot=None,
                trigger=Trigger.SCHEDULE,
                config_hash="c0ffee",
                now=now,
            )
            if ends:
                runs.finish(
                    connection,
                    run_id,
                    outcome=Outcome.SUCCESS,
                    reason=None,
                    summary={"entered": self._count, "members_after": self._count},
                    now=now,
                )

    def drawn(self, histories: Histories) -> dict[str, History]:
        """What the pictures show of both."""
        syncs = self._settings.syncs
        with self.database.read() as connection:
            found = standings(connection, self._settings, syncs, self.clock)
            return histories.of(connection, found, self.clock.now())


@pytest.fixture
def past(tmp_path: Path, settings: Settings) -> Past:
    return Past(tmp_path, settings)


@pytest.mark.parametrize("news", [0, 1, 2, 3, 4, RUNS, RUNS + 5])
def test_whatever_is_new_since_the_last_look_is_drawn(past: Past, news: int) -> None:
    kept = Histories()
    for _ in range(5):
        past.run("vip")
    past.drawn(kept)

    for _ in range(news):
        past.run("vip")
    past.run("calm")

    found = past.drawn(kept)
    assert found == past.drawn(Histories())
    assert len(found["vip"].cells) == min(5 + news, RUNS)
    assert len(found["calm"].cells) == 1


def test_a_run_in_progress_is_drawn_and_not_kept(past: Past) -> None:
    kept = Histories()
    past.run("vip")
    past.run("vip", ends=False)

    found = [past.drawn(kept)["vip"] for _ in range(2)]

    assert [each.outcome for each in found[1].cells] == ["success", "running"]
    assert found[0] == found[1]


def test_the_next_day_moments_are_said_as_of_that_day(past: Past) -> None:
    kept = Histories()
    past.run("vip")
    before = past.drawn(kept)["vip"].cells[0].words

    past.clock.advance(24 * HOUR)

    after = past.drawn(kept)["vip"].cells[0].words
    assert after == past.drawn(Histories())["vip"].cells[0].words
    assert after != before
