"""Who is asking (R3, R4): before everything else, also before 404. Never a 401."""

import base64
import binascii
import hmac

from syncd.simulator.answers import Refusal
from syncd.simulator.world import Project, World

UNKNOWN_KEY = "Invalid API Key"
WRONG_PAIR = "Invalid API/Secret Key combination"


def key_and_secret(header: str | None) -> tuple[str, str] | None:
    """The two parts of a Basic header; None if there is no well-formed one."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    key, colon, secret = text.partition(":")
    return (key, secret) if colon else None


def authenticate(world: World, header: str | None) -> Project:
    """The project behind the credentials. Raises Refusal 403."""
    pair = key_and_secret(header)
    project = world.by_key(pair[0]) if pair else None
    if pair is None or project is None:
        raise Refusal(403, UNKNOWN_KEY)
    if not hmac.compare_digest(pair[1].encode(), project.secret_key.encode()):
        raise Refusal(403, WRONG_PAIR)
    return project


def known_project(world: World, header: str | None) -> Project | None:
    """Whose key it is, for the log: no unknown key, as that may be a secret."""
    pair = key_and_secret(header)
    return world.by_key(pair[0]) if pair else None
