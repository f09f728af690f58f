"""`cohorts`, `quota` and `plan` of cohorts: what a download would cost, said first."""

import json

import pytest


def lines_of(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


@pytest.fixture
def churn(installation, simulator):
    """A computed cohort of 60 people and 2 anonymous ones, for a trait; nothing ran."""
    people = {"prefix": "person-", "count": 60, "anonymous": 2}
    simulator.cohort("churn", name="Churn risk", generate=people)
    simulator.post("/_sim/config", {"job_seconds": 0})
    installation.cohort_sync("churn-risk", "churn", budget="4/day")
    return installation


def downloads(simulator) -> int:
    return int(simulator.downloads()["counted"])


# ---- plan ---------------------------------------------------------------------------


def test_a_plan_says_what_it_would_cost_and_spends_nothing_without_a_yes(
    churn, simulator
):
    ended = churn.syncd("plan")

    assert ended.code == 75
    assert "would download 1 Amplitude cohort (500 are left this month)" in ended.err
    assert "syncd plan --max-downloads 1" in ended.err
    assert downloads(simulator) == 0


def test_a_plan_that_may_cost_one_shows_who_would_enter_and_sends_nothing(
    churn, simulator
):
    ended = churn.syncd("plan", "--max-downloads", "1", "--json")

    assert ended.code == 0, ended.err
    (planned,) = ended.document["syncs"]
    assert (planned["enter"], planned["exit"]) == (60, 0)
    assert planned["refused"] == {"anonymous": 2}
    assert downloads(simulator) == 1
    assert simulator.with_trait("churn-risk") == set()


def test_the_run_after_a_plan_uses_the_plans_file(churn, simulator):
    churn.syncd("plan", "--yes")

    ended = churn.run()

    assert ended.run["outcome"] == "success"
    assert len(simulator.with_trait("churn-risk")) == 60
    assert downloads(simulator) == 1


def test_an_unchanged_cohort_is_planned_without_a_download(churn, simulator):
    churn.run()

    ended = churn.syncd("plan", "--json")

    assert ended.code == 0
    (planned,) = ended.document["syncs"]
    assert (planned["before"], planned["after"], planned["enter"]) == (60, 60, 0)
    assert planned["note"].startswith("unchanged since")
    assert downloads(simulator) == 1


def test_a_plan_beside_a_daemon_has_the_daemon_ask_for_the_download(churn, simulator):
    daemon = churn.start("serve")
    assert daemon.reached("daemon.started")

    ended = churn.syncd("plan", "--max-downloads", "1", "--json")

    assert ended.code == 0, ended.err
    assert ended.document["syncs"][0]["enter"] == 60
    assert daemon.reached("operator.fetched")
    assert daemon.stop() == 0
    assert downloads(simulator) == 1


def test_a_spent_month_is_said_and_the_plan_ends_with_try_later(churn, simulator):
    project = "/_sim/projects/187520"
    simulator.control.patch(project, json={"downloads_used": 500}).raise_for_status()

    ended = churn.syncd("plan", "--max-downloads", "1")

    assert ended.code == 75
    assert "500 of 500 downloads" in ended.out
    assert downloads(simulator) == 0


@pytest.mark.parametrize("read_before", [False, True])
def test_a_plan_believes_no_file_that_a_run_refuses(churn, simulator, read_before):
    if read_before:
        churn.syncd("plan", "--yes")
        churn.run()
        churn.config["syncs"].clear()
        churn.cohort_sync("other", "churn")
    simulator.fault("file", "short", keep=0.5)

    planned = churn.syncd("plan", "--yes", "--json")
    ran = churn.run()

    (plan,) = planned.document["syncs"]
    assert plan["error"]["code"] == ran.run["reason"]
    assert ran.run["reason"] == (
        "source.file_changed" if read_before else "source.short"
    )
    assert planned.code == ran.code == 1
    assert downloads(simulator) == 1


# ---- cohorts ------------------------------------------------------------------------


def test_cohorts_lists_what_each_download_would_mean_and_costs_nothing(
    churn, simulator
):
    simulator.cohort("asleep", name="Nobody looked", computed=False)
    simulator.cohort("group", name="Accounts", count_group="org name")

    before = churn.syncd("cohorts").out
    churn.run()
    after = churn.syncd("cohorts").out

    assert "never downloaded: it costs 1" in lines_of(before, "Churn risk")[0]
    assert "never computed" in lines_of(before, "Nobody looked")[0]
    assert "org name" in lines_of(before, "Accounts")[0]
    assert "unchanged since" in lines_of(after, "Churn risk")[0]
    assert downloads(simulator) == 1


def test_cohorts_shows_what_amplitude_itself_does_with_them(churn, simulator):
    native = {"target": "Segment", "frequency": "hourly", "last_successful": None}
    simulator.change("churn", sync_metadata=[native])
    churn.cohort_sync("twice", "churn")

    listed = churn.syncd("cohorts").out

    told = lines_of(listed, "Amplitude itself")
    assert told == ["  churn: Amplitude itself syncs this cohort to Segment hourly"]


def test_cohorts_can_be_limited_to_those_that_are_read(churn, simulator):
    simulator.cohort("other", name="Other")

    listed = churn.syncd("cohorts", "--read", "--json").document["cohorts"]

    assert [(each["cohort_id"], each["sync"]) for each in listed] == [
        ("churn", "churn-risk")
    ]


def test_a_cohort_that_syncd_writes_is_shown_as_written_by_it(churn, simulator):
    churn.sync("vip")
    simulator.users(f"person-{n}" for n in range(60))
    churn.audience(f"person-{n}" for n in range(60))
    churn.run("vip")

    listed = churn.syncd("cohorts").out

    assert "vip" in lines_of(listed, "Cohort vip")[0]


# ---- quota --------------------------------------------------------------------------


def test_quota_shows_what_is_used_by_whom_and_by_other_tools(churn, simulator):
    churn.run()
    spend = {"spend": {"count": 7}}
    project = "/_sim/projects/187520"
    simulator.control.patch(project, json=spend).raise_for_status()

    shown = churn.syncd("quota")
    (project,) = churn.syncd("quota", "--json").document["projects"]

    assert shown.code == 0
    assert "downloads 8 of 500" in shown.out
    assert "other tools with this project: 7 downloads" in shown.out
    assert (project["used"], project["elsewhere"], project["limit"]) == (8, 7, 500)
    assert project["syncs"] == [{"name": "churn-risk", "spent": 1, "at_most": 0}]


def test_quota_without_the_usage_endpoint_is_our_own_count_and_says_so(
    churn, simulator
):
    simulator.fault("usage", "status", status=404)
    churn.run()

    shown = churn.syncd("quota").out

    assert "downloads 1 of 500" in shown
    assert "our own count" in shown


def test_quota_is_estimated_with_the_reason_when_the_vendor_is_out_of_order(
    churn, simulator
):
    churn.run()
    simulator.fault("usage", "status", status=503)

    shown = churn.syncd("quota")
    (project,) = churn.syncd("quota", "--json").document["projects"]

    assert shown.code == 0
    assert "downloads 1 of 500" in shown.out
    assert "estimated, our own count: " in shown.out
    assert "503" in shown.out
    assert (project["used"], project["estimated"]) == (1, True)
    assert "503" in project["unread"]
    assert project["syncs"] == [{"name": "churn-risk", "spent": 1, "at_most": 0}]


def test_a_download_that_was_refused_is_in_no_count_of_ours(churn, simulator):
    simulator.fault("usage", "status", status=404)
    simulator.fault("request", "status", status=400)
    churn.run()

    (project,) = churn.syncd("quota", "--json").document["projects"]

    assert (project["used"], project["syncs"][0]["spent"]) == (0, 0)
    assert downloads(simulator) == 0


def test_quota_asks_nobody_when_no_sync_reads_a_cohort(installation):
    installation.sync()

    shown = installation.syncd("quota")

    assert (shown.code, shown.out.splitlines()[0]) == (
        0,
        "No sync reads a cohort: no download is ever spent.",
    )


def test_a_fast_clock_is_refused_towards_a_segment_that_is_not_a_stand_in(churn):
    del churn.config["connections"]["segment"]["base_url"]

    ended = churn.syncd("serve", "--speed", "10", "--origin", "2026-03-02T00:00:00Z")

    assert ended.code == 2
    assert "segment" in ended.err


def test_no_output_of_these_commands_names_a_person(churn):
    churn.run()
    outputs = [churn.syncd(verb) for verb in ("cohorts", "quota", "plan", "status")]

    for ended in outputs:
        assert "person-" not in ended.out + ended.err
    assert json.loads(churn.syncd("quota", "--json").out)["projects"]


# ---- status and run -----------------------------------------------------------------


def test_status_names_the_downloads_and_a_stopped_source(churn):
    churn.run()
    churn.secret("api_key", "a-wrong-key")
    churn.run()

    shown = churn.syncd("status").out

    assert "Amplitude downloads 1 of 500 (us:187520" in shown
    assert "amplitude is stopped since" in shown


def test_a_run_without_quota_is_skipped_and_ends_with_try_later(churn, simulator):
    project = "/_sim/projects/187520"
    simulator.control.patch(project, json={"downloads_used": 500}).raise_for_status()

    ended = churn.syncd("run")

    assert ended.code == 75
    assert "1 skipped" in ended.out
    assert "500 of 500 downloads" in ended.err
