"""`doctor`: will it work here? Each check fails once; nothing is spent or changed."""

import socket
import sqlite3
from contextlib import closing
from typing import Any

import pytest

PERSON = "person-0"


@pytest.fixture
def vip(installation, simulator):
    """An audience of 20 people for a cohort; nothing has run."""
    simulator.users(f"person-{n}" for n in range(20))
    installation.sync()
    installation.audience(f"person-{n}" for n in range(20))
    installation.config["web"] = {
        "admin": {"listen": "127.0.0.1:0"},
        "inbound": {"listen": "127.0.0.1:0"},
    }
    return installation


def lines(ended, subject: str, verdict: str = "") -> list[dict[str, Any]]:
    return [
        each
        for each in ended.document["findings"]
        if each["subject"] == subject and verdict in ("", each["verdict"])
    ]


def details(ended, subject: str, verdict: str) -> str:
    return "\n".join(each["detail"] for each in lines(ended, subject, verdict))


# ---- all is well --------------------------------------------------------------------


def test_channels_and_the_heartbeat_are_looked_at_and_nobody_is_told(vip):
    vip.secret("slack", "https://hooks.slack.invalid/services/kanarie7q")
    vip.secret("hook", "http://hooks.acme.invalid/kanarie7q")
    vip.secret("whsec", "no-secret-of-theirs")
    vip.secret("beat", "https://beat.invalid/kanarie7q")
    hooks = {"type": "webhook", "url_file": "hook", "secret_file": "whsec"}
    vip.config["notifications"] = {
        "channels": {
            "ops": {"type": "slack", "webhook_url_file": "slack"},
            "hooks": hooks,
        },
        "heartbeat": {"url_file": "beat"},
    }
    vip.config["syncs"][0]["heartbeat_url_file"] = "gone"

    insecure = vip.syncd("doctor", "--json")
    vip.secret("hook", "https://hooks.acme.invalid/kanarie7q")
    unsigned = vip.syncd("doctor", "--json")

    assert "messages go to hooks.slack.invalid; none was sent" in (
        details(insecure, "channel ops", "ok")
    )
    assert "pings go to beat.invalid every 5 m" in details(insecure, "heartbeat", "ok")
    assert "cannot be read" in details(insecure, "heartbeat of vip", "fail")
    assert "holds no https URL" in details(insecure, "channel hooks", "fail")
    assert insecure.code == unsigned.code == 78
    assert "does not begin with whsec_" in details(unsigned, "channel hooks", "fail")
    for ended in (insecure, unsigned):
        assert "kanarie7q" not in ended.out + ended.err
        assert "no-secret-of-theirs" not in ended.out + ended.err


def test_a_new_installation_is_well_and_says_what_it_looked_at(vip, simulator):
    before = simulator.cohorts()

    ended = vip.syncd("doctor")

    assert ended.code == 0, ended.out
    assert "key and secret valid in region us, app 187520" in ended.out
    assert "owner exists, 3 of 3 ids of vip known (nothing saved)" in ended.out
    assert "downloads used 0 of 500" in ended.out
    assert "files are there, 20 ids" in ended.out
    assert "No quota was spent." in ended.out
    assert simulator.cohorts() == before
    assert not vip.database.exists()


def test_no_quota_is_spent_and_nothing_is_saved_with_every_kind_of_connection(
    vip, simulator
):
    simulator.cohort("churn", members=[f"person-{n}" for n in range(9)])
    vip.cohort_sync("trait", "churn")
    vip.cohort_sync("list", "churn", to={"connection": "partner-lists"})
    vip.run("vip")
    used = simulator.downloads()["counted"]
    cohorts, members = simulator.cohorts(), simulator.members(_written(simulator))
    since = simulator.last()

    ended = vip.syncd("doctor")

    assert ended.code == 0, ended.out
    assert simulator.downloads()["counted"] == used
    assert simulator.cohorts() == cohorts
    assert simulator.members(_written(simulator)) == members
    uploads = simulator.log("upload", since)
    assert [(each["status"], each["effect"]) for each in uploads] == [(200, "none")]
    assert simulator.log("membership", since) == []
    assert simulator.log("request", since) == []
    assert "Segment knows the write key" in ended.out
    assert "nothing of a partner's API is free" in ended.out


def _written(simulator) -> str:
    kinds = {str(each["id"]): each["type"] for each in simulator.cohorts()}
    return next(one for one, kind in kinds.items() if kind == "manual_upload")


def test_nobody_is_named_and_no_secret_is_shown(vip):
    vip.run()

    shown = vip.syncd("doctor", "-vv")
    document = vip.syncd("doctor", "--json")

    for secret in ("person-", "demo-api-key", "demo-secret-key"):
        assert secret not in shown.out + shown.err + document.out + document.err


def test_doctor_works_beside_a_daemon_and_sees_it(vip):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    vip.config["web"] = {"admin": {"listen": f"127.0.0.1:{port}"}}
    daemon = vip.start("serve")
    assert daemon.reached("web.listening")

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 0, ended.out
    assert f"process {daemon.process.pid}" in details(ended, "daemon", "ok")
    assert f"process {daemon.process.pid} works on it" in details(ended, "store", "ok")
    assert "the daemon answers at" in details(ended, "admin port", "ok")
    assert daemon.stop() == 0


# ---- each check fails once ----------------------------------------------------------


def test_a_secret_that_cannot_be_read_ends_with_78(vip):
    (vip.folder / "secrets" / "secret_key").unlink()

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 78
    assert "secret_key" in details(ended, "secrets", "fail")
    assert lines(ended, "secrets", "fail")[0]["next"]


def test_refused_credentials_end_with_77(vip):
    vip.secret("api_key", "another-key")

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 77
    assert "Invalid API" in details(ended, "amplitude", "fail")


def test_an_owner_that_amplitude_does_not_know_is_a_failure_of_the_files(
    vip, simulator
):
    simulator.post("/_sim/config", {"check_owner": True})
    vip.config["connections"]["amplitude"]["owner"] = "nobody@acme.example"

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 78
    assert "owner nobody@acme.example refused" in details(ended, "amplitude", "fail")


def test_ids_that_the_project_does_not_know_are_a_warning(vip):
    vip.audience(["stranger-1", "stranger-2"])

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 0
    assert "none of 2 ids of vip is known" in details(ended, "amplitude", "warn")
    assert "stranger" not in ended.out


def test_an_app_id_of_another_project_is_a_failure_of_the_files(vip, simulator):
    simulator.cohort("churn", members=[PERSON])
    vip.config["connections"]["amplitude"]["app_id"] = 4711

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 78
    assert "keys are of project 187520, not of 4711" in details(
        ended, "amplitude", "fail"
    )


def test_a_cohort_that_is_read_and_not_listed_is_a_failure(vip):
    vip.cohort_sync("gone", "no-such-cohort")

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 1
    assert "gone reads cohort no-such-cohort" in details(ended, "amplitude", "fail")


def test_a_month_whose_reserve_is_reached_is_a_warning(vip, simulator):
    project = "/_sim/projects/187520"
    simulator.control.patch(project, json={"downloads_used": 460}).raise_for_status()

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 0
    assert "downloads used 460 of 500" in details(ended, "amplitude", "warn")


def test_a_usage_that_the_account_does_not_tell_is_a_warning(vip, simulator):
    simulator.fault("usage", "status", status=404)

    ended = vip.syncd("doctor", "--json")

    assert "our own count is used" in details(ended, "amplitude", "warn")


def test_a_write_key_that_segment_does_not_know_ends_with_77_and_is_not_shown(
    vip, simulator
):
    simulator.cohort("churn", members=[PERSON])
    vip.cohort_sync("trait", "churn")
    vip.secret("write_key", "a-foreign-key")

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 77
    assert "Segment's settings call" in details(ended, "segment", "fail")
    assert "a-foreign-key" not in ended.out + ended.err


def test_a_partner_that_is_not_there_is_a_failure(vip, simulator):
    simulator.cohort("churn", members=[PERSON])
    vip.cohort_sync("list", "churn", to={"connection": "partner-lists"})
    vip.config["connections"]["partner-lists"]["base_url"] = "http://127.0.0.1:9"

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 1
    assert "no connection" in details(ended, "partner-lists", "fail")


def test_a_missing_file_is_a_failure_that_names_the_sync(vip):
    (vip.folder / "audiences" / "vip.csv").unlink()

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 1
    assert "vip: no file matches" in details(ended, "engage", "fail")


def test_a_store_of_another_schema_is_a_failure_where_migration_is_manual(vip):
    vip.database.touch(mode=0o600)
    vip.config["store"]["migrate"] = "manual"

    ended = vip.syncd("doctor", "--json")

    assert ended.code == 1
    assert "schema none" in details(ended, "store", "fail")


def test_a_store_that_others_may_open_is_a_warning(vip):
    vip.run()
    vip.database.chmod(0o644)

    ended = vip.syncd("doctor", "--json")

    assert "others may open it (mode 0644)" in details(ended, "store", "warn")


def test_an_address_of_another_program_is_a_failure(vip):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        vip.config["web"] = {"admin": {"listen": f"127.0.0.1:{port}"}}

        ended = vip.syncd("doctor", "--json")

    assert ended.code == 1
    assert "held by another program" in details(ended, "admin port", "fail")


def test_a_door_through_which_nothing_came_is_a_warning(vip):
    vip.inbox()

    ended = vip.syncd("doctor", "--json")

    assert "nothing was pushed yet" in details(ended, "engage inbox", "warn")


def test_a_vendor_that_does_not_answer_hides_nothing_and_the_deadline_holds(
    vip, simulator
):
    vip.config["connections"]["amplitude"]["request_deadline"] = "30s"
    simulator.fault("list", "hang_before", seconds=20)

    ended = vip.syncd("doctor", "--json", "--timeout", "2")

    assert ended.code == 1
    assert "no answer within 2 s" in details(ended, "amplitude", "fail")
    assert ended.document["seconds"] < 10
    assert lines(ended, "store", "ok")


def test_an_invalid_configuration_ends_with_78(vip):
    vip.config["syncs"][0]["schedul"] = "hourly"

    ended = vip.syncd("doctor")

    assert ended.code == 78
    assert "schedul" in ended.err


# ---- warehouses and Segment's Public API --------------------------------------------

TABLES = """
CREATE TABLE user_traits (canonical_segment_id text, name text, value text);
CREATE TABLE user_identifiers (canonical_segment_id text, type text, value text);
"""


@pytest.fixture
def warehouse(vip):
    """The audience is read from a warehouse, with the tables of Profiles Sync."""
    path = vip.folder / "warehouse.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
    vip.secret("warehouse_url", f"sqlite:///{path}")
    vip.config["connections"]["engage"]["snapshot"] = {
        "type": "warehouse",
        "url_file": "warehouse_url",
    }
    return vip


def test_a_warehouse_whose_tables_are_there_is_well_without_reading_an_audience(
    warehouse,
):
    ended = warehouse.syncd("doctor", "--json")

    assert ended.code == 0, ended.out
    assert "vip: the warehouse answers, tables and columns are there" in details(
        ended, "engage", "ok"
    )
    assert "no ids are known yet" in details(ended, "amplitude", "warn")


def test_a_warehouse_without_the_tables_is_a_failure_that_names_one(warehouse):
    with closing(sqlite3.connect(warehouse.folder / "warehouse.db")) as connection:
        connection.execute("DROP TABLE user_identifiers")

    ended = warehouse.syncd("doctor", "--json")

    assert ended.code == 1
    assert "user_identifiers" in details(ended, "engage", "fail")


def test_a_warehouse_that_is_not_there_is_a_failure(warehouse):
    (warehouse.folder / "warehouse.db").unlink()

    ended = warehouse.syncd("doctor", "--json")

    assert ended.code == 1
    assert "vip: the warehouse cannot be reached" in details(ended, "engage", "fail")


def test_an_own_query_is_not_run(warehouse):
    source = warehouse.config["syncs"][0]["from"]
    source["query"] = "SELECT id FROM no_such_table"

    ended = warehouse.syncd("doctor", "--json")

    assert ended.code == 0, ended.out
    assert "its own query was not run" in details(ended, "engage", "ok")


@pytest.fixture
def reported(vip, simulator):
    """Sizes of audiences are asked of Segment's Public API."""
    simulator.post("/_sim/engage", {"token": "public-token"})
    vip.secret("public_token", "public-token")
    vip.config["connections"]["engage"] |= {
        "api_token_file": "public_token",
        "space_id": "spa_demo",
        "api_base_url": simulator.origins["public"],
    }
    vip.inbox()
    simulator.audience("vip", members=[f"person-{n}" for n in range(20)])
    return vip


def test_a_valid_token_tells_which_audiences_are_live(reported):
    ended = reported.syncd("doctor", "--json")

    assert ended.code == 0, ended.out
    assert "audience vip is Live, 20 profiles" in details(ended, "engage", "ok")


def test_a_token_that_segment_refuses_ends_with_77_and_is_not_shown(reported):
    reported.secret("public_token", "a-foreign-token")

    ended = reported.syncd("doctor", "--json")

    assert ended.code == 77
    assert "Segment's list of audiences" in details(ended, "engage", "fail")
    assert "a-foreign-token" not in ended.out + ended.err


def test_an_audience_that_the_space_does_not_have_is_a_warning(reported):
    reported.config["syncs"][0]["from"]["audience"] = "vop"
    reported.audience(["person-1"], "vop")

    ended = reported.syncd("doctor", "--json")

    assert "no audience vop that is Live" in details(ended, "engage", "warn")
