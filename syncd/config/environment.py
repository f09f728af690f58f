"""The process environment, read here and nowhere else (ruff's TID251 sees to it).

A function, not a value, so that whoever needs a variable says so by taking a mapping
as an argument; only the outermost frame calls this.
"""

import os
from collections.abc import Mapping


def environ() -> Mapping[str, str]:
    """A snapshot of the variables of this process; changing it changes nothing."""
    return dict(os.environ)  # noqa: TID251 - this is the one place
