"""Statements that the driver is given as they are take values by their places alone."""

import pkgutil
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from syncd import store
from syncd.store.direct import LISTED, Direct


def statements() -> dict[str, Direct]:
    """Every one that a module of the store has made."""
    modules = [
        import_module(f"{store.__name__}.{found.name}")
        for found in pkgutil.iter_modules(store.__path__)
        if not found.ispkg
    ]
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Direct)
    }


STATEMENTS = statements()


@pytest.mark.parametrize("name", STATEMENTS)
def test_values_are_named_in_the_order_in_which_a_statement_holds_them(
    name: str,
) -> None:
    parts: dict[str, Any] = vars(STATEMENTS[name])

    compiled = parts["_statement"].compile(dialect=sqlite.dialect())

    held = [each for each in compiled.positiontup if each != LISTED]
    assert held == list(parts["_names"])


def test_what_is_written_for_every_batch_is_among_them() -> None:
    written = {"leases._RENEWED", "outbox._ACKNOWLEDGED", "ledger._WRITE"}

    assert written <= set(STATEMENTS)
