"""Files as they are downloaded or lie in a folder: small, whole, and of every kind."""

import gzip

CSV = b'"user_id","amplitude_id"\n"person-1","1"\n"a ""b"", c","2"\n'


def _packed(plain: bytes) -> bytes:
    return gzip.compress(plain, mtime=0)


PACKED = (
    CSV,
    _packed(CSV),
    _packed(_packed(CSV)),
    _packed(CSV[:30]) + _packed(CSV[30:]),
    _packed(CSV)[:-9],
    _packed(b"\0" * (1 << 20)),
    _packed(_packed(b"") * 100_000),
)
"""The last one took three seconds once."""
