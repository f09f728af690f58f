"""How a chunk writes its ids down: as text, or packed by zstd into half the room.

Both are read always, whatever the configuration says: it decides how a chunk is written
the next time, so that either way is taken chunk by chunk and nothing is sent again. The
library is an extra (`zstd`), loaded where something is packed or unpacked.

Level 1: random ids are digits without order, of which higher levels make no less
(performance.md section 4.3). The frame has a checksum of its content: where a bit of it
is wrong, nobody becomes somebody else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from syncd.errors import StoreRefused
from syncd.store.buckets import decode, encode
from syncd.store.tables import CODEC_TEXT, CODEC_ZSTD

Codec = Literal["text", "zstd"]
LEVEL = 1


class Broken(Exception):
    """What was written down cannot be read back. The text says why; it names nobody."""


@dataclass(frozen=True, slots=True)
class Written:
    """The columns of a chunk that say who is in it."""

    codec: int
    ids: str
    """Empty where they are packed."""
    packed: bytes | None
    """None where they are text."""


def write(ids: Iterable[bytes], codec: Codec) -> Written:
    """Write ids down; they keep their order.

    Raises `StoreRefused` where the codec's library is not installed.
    """
    match codec:
        case "text":
            return Written(CODEC_TEXT, encode(ids), None)
        case "zstd":
            return Written(CODEC_ZSTD, "", _pack(b"\n".join(ids)))


def read(written: Written) -> list[bytes]:
    """The ids of `write`, whichever way they were written.

    Raises `Broken`, and `StoreRefused` where the codec's library is not installed.
    """
    match written:
        case Written(codec=codec, ids=text, packed=None) if codec == CODEC_TEXT:
            return decode(text)
        case Written(codec=codec, ids="", packed=bytes(packed)) if codec == CODEC_ZSTD:
            content = _unpack(packed)
            return content.split(b"\n") if content else []
        case _:
            # An older program that still ran knows one column, and wrote that alone.
            raise Broken(f"codec {written.codec} does not fit what is stored")


def _pack(content: bytes) -> bytes:
    try:
        import zstandard
    except ImportError:
        raise _not_installed() from None
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(content)


def _unpack(packed: bytes) -> bytes:
    try:
        import zstandard
    except ImportError:
        raise _not_installed() from None
    try:
        return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    # A header may say any size, and so much is asked for before anything else is read.
    except (zstandard.ZstdError, MemoryError):
        raise Broken("its zstd frame cannot be unpacked") from None


def _not_installed() -> StoreRefused:
    return StoreRefused(
        "members are stored with the codec zstd, and zstandard is not installed",
        hint="python -m pip install 'syncd[zstd]'",
    )
