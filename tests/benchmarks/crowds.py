"""Two lists of people of whom a few left and as many entered, made quickly.

Ids are UUIDs of version 4 as text, a line each below the header `user_id`, in random
order in both lists. The same seed makes the same people.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HEADER = "user_id"
_TOGETHER = 200_000
"""Ids made and shuffled at once; the order of such blocks is random as well."""
_TEXT = 37
"""Bytes of a line: 36 of a UUID and the line break."""
_DASHES = (8, 13, 18, 23)
_DIGITS = [at for at in range(36) if at not in _DASHES]
"""Where the 32 hexadecimal digits stand in a UUID."""
_VARIANT = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)


def _chance(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311  # made-up people


def uuids(seed: str, count: int) -> bytes:
    """So many UUIDs, a line each; 0.15 µs an id, where `uuid.uuid4` takes 2."""
    digits = _chance(seed).randbytes(16 * count).hex().encode()
    lines = bytearray(b"\n") * (_TEXT * count)
    for nth, at in enumerate(_DIGITS):
        lines[at::_TEXT] = digits[nth::32]
    for at in _DASHES:
        lines[at::_TEXT] = b"-" * count
    lines[14::_TEXT] = b"4" * count
    lines[19::_TEXT] = lines[19::_TEXT].translate(_VARIANT)
    return bytes(lines)


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """So many people, of whom `moved` are others a day later."""

    count: int
    moved: int
    seed: int = 1

    def write_before(self, path: Path) -> None:
        """The list as it was."""
        with path.open("wb") as file:
            file.write(f"{HEADER}\n".encode())
            for nth, size in self._blocks():
                file.write(self._people(nth, size))

    def write_otherwise(self, path: Path) -> None:
        """The list as it was, in another order."""
        self._write_shuffled(path, self._people)

    def write_now(self, path: Path) -> None:
        """The list as it is: of each block some have left, as many have entered."""
        self._write_shuffled(path, self._people_now)

    def _write_shuffled(self, path: Path, people: Callable[[int, int], bytes]) -> None:
        order = list(self._blocks())
        chance = _chance(str(self.seed))
        chance.shuffle(order)
        with path.open("wb") as file:
            file.write(f"{HEADER}\n".encode())
            for nth, size in order:
                lines = people(nth, size).splitlines(keepends=True)
                chance.shuffle(lines)
                file.write(b"".join(lines))

    def left(self) -> set[str]:
        """Who is in the first list alone."""
        return {
            one
            for nth, size in self._blocks()
            for one in self._people(nth, size)[: self._moving(nth) * _TEXT]
            .decode()
            .split()
        }

    def entered(self) -> set[str]:
        """Who is in the second list alone."""
        return {
            one
            for nth, _ in self._blocks()
            for one in self._strangers(nth).decode().split()
        }

    def _blocks(self) -> Iterator[tuple[int, int]]:
        for nth, first in enumerate(range(0, self.count, _TOGETHER)):
            yield nth, min(_TOGETHER, self.count - first)

    def _moving(self, nth: int) -> int:
        """How many of a block leave: its share of all, to the very person."""
        until = min((nth + 1) * _TOGETHER, self.count)
        return self._share(until) - self._share(nth * _TOGETHER)

    def _share(self, people: int) -> int:
        return people * self.moved // self.count

    def _people(self, nth: int, size: int) -> bytes:
        return uuids(f"{self.seed} member {nth}", size)

    def _people_now(self, nth: int, size: int) -> bytes:
        stayed = self._people(nth, size)[self._moving(nth) * _TEXT :]
        return stayed + self._strangers(nth)

    def _strangers(self, nth: int) -> bytes:
        return uuids(f"{self.seed} stranger {nth}", self._moving(nth))
