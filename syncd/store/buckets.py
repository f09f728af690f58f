"""How ids are spread over buckets, and how a bucket is written down. Pure.

A bucket is the low bits of xxh3-64 of an id, so the number of buckets is a power of
two and doubling it splits every bucket in two. About 4,096 ids a bucket keep its
set in the processor's cache (performance.md section 6).
"""

from collections.abc import Iterable

from xxhash import xxh3_64_intdigest

IDS_PER_BUCKET = 4_096
SPLIT_ABOVE = 8_192
"""Mean ids per bucket above which the number of buckets doubles."""

bucket_hash = xxh3_64_intdigest


def bucket_of(member_id: bytes, n_buckets: int) -> int:
    """The bucket of one id, 0 to n_buckets - 1."""
    return bucket_hash(member_id) & (n_buckets - 1)


def buckets_for(count: int, per_bucket: int = IDS_PER_BUCKET) -> int:
    """The power of two that gives `count` ids at most `per_bucket` a bucket (mean)."""
    n_buckets = 1
    while n_buckets * per_bucket < count:
        n_buckets *= 2
    return n_buckets


def encode(ids: Iterable[bytes]) -> str:
    """Newline-joined text; ids never hold control characters (`sync/ids`)."""
    return b"\n".join(ids).decode()


def decode(text: str) -> list[bytes]:
    """The ids of `encode`."""
    return text.encode().split(b"\n") if text else []
