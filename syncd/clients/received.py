"""What comes back of a request: its headers, and its body as it was sent.

Never decompressed, and never more of it than is asked for: neither a huge body nor a
gzip bomb grows here.
"""

from collections.abc import Callable, Mapping

import httpcore

ACKNOWLEDGEMENT_BYTES = 64 * 1024
"""Cap on an answer unless the call names another; acknowledgements are small."""


class TooLarge(Exception):
    """A 2xx body is over the cap."""


def headers_of(response: httpcore.Response) -> dict[str, str]:
    """The headers of an answer; one that is there several times is one list."""
    found: dict[str, str] = {}
    for name, value in response.headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def read_body(
    response: httpcore.Response,
    headers: Mapping[str, str],
    take: Callable[[bytes], object],
    max_bytes: int,
) -> bytes:
    """A 2xx body to `take`, raw, or `TooLarge`; any other is returned, cut at the cap.

    Nothing is read of a body that declares to be over the cap.
    """
    if not 200 <= response.status <= 299:
        return _cut(response, min(max_bytes, ACKNOWLEDGEMENT_BYTES))
    declared = headers.get("content-length", "")
    read = 0
    if declared.isdigit() and int(declared) > max_bytes:
        raise TooLarge
    for piece in response.iter_stream():
        read += len(piece)
        if read > max_bytes:
            raise TooLarge
        take(piece)
    return b""


def _cut(response: httpcore.Response, max_bytes: int) -> bytes:
    kept = bytearray()
    for piece in response.iter_stream():
        kept += piece
        if len(kept) > max_bytes:
            return bytes(kept[:max_bytes])
    return bytes(kept)
