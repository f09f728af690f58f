"""A cohort that is pushed to us need not be on Amplitude's list: its target is made."""

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Installation
from tests.knocking import knocking, people
from tests.simulated import Simulator


@pytest.mark.parametrize("target", ["partner-lists", "segment"])
def test_a_pushed_cohort_that_amplitude_does_not_list_reaches_its_target(
    installation: Installation, simulator: Simulator, target: str
) -> None:
    installation.push()
    installation.cohort_sync(
        "adopters",
        "c404",
        from_={"via": "push", "relist_every": "never"},
        to={"connection": target},
    )
    daemon = installation.start("serve")
    with knocking(daemon) as at:
        made = at.amplitude("/lists", {"name": "[Amplitude] Not listed: c404"}).body
        told = at.amplitude(f"/lists/{made['listId']}/add", {"userIds": people(30)})

    ended = installation.run("adopters")

    assert told.status == 200
    assert ended.code == ExitCode.OK, ended.out + ended.err
    assert (ended.run["outcome"], ended.run["entered"]) == ("success", 30)
    if target == "segment":
        assert simulator.with_trait("[Amplitude] c404 (c404)") == set(people(30))
