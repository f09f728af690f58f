"""Who is forgotten, as the doors ask for every id that is pushed to us.

Kept in memory and read again when it changed: by a command of this process at once, by
another one within seconds. Who slips in meanwhile is left out of every plan all the
same, and erased.
"""

import threading

from syncd.model import IdType
from syncd.store import forgotten
from syncd.store.database import Database
from syncd.store.forgotten import NOBODY, Forgotten
from syncd.sync import ids
from syncd.sync.ids import Reason


class Remembered:
    """Hygiene for what is pushed to us. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen = (0, 0)
        self._people: dict[IdType, Forgotten] = {}

    def follow(self) -> None:
        """Know of everybody the store knows of. Raises `StoreError`."""
        with self._lock, self._database.read() as connection:
            seen = forgotten.position(connection), forgotten.count(connection)
            if seen != self._seen:
                self._people = {
                    each: forgotten.load(connection, each) for each in IdType
                }
                self._seen = seen

    def accept(
        self, block: list[bytes], id_type: IdType
    ) -> tuple[list[bytes], dict[str, int]]:
        """As for every whole list: ids that may go out, the rest by reason."""
        accepted = ids.accept(block, id_type)
        refused = {str(why): count for why, count in accepted.refused.items()}
        gone = set(self._people.get(id_type, NOBODY).among(accepted.ids))
        if not gone:
            return accepted.ids, refused
        kept = [each for each in accepted.ids if each not in gone]
        refused[Reason.FORGOTTEN.value] = len(accepted.ids) - len(kept)
        return kept, refused
