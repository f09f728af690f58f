"""JSON as hand-made templates write it: with a comma after the last element.

Customers edit the webhook's template, and a loop that ends with a comma is the usual
slip (contract/amplitude.md 7.4). Such a body means what it would without that comma, so
it is read so. Nothing else is mended: a comma inside text stays, and what is no JSON
without its last commas is refused.
"""

import re
from typing import Any

from syncd.sources.strict_json import InvalidJson, parse

TEMPLATE_HINT = (
    "write texts of the template as ${…?json_string}, booleans and numbers as ${…?c}"
)
"""What FreeMarker needs to be told: it writes a quote in a name as it stands, and a
great number with commas."""

_KEPT_OR_LAST_COMMA = re.compile(
    rb"""("(?:[^"\\]++|\\.)*+"?|[\[{][ \t\r\n]*+,)|,(?=[ \t\r\n]*+[\]}])""", re.DOTALL
)
"""What stays: a text, whole, or up to the end of the body where it does not end; a
comma that comes first. Else a last comma. Possessive, so that no body makes it look at
a byte many times."""


def parse_template(body: bytes) -> Any:
    """As `strict_json.parse`, which is tried first. Raises `InvalidJson`."""
    try:
        return parse(body)
    except InvalidJson:
        mended = without_last_commas(body)
        if mended == body:
            raise
    return parse(mended)


def without_last_commas(body: bytes) -> bytes:
    """The body without the commas that stand before a closing bracket."""
    return _KEPT_OR_LAST_COMMA.sub(lambda found: found.group(1) or b"", body)
