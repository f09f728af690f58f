"""JSON as every reader gives it out: the same bytes on a pipe and over HTTP.

Documents only ever grow: whoever parses version 1 goes on to understand it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any


def json_document(name: str, document: Mapping[str, Any], *, version: int = 1) -> str:
    """An indented object whose first key is `schema`, e.g. `syncd.status/1`."""
    return _dumps({"schema": f"syncd.{name}/{version}", **document}, indent=True) + "\n"


def json_line(value: Mapping[str, Any]) -> str:
    """One line of a stream."""
    return _dumps(value, indent=False)


def _dumps(value: Mapping[str, Any], *, indent: bool) -> str:
    # Not at the top: the help and the shell's completion load this module too.
    import orjson

    options = orjson.OPT_UTC_Z | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(value, default=_plain, option=options).decode()


def _plain(value: object) -> object:
    """What orjson does not know: durations are seconds, times are UTC already."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        raise TypeError("raw bytes must not reach an output")
    return str(value)
