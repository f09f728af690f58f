"""What is cut at every passage: runs, of lists and of downloads.

Each story is small, so that all its passages can be cut: 30 people, batches of 10. The
frame that plays them is `tests/reliability/killing/cutting.py`.
"""

from typing import Any, ClassVar

from tests.reliability.killing.beside import certain, change, rows, uncertain
from tests.reliability.killing.cutting import BATCH, KILLED, Play, Story, people
from tests.reliability.killing.forked import Forked, Passage

KNOWN = people(40)
STRANGERS = people(3, 900)
REASON = ("--reason", "a test")
SECOND_BATCH: Passage = ("http clients.amplitude.membership/sent", 2)
"""Where a run of `Delta` knows of no answer to its second batch."""


def listed(play: Play, ids: list[str], **sync: Any) -> None:
    """A sync of a list of Engage into a cohort; nothing was sent yet."""
    stage = play.stage
    stage.config["defaults"]["delivery"]["batch_size"] = BATCH
    stage.config["defaults"]["guard"] = {"max_exit": "60%"}
    project = stage.config["connections"]["amplitude"]
    project["storage_origin"] = play.simulator.origins["storage"]
    stage.sync(**sync)
    play.simulator.users(KNOWN)
    say(play, ids)


def synced(play: Play, ids: list[str]) -> None:
    """The same, and a first run brought it home."""
    listed(play, ids)
    play.run_once(tuple(ids))


def say(play: Play, ids: list[str]) -> None:
    """The source lists these people from now on."""
    play.stage.audience(ids)
    play.leaving = certain(play.url) - set(ids)
    play.wanted = set(ids) - set(STRANGERS)


class First(Story):
    """The first run: the store, its schema, the cohort, three batches."""

    name, fresh = "first run", True

    def arrange(self, play: Play) -> None:
        """27 people whom Amplitude knows, and three whom it does not."""
        listed(play, KNOWN[:27] + STRANGERS)


class Delta(Story):
    """Some enter, some leave."""

    name = "enter and exit"

    def arrange(self, play: Play) -> None:
        """A first run; then 12 leave and ten enter."""
        synced(play, KNOWN[:30] + STRANGERS)
        say(play, KNOWN[12:40] + STRANGERS)


class Retry(Story):
    """A retry, a refusal of the size, halves."""

    name = "retry and halves"

    def arrange(self, play: Play) -> None:
        """The requests are answered with 503, 200, 413, …"""
        synced(play, KNOWN[:20])
        say(play, KNOWN[8:40])
        fault = play.simulator.fault
        fault("membership", "status", status=503, calls=[1])
        fault("membership", "status", status=413, calls=[2])
        fault("membership", "status", status=429, retry_after=0, calls=[5])


class Held(Story):
    """A plan that a guard holds: nothing of it is sent until somebody approves."""

    name, codes = "held plan", (3,)

    def arrange(self, play: Play) -> None:
        """25 of 30 left."""
        synced(play, KNOWN[:30])
        play.stage.config["defaults"]["guard"] = {"max_exit": "20%", "ignore_below": 5}
        say(play, KNOWN[:5])

    def judge(self, play: Play) -> None:
        """Nobody was asked to leave."""
        super().judge(play)
        assert play.simulator.log("membership", play.since) == []

    def finish(self, play: Play) -> None:
        """It is held again, or still; then it is approved."""
        ended = play.stage.syncd("run", "--json", "-vv")
        assert ended.code == 3, ended.out + ended.err
        approve(play)
        self.require_right(play)


def approve(play: Play) -> None:
    """Approve the plan that is held, and it goes out."""
    held = rows(play.url, "SELECT id FROM run WHERE outcome = 'held' ORDER BY id")
    ended = play.stage.syncd("approve", held[-1][0], *REASON)
    assert ended.code == 0, ended.out + ended.err


class Approve(Held):
    """The approval, and the run that sends the plan."""

    name, codes = "approve", (0,)

    def arrange(self, play: Play) -> None:
        """It is held."""
        super().arrange(play)
        assert play.stage.syncd("run").code == 3
        (held,) = rows(play.url, "SELECT id FROM run WHERE outcome = 'held'")
        play.notes["held"] = held[0]

    def act(self, play: Play, kill: Passage | None) -> Forked:
        """Approve it."""
        started = play.stage.fork("approve", play.notes["held"], *REASON, kill=kill)
        started.child.wait()
        return started

    def judge(self, play: Play) -> None:
        """What is sent was approved."""
        Story.judge(self, play)

    def finish(self, play: Play) -> None:
        """Approved or not: approve it if it still waits."""
        if play.stage.syncd("run", "--json").code == 3:
            approve(play)
        play.run()
        self.require_right(play)


class TakeOver(Delta):
    """A run after one that was killed with open batches, and a changed list."""

    name = "take-over"

    def arrange(self, play: Play) -> None:
        """The run before died with its second batch on the wire."""
        super().arrange(play)
        assert play.stage.syncd("run", kill=SECOND_BATCH).code == KILLED
        say(play, [*KNOWN[10:38], *STRANGERS])
        play.leaving |= uncertain(play.url) - play.wanted


class Resume(Delta):
    """The daemon goes on with a run that was killed."""

    name = "resume by the daemon"

    def arrange(self, play: Play) -> None:
        """The run before died with its second batch on the wire."""
        super().arrange(play)
        assert play.stage.syncd("run", kill=SECOND_BATCH).code == KILLED

    def act(self, play: Play, kill: Passage | None) -> Forked:
        """Serve until the resumed run has come to its end."""
        daemon = play.stage.fork("serve", kill=kill)
        if daemon.reaches("run.finished"):
            daemon.child.stop()
        daemon.child.wait()
        return daemon


class Compact(Delta):
    """The log of acknowledged batches moves into the chunks."""

    name = "compaction"

    def arrange(self, play: Play) -> None:
        """What was acknowledged is two days old."""
        super().arrange(play)
        age(play)


def age(play: Play) -> None:
    """Everything acknowledged happened two days earlier."""
    ago = (
        "datetime(acknowledged_at, '-2 days')"
        if play.url.startswith("sqlite")
        else "acknowledged_at - interval '2 days'"
    )
    change(play.url, f"UPDATE batch SET acknowledged_at = {ago}")


UNKNOWN_REQUEST = (
    "http clients.amplitude_downloads.request/sent",
    "http clients.amplitude_downloads.request/answered",
    "commit sources.amplitude_download.job.request/before",
)
"""Where a download is paid for, and its id not yet durable: the only places at which a
kill may cost another one."""


# ---- downloads ----------------------------------------------------------------------


class Download(Story):
    """A cohort is downloaded and becomes a trait of Segment's people."""

    name = "download to a trait"
    to: ClassVar[dict[str, str]] = {"connection": "segment", "trait": "vip"}

    def arrange(self, play: Play) -> None:
        """25 people, never downloaded."""
        stage = play.stage
        stage.config["defaults"]["delivery"]["batch_size"] = BATCH
        stage.config["defaults"]["guard"] = {"max_exit": "60%"}
        stage.cohort_sync("vip", "c1", to=self.to)
        stage.config["connections"][self.to["connection"]]["request_deadline"] = "1s"
        play.simulator.cohort("c1", members=KNOWN[:25])
        play.wanted = set(KNOWN[:25])
        play.notes["versions"] = 1

    def there(self, play: Play) -> set[str]:
        """Who has the trait."""
        if not play.simulator.log("segment_batch"):
            return set()
        return play.simulator.with_trait("vip")

    def judge(self, play: Play) -> None:
        """No version of the cohort is paid for twice, as far as anybody knows."""
        super().judge(play)
        found = rows(play.url, 'SELECT state, count(*) FROM "fetch" GROUP BY state')
        states: dict[str, int] = dict(found)
        unanswered = states.pop("asking", 0) + states.pop("lost", 0)
        accepted = sum(states.values())
        counted = play.simulator.downloads()["counted"]
        assert accepted <= play.notes["versions"]
        assert accepted <= counted <= accepted + unanswered

    def finish(self, play: Play) -> None:
        """Nor is it by the next run, unless the request's id died with the process."""
        super().finish(play)
        self.judge(play)
        if play.cut_at not in UNKNOWN_REQUEST:
            assert play.simulator.downloads()["counted"] == play.notes["versions"]


class Partner(Download):
    """A cohort's changes go into a partner's list."""

    name = "a partner's list"
    to: ClassVar[dict[str, str]] = {"connection": "partner-lists"}

    def arrange(self, play: Play) -> None:
        """25 people are in the list; ten leave, twelve enter."""
        super().arrange(play)
        play.run()
        play.simulator.post("/_sim/clock", {"advance": 120})
        play.simulator.change("c1", remove=KNOWN[:10], add=KNOWN[25:37])
        play.wanted = set(KNOWN[10:37])
        play.notes["versions"] = 2

    def there(self, play: Play) -> set[str]:
        """Who is in the partner's list."""
        lists = play.simulator.get("/_sim/partner/lists")["lists"]
        assert len(lists) <= 1, "the list was created twice"
        where = [f"/_sim/partner/lists/{each['id']}/members" for each in lists]
        return {one for each in where for one in play.simulator.get(each)["ids"]}


class FirstPartner(Partner):
    """The list is made, and filled."""

    name = "a partner's first list"

    def arrange(self, play: Play) -> None:
        """25 people, no list."""
        Download.arrange(self, play)
