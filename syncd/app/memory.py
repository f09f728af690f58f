"""How this process's memory is handed out.

glibc gives each of a dozen threads an arena of its own. What one of them frees there is
of no use to the others and seldom goes back to the system: in a simulated month of
twenty syncs the process held 39 MB of such holes, with two arenas 7 MB (measured with
`mallinfo2`; tests/reliability/README.md, the soak). Nothing of Python's own is in them,
but SQLite's pages, compressors' and TLS's buffers.
"""

import ctypes
from contextlib import suppress

ARENAS = 2
"""The main one, and one for when that is taken: hardly anybody waits, since threads
mostly take turns in the interpreter."""
_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def share_arenas() -> None:
    """Let all threads share two arenas. Call it before the first thread is started.

    Where the C library is another one nothing happens.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
