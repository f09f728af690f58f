"""A configuration as a text, loaded from a file: what it says, or what is wrong."""

from pathlib import Path

import pytest

from syncd.config import InvalidConfig, Loaded, load
from syncd.errors import Problem


def load_text(folder: Path, text: str, **environ: str) -> Loaded:
    (folder / "syncd.yaml").write_text(text)
    return load([folder / "syncd.yaml"], environ)


def problems(folder: Path, text: str, **environ: str) -> list[Problem]:
    """The errors, in the order in which they come."""
    with pytest.raises(InvalidConfig) as caught:
        load_text(folder, text, **environ)
    return [one for one in caught.value.problems if one.severity == "error"]


def found(folder: Path, text: str) -> list[str]:
    """`line:column code message` of each of them."""
    return [
        f"{one.line}:{one.column} {one.code} {one.message}"
        for one in problems(folder, text)
    ]
