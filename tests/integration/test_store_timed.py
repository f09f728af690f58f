"""How long the store takes is counted by what it does."""

from syncd import metrics
from syncd.store.database import Database


def count(operation: str) -> float:
    name = "syncd_store_operation_duration_seconds_count"
    return metrics.REGISTRY.get_sample_value(name, {"operation": operation}) or 0.0


def test_each_operation_of_the_store_is_timed(database: Database) -> None:
    operations = ("wait", "write", "read", "rewrite")
    before = {each: count(each) for each in operations}

    with database.begin(), database.read():
        pass
    database.rewrite()

    on_sqlite = database.dialect == "sqlite"
    assert {each: count(each) - before[each] for each in operations} == {
        "wait": 2 if on_sqlite else 0,  # Postgres has many writers
        "write": 1,
        "read": 1,
        "rewrite": 1 if on_sqlite else 0,
    }
