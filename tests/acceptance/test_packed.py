"""`store.codec` as people set it: the real command, by itself and beside a daemon."""

import sqlite3
from contextlib import closing

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Installation
from tests.simulated import Simulator

EVERYBODY = [f"person-{number:06d}" for number in range(300)]
TEXT, ZSTD = 0, 1


@pytest.fixture
def vip(installation: Installation, simulator: Simulator) -> Installation:
    """300 people in a cohort that syncd wrote, packed; 310 are known to Amplitude."""
    simulator.post("/_sim/config", {"job_seconds": 0})
    simulator.users([*EVERYBODY, *(f"later-{number}" for number in range(10))])
    installation.sync()
    origin = simulator.origins["storage"]
    installation.config["connections"]["amplitude"]["storage_origin"] = origin
    installation.config["store"]["codec"] = "zstd"
    installation.audience(EVERYBODY)
    assert installation.run().run["outcome"] == "success"
    return installation


def adopted(vip: Installation) -> None:
    """Every chunk is written anew."""
    said = ("--reason", "another codec", "--yes")
    ended = vip.syncd("resync", "vip", "--adopt", *said)
    assert ended.code == ExitCode.OK, ended.err


def codecs(vip: Installation) -> set[int]:
    with closing(sqlite3.connect(f"file:{vip.database}?mode=ro", uri=True)) as store:
        return {codec for (codec,) in store.execute("SELECT codec FROM chunk")}


def members(vip: Installation) -> list[str]:
    ended = vip.syncd("members", "vip")
    assert ended.code == ExitCode.OK, ended.err
    return sorted(ended.out.split())


def test_either_codec_takes_over_from_the_other_and_nobody_is_sent_again(
    vip: Installation, simulator: Simulator
) -> None:
    seen = simulator.last()
    adopted(vip)
    packed = codecs(vip)
    vip.config["store"]["codec"] = "text"
    vip.audience([*EVERYBODY[1:], "later-1"])
    ended = vip.run("vip")
    adopted(vip)

    assert packed == {ZSTD}
    assert ended.run["outcome"] == "success"
    assert simulator.sent("ADD", seen) == ["later-1"]
    assert simulator.sent("REMOVE", seen) == EVERYBODY[:1]
    assert codecs(vip) == {TEXT}
    assert members(vip) == sorted([*EVERYBODY[1:], "later-1"])


def test_a_backup_has_everybody_and_one_damaged_frame_holds_up_nothing_but_its_sync(
    vip: Installation, simulator: Simulator
) -> None:
    adopted(vip)
    copy = vip.folder / "copy.db"
    assert vip.syncd("db", "backup", str(copy)).code == ExitCode.OK
    with closing(sqlite3.connect(vip.database)) as store:
        store.execute("UPDATE chunk SET packed = substr(packed, 1, length(packed) - 9)")
        store.commit()
    vip.sync("other")
    vip.audience(EVERYBODY[:5], "other")
    vip.audience(EVERYBODY[1:])
    before = simulator.members()

    failed, other = vip.run("vip"), vip.run("other")
    listed = vip.syncd("members", "vip")
    vip.database.write_bytes(copy.read_bytes())
    restored = vip.run("vip")

    assert failed.run["outcome"] == "failed"
    assert failed.run["reason"] == "store.damaged"
    assert other.run["outcome"] == "success"
    assert before == set(EVERYBODY)
    assert listed.code == ExitCode.UNAVAILABLE
    assert "error[store.damaged]" in listed.err
    assert "Traceback" not in failed.err + listed.err
    assert restored.run["exited"] == 1
    assert members(vip) == EVERYBODY[1:]


def test_a_running_daemon_packs_and_keeps_to_its_codec(vip: Installation) -> None:
    daemon = vip.start("serve")
    assert daemon.reached("daemon.started")
    vip.config["store"]["codec"] = "text"

    refused = vip.syncd("reload")
    adopted(vip)

    assert codecs(vip) == {ZSTD}
    assert refused.code == ExitCode.CONFIG
    assert "error[config.restart]" in refused.err
    assert "store.codec" in refused.err
    assert daemon.stop() == 0
