"""What a request asks of the `public` origin, as log and fault scripts know it."""

import re

AUDIENCES, AUDIENCE = "public_audiences", "public_audience"
NAMES = (AUDIENCES, AUDIENCE)
PATH = re.compile(r"/spaces/([^/]+)/audiences(?:/([^/]+))?")


def route(path: str) -> tuple[str, str, str]:
    """Endpoint, space id, audience id; "" where there is none."""
    found = PATH.fullmatch(path)
    if found is None:
        return "unknown", "", ""
    space, audience = found[1], found[2] or ""
    return (AUDIENCE if audience else AUDIENCES), space, audience
