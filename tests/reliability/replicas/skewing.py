"""A machine whose wall clock is wrong, played for one process by libfaketime.

Only what asks for the wall clock is lied to. The clocks that nobody sets (monotonic,
since boot), waits, and the times of files stay as they are: three machines that read
the same files have them from one file server.
"""

import random
from dataclasses import dataclass
from pathlib import Path

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
"""Debian's package `faketime` brings it."""
NOTICED = 1.0
"""Seconds after which a process goes by what its clock was set to, at the latest."""
STEPS = (-86_400, -3_600, -90, -20, 0, 20, 90, 3_600, 86_400)
"""Seconds by which a clock is ahead once it was set: a day, and less than a daemon
takes for a step (30)."""
_SETTINGS = {
    "FAKETIME_CACHE_DURATION": f"{NOTICED:.0f}",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    # Otherwise each wait on a condition of the monotonic clock ends at once, among them
    # that of a thread for its turn (Python's global lock).
    "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    "NO_FAKE_STAT": "1",
}
_SHARED = Path("/dev/shm")  # noqa: S108  # where that library puts it
_LEFT_BEHIND = ("faketime_shm_{}", "sem.faketime_sem_{}")


@dataclass
class WrongClock:
    """The wall clock of a machine, which may be set while processes go by it."""

    file: Path
    """Holds what the library reads again and again."""
    ahead: int
    """Seconds; negative where it is behind."""

    def __post_init__(self) -> None:
        self.set(self.ahead)

    def set(self, ahead: int) -> None:
        """It is so many seconds ahead from now on."""
        self.ahead = ahead
        # In one write, and never empty: whoever reads it meanwhile sees a whole number.
        new = self.file.with_suffix(".new")
        new.write_text(f"{ahead:+d}\n", encoding="ascii")
        new.replace(self.file)

    def set_by(self, dice: random.Random) -> None:
        """It is set, to anything but what it shows."""
        self.set(dice.choice([each for each in STEPS if each != self.ahead]))

    def before(self) -> list[str]:
        """Begins the command of a process that goes by it."""
        assert LIBRARY is not None, "the package faketime is missing"
        settings = _SETTINGS | {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items())]


def sweep(pid: int) -> None:
    """Remove what a process that was killed left in shared memory."""
    for name in _LEFT_BEHIND:
        (_SHARED / name.format(pid)).unlink(missing_ok=True)
