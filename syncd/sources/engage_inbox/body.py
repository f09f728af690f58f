"""The JSON of a request, or the refusal of it."""

from typing import Any

from syncd.sources.door import Refused
from syncd.sources.strict_json import InvalidJson, parse


def content_of(body: bytes) -> Any:
    """What the body holds. Raises `Refused` with 400."""
    try:
        return parse(body)
    except InvalidJson as error:
        raise Refused(400, str(error), code=error.code) from None
