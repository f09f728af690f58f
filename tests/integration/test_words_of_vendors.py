"""What a vendor says of another connection's key is nowhere kept with it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from syncd.errors import DeliveryError
from syncd.model import Trigger
from syncd.redaction import register_secret
from syncd.store import fetches, runs
from syncd.store.database import Connection
from tests.builders import NOW, REFUSED, Trouble, World, new_database, people

Note = Callable[[Connection, int, str, datetime], object]
THEIRS = "key-of-another-connection-8315"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tattling(Trouble):
    """A refusal that names a key which this client never sent."""

    def error(self) -> DeliveryError:
        words = f"no such key: {THEIRS}"
        return DeliveryError(
            f"refused: {words}",
            fault=self.fault,
            error_type=self.error_type,
            status=self.status,
            vendor_message=words,
        )


def test_a_run_that_ended_with_a_vendors_words_keeps_no_key_in_them(
    tmp_path: Path,
) -> None:
    database = new_database(tmp_path)
    world = World(database=database, spool=tmp_path)
    world.sync(members=people(1))
    world.vendor.known = people(1)
    world.vendor.always = Tattling(
        fault=REFUSED.fault, error_type="forbidden", status=403
    )
    register_secret(THEIRS)

    with world.engine() as engine:
        report = engine.run("vip", Trigger.MANUAL)

    assert report is not None
    with database.read() as connection:
        (kept,) = runs.find(connection, report.run_id)
    assert "no such key" in kept.summary["message"]
    assert THEIRS not in kept.summary["message"]
    assert THEIRS not in report.message
    database.close()


@pytest.mark.parametrize(
    "note", [fetches.refused, fetches.lost, fetches.give_up, fetches.broke]
)
def test_a_download_that_failed_keeps_no_key_in_why(tmp_path: Path, note: Note) -> None:
    database = new_database(tmp_path)
    register_secret(THEIRS)

    with database.begin() as connection:
        key = fetches.begin(
            connection,
            project="p",
            cohort_id="c",
            name="n",
            computed_before=None,
            size_before=None,
            sync="vip",
            run_id="r",
            by_person=False,
            now=NOW,
        )
        note(connection, key, f"no such key: {THEIRS}", NOW)
        kept = fetches.get(connection, key).error

    assert kept is not None
    assert "no such key" in kept
    assert THEIRS not in kept
    database.close()
