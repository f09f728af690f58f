"""What was paid for is used, whenever the process dies; what is left is kept.

The real command against the simulator: killed at each step of a download, stopped by a
month that is used up, refused where a cohort is our own copy.
"""

import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import pytest

from tests.simulated import PATIENCE

LOOK = 0.005
"""Real seconds between two looks at whether something has happened."""
JOB = 600
SPEED = 3600


def people(count: int = 100, first: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:06d}" for number in range(first, first + count)]


def reach(true: Callable[[], object]) -> None:
    """Look until it is true."""
    never = threading.Event()
    for _ in range(round(PATIENCE / LOOK)):
        if true():
            return
        never.wait(LOOK)
    pytest.fail(f"it did not happen within {PATIENCE} s")


def counted(simulator) -> int:
    return int(simulator.downloads()["counted"])


def spend(simulator, used: int) -> None:
    """So many downloads of the month are used, by somebody else."""
    project = "/_sim/projects/187520"
    simulator.control.patch(project, json={"downloads_used": used}).raise_for_status()


def require_discreet(simulator, *texts: str) -> None:
    """Nobody is named, no link to the storage is shown, no credentials went astray."""
    for text in texts:
        assert "person-" not in text
        assert simulator.origins["storage"] not in text
        assert not re.search("X-Amz|cohort-exports", text)
    assert simulator.get("/_sim/leaks")["leaks"] == []


@pytest.fixture
def churn(installation, simulator):
    """A cohort of 100 people for the trait `churn`; its file is behind a link."""
    simulator.cohort("c1", name="Churn risk", members=people())
    simulator.post("/_sim/config", {"job_seconds": 0, "always_redirect": True})
    installation.cohort_sync("churn", "c1")
    # After a kill, delivery waits until no request of the dead process can land.
    installation.config["connections"]["segment"]["request_deadline"] = "1s"
    return installation


def ran(churn, simulator, *names: str):
    """A run whose outputs are discreet."""
    ended = churn.run(*names)
    require_discreet(simulator, ended.out, ended.err)
    return ended


# ---- killed -------------------------------------------------------------------------


def asked(simulator, endpoint: str) -> Callable[[], bool]:
    return lambda: bool(simulator.log(endpoint))


def before_the_first_poll_is_answered(churn, simulator):
    simulator.fault("status", "hang_before", calls=[1])
    return asked(simulator, "status")


def while_polling(churn, simulator):
    simulator.post("/_sim/config", {"job_seconds": JOB})
    return lambda: any(each["status"] == 202 for each in simulator.log("status"))


def between_the_job_and_the_list_at_its_end(churn, simulator):
    simulator.fault("list", "hang_before", calls=[2])
    return lambda: len(simulator.log("list")) == 2


def between_the_job_and_the_file(churn, simulator):
    simulator.fault("file", "hang_before", calls=[1])
    return asked(simulator, "file")


def in_the_middle_of_the_file(churn, simulator):
    simulator.fault("storage", "drip", chunk=16, interval=0.2, calls=[1])
    return asked(simulator, "storage")


MOMENTS = (
    before_the_first_poll_is_answered,
    while_polling,
    between_the_job_and_the_list_at_its_end,
    between_the_job_and_the_file,
    in_the_middle_of_the_file,
)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_download_that_was_killed_is_resumed_and_not_paid_for_again(
    churn, simulator, moment
):
    happened = moment(churn, simulator)
    running = churn.start("run", "-vv")
    reach(happened)
    assert running.kill()
    assert counted(simulator) == 1
    simulator.no_faults()
    simulator.post("/_sim/clock", {"advance": JOB})

    ended = ran(churn, simulator)

    assert ended.run["outcome"] == "success"
    assert simulator.with_trait("churn") == set(people())
    assert counted(simulator) == 1
    (resumed,) = ended.events("fetch.resumed")
    assert resumed["sync"] == "churn"
    assert len(simulator.log("request")) == 1
    require_discreet(simulator, running.text)


def test_a_change_while_nobody_waited_for_the_job_is_not_missed(churn, simulator):
    happened = between_the_job_and_the_file(churn, simulator)
    running = churn.start("run")
    reach(happened)
    assert running.kill()
    simulator.no_faults()
    simulator.post("/_sim/clock", {"advance": 15 * 60})
    grown = people(300, first=5)
    simulator.change("c1", members=grown)

    resumed, fresh = ran(churn, simulator), ran(churn, simulator)

    assert len(resumed.events("fetch.resumed")) == 1
    assert resumed.run["outcome"] == "success", "its file is not short: it is older"
    assert fresh.run["outcome"] == "success"
    assert simulator.with_trait("churn") == set(grown)
    assert counted(simulator) == 2


def test_a_file_that_was_read_before_the_kill_is_read_again_for_free(churn, simulator):
    simulator.change("c1", generate={"prefix": "person-", "count": 20_000})
    churn.config["connections"]["segment"]["max_events_per_second"] = 10_000
    simulator.fault("storage", "drip", chunk=65536, interval=0.1, calls=[1])
    running = churn.start("run", "-vv")
    reach(asked(simulator, "storage"))

    with closing(sqlite3.connect(churn.database, isolation_level=None)) as store:
        reach(lambda: is_complete(store))
        store.execute("BEGIN IMMEDIATE")  # so that no plan can be stored
        assert running.kill()
        assert store.execute("SELECT count(*) FROM batch").fetchone() == (0,)
    ended = ran(churn, simulator)

    assert ended.run["outcome"] == "success"
    assert len(ended.events("fetch.reused")) == 1
    assert len(simulator.with_trait("churn")) == 20_000
    assert counted(simulator) == len(simulator.log("request")) == 1


def is_complete(store: sqlite3.Connection) -> bool:
    found = store.execute("SELECT count(*) FROM fetch WHERE state = 'completed'")
    return bool(found.fetchone()[0])


def test_a_request_whose_answer_was_lost_counts_as_spent(churn, simulator):
    simulator.fault("usage", "status", status=404)
    simulator.fault("request", "hang_after", seconds=3, calls=[1])

    ended = ran(churn, simulator)
    again = ran(churn, simulator)
    (project,) = churn.syncd("quota", "--json").document["projects"]

    assert ended.run["outcome"] == "failed"
    assert "syncd show" in ended.events("run.finished")[0]["next"]
    assert again.run["outcome"] == "success"
    assert simulator.with_trait("churn") == set(people())
    assert counted(simulator) == project["used"] == 2
    assert project["estimated"] is True


# ---- the quota ----------------------------------------------------------------------


def test_nothing_is_asked_for_while_amplitude_cannot_say_what_there_is_or_is_left(
    churn, simulator
):
    simulator.fault("list", "truncated", calls=[1], length="sent")
    simulator.fault("usage", "status", status=500, calls=[1])

    without_a_list, without_usage, well = (ran(churn, simulator) for _ in range(3))

    assert without_a_list.run["reason"] == "source.unavailable"
    assert without_usage.run["reason"] == "source.quota_unknown"
    for ended in (without_a_list, without_usage):
        assert ended.code == 1
        assert "Amplitude" in ended.run["message"]
        (line,) = ended.events("run.finished")
        assert line["next"] == f"syncd show {ended.run['id']}"
    assert well.run["outcome"] == "success"
    assert counted(simulator) == 1


def options_showing(moment: datetime) -> tuple[str, ...]:
    """A fast clock that shows this moment now: far from the end of a month."""
    wall = datetime.now(UTC)
    origin = wall - (moment - wall) / (SPEED - 1)
    return ("--speed", str(SPEED), "--origin", origin.isoformat())


@pytest.fixture
def month(new_simulator, new_installation):
    """Both directions, hourly, in a young month on a fast clock; all ran once."""
    fast = options_showing(datetime(2026, 5, 5, tzinfo=UTC))
    simulator = new_simulator(*fast, "--latency", "0")
    installation = new_installation(simulator)
    # The usual 45 minutes are less than a second here.
    installation.config["defaults"]["max_runtime"] = "2d"
    simulator.cohort("c1", members=people())
    simulator.users(people(200))
    installation.cohort_sync("churn", "c1", schedule="hourly", budget="14/day")
    installation.sync("vip", schedule="hourly")
    installation.audience(people())
    daemon = installation.start("serve", *fast)
    assert daemon.reached("run.finished", sync="churn", outcome="success")
    assert daemon.reached("run.finished", sync="vip", outcome="success")
    return simulator, installation, daemon


def test_a_spent_month_stops_scheduled_downloads_and_nothing_else(month):
    simulator, installation, daemon = month
    spend(simulator, 450)  # of 500, and a tenth is kept in reserve
    simulator.change("c1", members=people(first=5))
    installation.audience(people(first=5))

    assert daemon.reached("run.finished", 2, sync="churn", outcome="skipped")
    assert daemon.reached("run.finished", 2, sync="vip", outcome="success")
    assert daemon.stop() == 0

    (exhausted,) = daemon.events("quota.exhausted")
    assert exhausted["next"].startswith("syncd quota")
    skipped, *_ = daemon.events("run.skipped", sync="churn")
    assert (skipped["reason"], skipped["level"]) == ("quota", "warning")
    assert skipped["next"].startswith("syncd runs churn")
    line, *_ = daemon.events("run.finished", sync="churn", outcome="skipped")
    assert "50 are kept in reserve" in line["error"]
    (cohort,) = [each["id"] for each in simulator.cohorts() if each["id"] != "c1"]
    assert simulator.members(cohort) == set(people(first=5))
    assert simulator.with_trait("churn") == set(people())
    assert counted(simulator) == 1
    require_discreet(simulator, daemon.text)


def run_in_between(installation):
    """A run by hand, between two of the daemon's, which come every two seconds."""
    ended = installation.run("churn")
    tries = 1
    while ended.run["reason"] == "sync.busy" and tries < 20:
        ended, tries = installation.run("churn"), tries + 1
    return ended


def test_a_person_may_use_the_reserve_and_no_more(month):
    simulator, installation, daemon = month
    spend(simulator, 499)
    simulator.change("c1", members=people(first=5))

    by_hand = run_in_between(installation)
    simulator.change("c1", members=people(first=10))
    refused = run_in_between(installation)

    assert by_hand.run["outcome"] == "success"
    assert (refused.code, refused.run["reason"]) == (75, "quota")
    assert "500 of 500 downloads" in refused.run["message"]
    assert simulator.with_trait("churn") == set(people(first=5))
    assert counted(simulator) == 2
    assert daemon.stop() == 0
    require_discreet(simulator, daemon.text, by_hand.out, refused.out)


# ---- echoes -------------------------------------------------------------------------


def test_a_cohort_that_we_write_is_not_read_back_unless_it_is_linked(churn, simulator):
    churn.sync("vip")
    simulator.users(people())
    churn.audience(people())
    simulator.cohort("copy", name="[Segment] Lapsed", members=people())
    assert churn.run("vip").code == 0
    (ours,) = [each["id"] for each in simulator.cohorts() if "vip" in each["name"]]
    echo = churn.cohort_sync("echo", ours)
    churn.cohort_sync("echo-of-segment", "copy")

    refused = ran(churn, simulator, "echo", "echo-of-segment")

    first, second = refused.document["runs"]
    assert first["reason"] == second["reason"] == "source.echo"
    assert "syncd writes it (vip)" in first["message"]
    assert "Segment writes it" in second["message"]
    assert "linked: true" in first["hint"]
    assert counted(simulator) == 0
    churn.config["syncs"].remove(echo)
    churn.cohort_sync("echo", ours, from_={"linked": True})
    assert ran(churn, simulator, "echo").run["outcome"] == "success"
    assert simulator.with_trait("echo") == set(people())


def test_amplitudes_own_sync_of_the_cohort_is_reported_once_per_download(
    churn, simulator
):
    native = {
        "target": "segment",
        "frequency": "hourly",
        "last_successful": "2026-03-21T16:09:58.848454-07:00",
    }
    simulator.change("c1", sync_metadata=[native], recompute=True)
    warned = []
    for first in (0, 0, 5):
        simulator.post("/_sim/clock", {"advance": 2 if first else 0})
        simulator.change("c1", members=people(first=first), recompute=first > 0)
        ended = ran(churn, simulator)
        assert ended.code == 0
        warned.append(ended.events("source.native_sync"))

    assert [len(each) for each in warned] == [1, 0, 1]
    assert "two writers" in warned[0][0]["msg"]
    assert warned[0][0]["next"].startswith("syncd cohorts")
    assert simulator.with_trait("churn") == set(people(first=5))
