"""From words about people to whom a destination should hold. Pure.

A sync that is fed by events keeps no second list of members: whom the plans so far
wanted there can be told from what is stored about the destination, and the newest word
about each person stands above that.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet


def wanted_so_far(
    *,
    acknowledged: AbstractSet[bytes],
    uncertain: AbstractSet[bytes],
    meant_in: AbstractSet[bytes],
    unaccepted: AbstractSet[bytes],
) -> set[bytes]:
    """Whom the plans so far wanted as members.

    Of an uncertain id that is what its newest batch asks for (`meant_in` is the part of
    `uncertain` to be added), whatever the destination made of it. An unaccepted id is
    wanted, and not taken.
    """
    return {*(acknowledged - uncertain), *meant_in, *(unaccepted - uncertain)}


def overlay(
    below: Iterable[bytes], entered: Iterable[bytes], exited: Iterable[bytes]
) -> list[bytes]:
    """Who is wanted, once the newest words stand above what was said before.

    `entered` and `exited` name nobody twice.
    """
    wanted = set(below)
    wanted.update(entered)
    wanted.difference_update(exited)
    return list(wanted)
