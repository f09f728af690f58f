"""The database fails over and has lost commits: no run is called a success wrongly.

Two Postgres servers, asynchronous streaming replication that is withheld while real
runs deliver; then the primary is killed and the standby promoted. `README.md` beside
this file has numbers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Ended, Installation
from tests.knocking import Answer, Knocking, ago, identify, knocking
from tests.reliability.failing_over.pairs import Pair, pair, until
from tests.reliability.storing.severing import Wire, severing
from tests.simulated import PATIENCE, Simulator

PEOPLE = [f"person-{number:03d}" for number in range(40)]
LOST = ("vip", "news")
"""Their last commits are lost."""
SYNCS = (*LOST, "quiet")
REASON = ("--reason", "the database failed over", "--yes")


@pytest.fixture
def servers(postgres_url: str) -> Iterator[Pair]:
    with pair("syncd", beside=postgres_url) as made:
        yield made


@dataclass
class House:
    """An installation whose store is at one address, whoever is primary."""

    installation: Installation
    simulator: Simulator
    servers: Pair
    wire: Wire
    wanted: dict[str, set[str]] = field(default_factory=dict)
    """Sync -> whom its audience lists."""

    def listed(self, **audiences: set[str]) -> None:
        """These audiences are changed."""
        for name, ids in audiences.items():
            self.installation.audience(sorted(ids), name)
            self.wanted[name] = ids

    def there(self, name: str) -> set[str]:
        """Who is in its cohort in truth."""
        (found,) = [
            each
            for each in self.simulator.cohorts()
            if each["name"] == f"Cohort {name}"
        ]
        return self.simulator.members(str(found["id"]))

    def is_right(self, name: str) -> bool:
        """Whether its cohort is its audience."""
        return self.there(name) == self.wanted[name]

    def ran(self, *names: str) -> dict[str, tuple[str, str]]:
        """Sync -> (outcome, reason) of one run of each."""
        ended = self.installation.run(*(names or SYNCS))
        return outcomes(ended)

    def fail_over(self) -> None:
        """The address leads to the standby, which is the primary now."""
        self.wire.go_away()
        self.servers.fail_over()
        self.wire.target = self.servers.standby.socket
        self.wire.come_back()


def outcomes(ended: Ended) -> dict[str, tuple[str, str]]:
    assert ended.out, ended.err[-3000:]
    runs = ended.document["runs"]
    return {each["sync"]: (each["outcome"], each["reason"]) for each in runs}


@pytest.fixture
def house(
    servers: Pair,
    new_installation: Callable[..., Installation],
    new_simulator: Callable[..., Simulator],
) -> Iterator[House]:
    simulator = new_simulator("--latency", "0")
    simulator.users(PEOPLE)
    simulator.post("/_sim/config", {"job_seconds": 0})
    installation = new_installation(simulator)
    amplitude = installation.config["connections"]["amplitude"]
    amplitude["storage_origin"] = simulator.origins["storage"]
    for name in SYNCS:
        installation.sync(name, guard={"max_exit": "90%", "max_exit_24h": "never"})
    with severing(servers.primary.url("syncd")) as (wire, url):
        installation.config["store"]["url"] = url
        made = House(installation, simulator, servers, wire)
        made.listed(**{name: set(PEOPLE[:20]) for name in SYNCS})
        yield made


def lose_commits(house: House) -> None:
    """What runs deliver from now on is known to the primary alone."""
    house.servers.withhold()
    house.listed(**{name: set(PEOPLE[2:22]) for name in LOST})
    said = house.ran(*LOST)
    assert said == dict.fromkeys(LOST, ("success", "")), said
    # Before the next run 0 is back and 20 is gone: no store that lost this knows.
    turned = {PEOPLE[0], *PEOPLE[2:20], PEOPLE[21], PEOPLE[30]}
    house.listed(**dict.fromkeys(LOST, turned))


def waiting(house: House) -> set[str]:
    """The syncs that `status` tells to reconcile, in both of its forms."""
    document = house.installation.syncd("status", "--json").document
    found = {each["name"] for each in document["syncs"] if each["unreconciled_since"]}
    assert document["needs_you"] == len(found)
    text = " ".join(house.installation.syncd("status").out.split())
    for name in SYNCS:
        assert (f"{name} waits to be reconciled" in text) == (name in found), text
    return found


def heal(house: House) -> None:
    """Each in another way, and until then no run of it is a success."""
    syncd = house.installation.syncd
    # Nobody differs: looking is enough.
    assert syncd("verify", "quiet", "--max-downloads", "1").code == 0
    # Who is missing comes back; 20, whom a lost commit added, is taken for a stranger.
    told = syncd("verify", "vip", "--json", "--max-downloads", "1")
    (found,) = told.document["syncs"]
    assert (found["missing"], found["ghosts"]) == (1, 1), told.out
    repaired = syncd("verify", "vip", "--repair", "--max-downloads", "1", *REASON)
    assert repaired.code == ExitCode.PARTIAL, repaired.err
    assert house.there("vip") - house.wanted["vip"] == {PEOPLE[20]}
    assert waiting(house) == set(LOST)
    adopted = syncd("resync", "vip", "--adopt", *REASON)
    assert adopted.code == 0, adopted.err
    # An upload in the place of all who are there.
    pushed = syncd("resync", "news", "--push", "--replace", *REASON)
    assert pushed.code == 0, pushed.err


@pytest.mark.parametrize("daemon_dies", [False, True], ids=["lives on", "dies too"])
def test_no_run_is_a_success_until_what_lost_commits_left_is_put_right(
    house: House, *, daemon_dies: bool
) -> None:
    daemon = house.installation.start("serve")
    assert daemon.reached("daemon.started")
    assert house.ran() == dict.fromkeys(SYNCS, ("success", ""))
    lose_commits(house)

    if daemon_dies:
        daemon.kill()
    house.fail_over()
    if daemon_dies:
        daemon = house.installation.start("serve")
        assert daemon.reached("daemon.started")
    first, second = house.ran(), house.ran()

    # It is really wrong, and no comparison with the store finds that.
    assert not any(house.is_right(name) for name in LOST)
    for said in (first, second):
        assert said == dict.fromkeys(SYNCS, ("partial", "store.failed_over"))
    assert waiting(house) == set(SYNCS)
    if daemon_dies:
        return  # healing is the same

    heal(house)
    healed = house.ran()

    assert {outcome for outcome, _ in healed.values()} <= {"success", "no_change"}
    assert all(house.is_right(name) for name in SYNCS)
    assert waiting(house) == set()


# ---- what was pushed -----------------------------------------------------------------


@pytest.fixture
def doors(house: House) -> House:
    """`vip` lives by Engage's events and corrects them by its file; `adopters`, which
    is a partner's list, by what Amplitude pushes alone."""
    installation = house.installation
    installation.inbox()
    installation.push()
    (vip,) = installation.config["syncs"] = installation.config["syncs"][:1]
    vip["from"]["snapshot_lag"] = "0m"
    installation.cohort_sync(
        "adopters",
        "c1",
        from_={"via": "push", "relist_every": "never"},
        to={"connection": "partner-lists"},
    )
    house.simulator.cohort("c1")
    return house


def until_taken(say: Callable[[], Answer]) -> None:
    """A sender repeats what was not taken."""
    until(lambda: say().status == 200)


def add(at: Knocking, *ids: str) -> None:
    """Amplitude puts people into its list of the cohort."""
    made = at.amplitude("/lists", {"name": "[Amplitude] Cohort c1: c1"})
    where = f"/lists/{made.body['listId']}/add"
    until_taken(lambda: at.amplitude(where, {"userIds": list(ids)}))


def lose_words(at: Knocking) -> None:
    """One of each kind that a sender has, answered with 200."""
    event = identify(PEOPLE[30], timestamp=ago(0))
    until_taken(lambda: at.engage(event))
    add(at, PEOPLE[5])
    traits = {"[Amplitude] Cohort c1: c1": True}
    person = {"type": "identify", "traits": traits, "userId": PEOPLE[6]}
    until_taken(lambda: at.amplitude("/properties", {"batch": [person]}))
    message = {
        "cohort_id": "c1",
        "cohort_name": "Cohort c1",
        "in_cohort": True,
        "message_id": "m-1::enter::0",
        "users": [{"user_id": PEOPLE[7]}],
    }
    until_taken(lambda: at.webhook(message))


def on_the_list(house: House) -> set[str]:
    """Whom the partner has."""
    (made,) = house.simulator.get("/_sim/partner/lists")["lists"]
    found = house.simulator.get(f"/_sim/partner/lists/{made['id']}/members")
    return set(found["ids"])


def unheard(house: House) -> set[str]:
    """The syncs of which `status` says that what was pushed may be lost."""
    text = " ".join(house.installation.syncd("status").out.split())
    document = house.installation.syncd("status", "--json").document
    found = {each["name"] for each in document["syncs"] if each["unheard_since"]}
    for name in ("vip", "adopters"):
        assert (f"{name} waits for all that was pushed" in text) == (name in found)
    return found


def reconcile(house: House) -> None:
    """What is there is known again: by a look, and by a person's word."""
    syncd = house.installation.syncd
    assert syncd("verify", "vip", "--max-downloads", "1").code == 0
    assert syncd("resync", "adopters", "--push", *REASON).code == ExitCode.PARTIAL
    assert syncd("resync", "adopters", "--adopt", *REASON).code == 0
    document = syncd("status", "--json").document
    assert not any(each["unreconciled_since"] for each in document["syncs"])


def test_words_that_were_answered_and_lost_are_no_success_until_all_is_heard_again(
    doors: House,
) -> None:
    both = ("vip", "adopters")
    daemon = doors.installation.start("serve")
    assert daemon.reached("daemon.started")
    with knocking(daemon) as at:
        add(at, *PEOPLE[:3])
        assert doors.ran(*both) == dict.fromkeys(both, ("success", ""))
        doors.servers.withhold()
        lose_words(at)
        doors.fail_over()

        first = doors.ran(*both)
        reconcile(doors)
        # Nobody differs from what the store says, and four people are missing.
        second = doors.ran(*both)
        assert PEOPLE[30] not in doors.there("vip")
        assert on_the_list(doors) == set(PEOPLE[:3])
        assert unheard(doors) == set(both)

        # A list that was written since; everybody again, and a person's word.
        doors.listed(vip={*PEOPLE[:20], PEOPLE[30]})
        add(at, *PEOPLE[:3], *PEOPLE[5:8])
        third = doors.ran(*both)
        said = doors.installation.syncd("resync", "adopters", "--heard", *REASON)
        fourth = doors.ran(*both)

    for each in (first, second):
        assert each == dict.fromkeys(both, ("partial", "store.failed_over"))
    assert third["vip"] == ("success", "")
    assert third["adopters"] == ("partial", "store.failed_over")
    assert said.code == 0, said.err
    assert {outcome for outcome, _ in fourth.values()} == {"no_change"}
    assert doors.is_right("vip")
    assert on_the_list(doors) == {*PEOPLE[:3], *PEOPLE[5:8]}
    assert unheard(doors) == set()


def test_a_run_whose_row_was_lost_is_no_success(house: House) -> None:
    daemon = house.installation.start("serve")
    assert daemon.reached("daemon.started")
    house.ran()
    house.servers.withhold()
    house.listed(vip=set(PEOPLE[2:22]))
    # It begins at the primary, and its requests are under way as that one dies.
    house.simulator.post("/_sim/latency", {"membership": 0.8})

    running = house.installation.start("run", "--json", "vip")
    until(lambda: bool(house.simulator.get("/_sim/stats")["in_flight"]))
    house.fail_over()
    code = running.process.wait(PATIENCE)

    assert code != 0, running.text
    house.simulator.post("/_sim/latency", {"membership": 0})
    assert house.ran("vip") == {"vip": ("partial", "store.failed_over")}


def test_a_synchronous_standby_has_lost_nothing_and_nobody_is_marked(
    house: House,
) -> None:
    house.servers.replicate_synchronously()
    house.installation.config["store"]["replication"] = "synchronous"
    daemon = house.installation.start("serve")
    assert daemon.reached("daemon.started")
    house.ran()
    house.listed(**{name: set(PEOPLE[2:22]) for name in LOST})
    house.ran(*LOST)

    house.fail_over()
    turned = {PEOPLE[0], *PEOPLE[2:20], PEOPLE[21], PEOPLE[30]}
    house.listed(**dict.fromkeys(LOST, turned))
    said = house.ran()

    assert {outcome for outcome, _ in said.values()} <= {"success", "no_change"}
    assert all(house.is_right(name) for name in SYNCS)
    assert waiting(house) == set()
