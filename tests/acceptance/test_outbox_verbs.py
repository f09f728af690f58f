"""`syncd outbox` as people type it: list, retry and drop, with and without a daemon."""

import json

import pytest


def people(count: int, start: int = 0) -> list[str]:
    return [f"person-{number:06d}" for number in range(start, start + count)]


@pytest.fixture
def stuck(installation, simulator):
    """200 people are members; a batch of 50 more was refused for good."""
    installation.config["defaults"]["delivery"]["batch_size"] = 50
    installation.sync()
    simulator.users(people(400))
    installation.audience(people(200))
    assert installation.run().code == 0
    installation.audience(people(250))
    simulator.fault("membership", "status", status=422)
    assert installation.run().code == 4
    simulator.no_faults()
    return installation


def outbox(installation, *words: str):
    """`-c` belongs to the verb, as people may write it after it."""
    return installation.syncd("outbox", *words)


def listed(installation):
    return outbox(installation, "list", "--json").document["batches"]


def test_a_dead_batch_is_listed_with_its_reason_and_sent_again(stuck, simulator):
    (batch,) = listed(stuck)
    shown = outbox(stuck)
    again = outbox(stuck, "retry", "vip", "--reason", "repaired", "--json")

    assert (batch["sync"], batch["state"], batch["ids"]) == ("vip", "dead", 50)
    assert batch["error_type"] == "http_4xx"
    assert shown.code == 0
    assert "dead" in shown.out
    assert "planned anew" in shown.out
    assert "syncd outbox retry SYNC" in shown.out
    assert again.code == 0
    assert again.document["runs"][0]["entered"] == 50
    assert simulator.members() == set(people(250))
    assert listed(stuck) == []
    assert "Nothing waits" in outbox(stuck, "list").out


def test_beside_a_daemon_it_is_the_daemon_that_carries_it_out(stuck, simulator):
    daemon = stuck.start("serve")
    daemon.reached("daemon.started")
    (batch,) = listed(stuck)
    key = str(batch["id"])

    refused = outbox(stuck, "drop", key, "--reason", "wrong list")
    retried = outbox(stuck, "retry", key, "--reason", "repaired", "--json")

    assert refused.code == 1
    assert "error[outbox.dead]" in refused.err
    assert "next: syncd run vip" in refused.err
    assert retried.code == 0
    assert retried.document["runs"][0]["requests"] == 1
    assert simulator.members() == set(people(250))
    (told,) = daemon.events("operator.retried")
    assert told["reason"] == "repaired"


def test_who_waits_for_a_retry_can_be_given_up(installation, simulator):
    installation.config["defaults"]["delivery"] |= {"batch_size": 50, "retries": 1}
    installation.sync()
    simulator.users(people(400))
    installation.audience(people(200))
    assert installation.run().code == 0
    installation.audience(people(250))
    simulator.fault("membership", "status", status=503)
    assert installation.run().code == 4
    simulator.no_faults()
    (batch,) = listed(installation)

    dropped = outbox(installation, "drop", str(batch["id"]), "--reason", "wrong list")
    (dead,) = listed(installation)
    installation.audience(people(220))
    after = installation.run()

    assert batch["state"] == "used_up"
    assert dropped.code == 0
    assert "is dead: it is not sent" in dropped.out
    assert (dead["id"], dead["state"]) == (batch["id"], "dead")
    assert dead["reason"].endswith(": wrong list")
    assert after.code == 0
    assert simulator.members() == set(people(220))


def test_what_means_no_batch_is_a_wrong_command(stuck):
    assert outbox(stuck, "retry", "99999", "--reason", "x").code == 2
    assert outbox(stuck, "drop", "vip", "--reason", "x").code == 2
    missing = outbox(stuck, "retry", "vib", "--reason", "x")
    assert missing.code == 2
    assert "Did you mean 'vip'?" in missing.err
    assert outbox(stuck, "retry", "vip").code == 2, "a reason is needed"


def test_the_outbox_names_nobody(stuck):
    said = outbox(stuck, "list", "--json")

    assert "person-" not in json.dumps(said.document) + said.err
