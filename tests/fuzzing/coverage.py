"""One target under libFuzzer (atheris), as a process: `NAME FOLDER OPTIONS…`.

Goes on after a failure: an input is kept in FOLDER for each place at which something
fails, and one for each that seems slow.
"""

import sys
import time
import traceback
from hashlib import sha256
from pathlib import Path

from tests.fuzzing.mutation import ODD
from tests.fuzzing.target import LARGEST, Target, quiet

LARGEST_RUN = LARGEST // 2
"""Bytes of an input. Twice as many runs a second as with longer ones."""
_SLOW = 8
"""Times of the limit that an input may take under instruments."""


def dictionary(target: Target) -> str:
    """The words of a target, as libFuzzer reads them."""
    words = [each for each in (*target.words, *ODD) if len(each) <= 64]
    spelled = ["".join(f"\\x{octet:02x}" for octet in each) for each in words]
    return "".join(f'"{each}"\n' for each in spelled)


class Kept:
    """Runs inputs and keeps those that fail, one for each place."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self._places: set[str] = set()

    def run(self, data: bytes) -> None:
        """One input; never raises."""
        began = time.thread_time()
        try:
            self._target.run(data)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is kept
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} {frame.filename}:{frame.lineno}"
            self._keep(place, data)
        if time.thread_time() - began > _SLOW * self._target.seconds:
            self._keep(f"slow {len(data).bit_length()}", data)

    def _keep(self, place: str, data: bytes) -> None:
        if place not in self._places:
            self._places.add(place)
            (self._folder / sha256(data).hexdigest()[:16]).write_bytes(data)


def main() -> None:
    """Until the time is over."""
    # Before anything of the product is imported.
    import atheris  # type: ignore[import-untyped]

    name, folder, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["syncd"]):
        from tests.fuzzing.targets import TARGETS
    kept = Kept(TARGETS[name], Path(folder))
    atheris.Setup([sys.argv[0], *options], kept.run)
    with quiet():
        atheris.Fuzz()


if __name__ == "__main__":
    main()
