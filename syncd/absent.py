"""Loading a library without what it would only like to have.

structlog loads rich where it is installed, httpx pygments and rich, for output that we
do not use (60 modules, a tenth of the time that a command takes to start), and
zstandard, for an encoding that we do not accept.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def absent(name: str) -> Iterator[None]:
    """What is imported within finds no package of this name, unless it is loaded.

    For imports at the top of a module: another thread would not find it either.
    """
    if name in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[name] = None  # Python's own sign for: not to be found
    try:
        yield
    finally:
        del modules[name]
