"""Steering single batches, asked of a running engine: the same for socket and CLI."""

from collections.abc import Mapping
from typing import Any

from syncd.app.commands import shown
from syncd.app.engine import Engine
from syncd.sync.outbox import Choice, NotSteerable


def retry(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "batches", "actor", "via", "reason"}` -> `{"run": …}`: send them again.

    `batches` is `12,15`; empty or null: all of the sync that are open or dead.
    """
    return shown(engine.retry_batches(body["sync"], _choice(body)))


def drop(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "batches", "actor", "via", "reason"}` -> `{"batches": […]}`."""
    choice = _choice(body)
    if not choice.batches:
        raise NotSteerable(
            "no batch is named", code="outbox.unknown", hint="syncd outbox list"
        )
    dropped = engine.drop_batches(body["sync"], choice)
    return {
        "batches": [
            {"id": each.id, "sync": each.sync, "operation": each.operation, "n": each.n}
            for each in dropped
        ]
    }


def _choice(body: Mapping[str, Any]) -> Choice:
    return Choice(
        batches=_numbers(body["batches"] or ""),
        actor=body["actor"],
        via=body["via"],
        reason=body["reason"],
    )


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part for part in text.split(",") if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise NotSteerable(
            "batches are numbers", code="outbox.unknown", hint="syncd outbox list"
        )
    return tuple(int(part) for part in parts)
