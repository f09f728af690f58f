"""What operators ask for, cut at every passage: repair, resync, detach, forget.

As `tests/reliability/killing/stories.py`, whose people they are about.
"""

from sqlalchemy import create_engine, inspect

from tests.reliability.killing.beside import certain, reading, rows, uncertain
from tests.reliability.killing.cutting import Play, Story
from tests.reliability.killing.forked import Forked, Passage
from tests.reliability.killing.stories import KNOWN, REASON, say, synced


class Repair(Story):
    """`verify --repair`: who is missing is added again, strangers stay."""

    name, codes = "verify --repair", (6,)
    command: tuple[str, ...] = ("verify", "vip", "--repair", "--yes", *REASON)

    def arrange(self, play: Play) -> None:
        """Somebody else took five out and put four in."""
        synced(play, KNOWN[:30])
        play.notes["others"] = {*KNOWN[:5], *KNOWN[30:34]}
        play.simulator.change(
            play.simulator.cohort_id(), remove=KNOWN[:5], add=KNOWN[30:34]
        )

    def judge(self, play: Play) -> None:
        """Nobody is wrong but who was touched by others."""
        wrong = (self.there(play) ^ certain(play.url)) - uncertain(play.url)
        assert wrong <= play.notes["others"]
        self.require_no_wrongful_removal(play)

    def finish(self, play: Play) -> None:
        """Repaired once more."""
        play.run()
        ended = play.stage.syncd(*self.command)
        assert ended.code in (0, 6), ended.out + ended.err
        assert self.there(play) == {*play.wanted, *KNOWN[30:34]}
        assert certain(play.url) == play.wanted
        assert uncertain(play.url) == set()


class Push(Story):
    """`resync --push`: everybody is sent again."""

    name = "resync --push"
    command = ("resync", "vip", "--push", "--yes", *REASON)

    def arrange(self, play: Play) -> None:
        """30 people; the source lost two and gained five since."""
        synced(play, KNOWN[:30])
        say(play, KNOWN[2:35])


class Adopt(Repair):
    """`resync --adopt`: what the cohort holds is what we know from now on."""

    name, codes = "resync --adopt", (0,)
    command = ("resync", "vip", "--adopt", "--yes", *REASON)

    def finish(self, play: Play) -> None:
        """Adopted once more, the next run puts everything right."""
        ended = play.stage.syncd(*self.command)
        assert ended.code == 0, ended.out + ended.err
        play.leaving = set(KNOWN[30:34])
        play.run()
        self.require_right(play)


class Detach(Story):
    """`detach --empty`: everybody leaves, then the sync lets go of its cohort."""

    name = "detach --empty"
    command = ("detach", "vip", "--empty", "--yes", *REASON)

    def arrange(self, play: Play) -> None:
        """25 people."""
        synced(play, KNOWN[:25])
        play.leaving, play.wanted = play.wanted, set()

    def finish(self, play: Play) -> None:
        """Asked once more, unless it was done."""
        if rows(play.url, "SELECT id FROM binding"):
            ended = play.stage.syncd(*self.command)
            assert ended.code == 0, ended.out + ended.err
        assert rows(play.url, "SELECT id FROM binding") == []
        self.require_right(play)


class Forget(Story):
    """`forget`: two people leave the cohort and every table."""

    name = "forget"

    def arrange(self, play: Play) -> None:
        """They are in the list, and stay in it."""
        synced(play, KNOWN[:25])
        play.leaving = set(KNOWN[:2])
        play.wanted -= play.leaving

    def act(self, play: Play, kill: Passage | None) -> Forked:
        """Their ids come on standard input."""
        started = play.stage.fork("forget", "-", "--json", kill=kill, stdin=KNOWN[:2])
        started.child.wait()
        return started

    def finish(self, play: Play) -> None:
        """Asked once more; nothing of them is left in any table."""
        self.act(play, None)
        play.run()
        self.require_right(play)
        with reading(play.url) as store:
            for table in tables(play):
                content = str(list(store.execute(f"SELECT * FROM {table}")))
                assert not any(one in content for one in play.leaving), table


def tables(play: Play) -> list[str]:
    """Every table of the store."""
    engine = create_engine(address(play.url))
    try:
        return [f'"{name}"' for name in inspect(engine).get_table_names()]
    finally:
        engine.dispose()


def address(url: str) -> str:
    """As SQLAlchemy wants it."""
    return url.replace("postgresql://", "postgresql+psycopg://")
