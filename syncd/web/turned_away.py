"""What is turned away before it is a request: why, and the whole answer to it.

The app never sees it, so the protocol writes these bytes itself, in the shape of every
other refusal.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

CONNECTIONS = "connections"
"""The cap is reached, and every connection waits for us."""
CROWDED = "crowded"
"""The cap is reached, and this half request came slowest."""
PIPELINED = "pipelined"
"""Too many requests were sent ahead on one connection."""
DEADLINE = "deadline"
"""The request took too long to arrive."""
HEAD = "head"
"""Its head is too long."""
UPGRADE = "upgrade"
"""It offers another protocol and has a body."""
MALFORMED = "malformed"
"""It is none."""

_MESSAGES = {
    CONNECTIONS: (503, "too many connections"),
    CROWDED: (503, "the request arrived too slowly while others waited"),
    PIPELINED: (503, "too many requests wait on this connection"),
    DEADLINE: (408, "the request did not arrive in time"),
    HEAD: (431, "the head of the request is too long"),
    UPGRADE: (400, "a body after an offer of another protocol cannot be read"),
    MALFORMED: (400, "not a request in HTTP/1.1"),
}
_BUSY = 503


def status_of(reason: str) -> int:
    """The status that goes with one of these words."""
    return _MESSAGES[reason][0]


def answer_of(reason: str) -> bytes:
    """A whole answer, after which the connection ends."""
    status, message = _MESSAGES[reason]
    body = b'{"error":{"code":"http.%b","message":"%b","hint":""}}' % (
        reason.encode(),
        message.encode(),
    )
    return b"".join(
        [
            STATUS_LINE[status],
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            b"retry-after: 5\r\n" if status == _BUSY else b"",
            b"connection: close\r\n\r\n",
            body,
        ]
    )
