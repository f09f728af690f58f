"""Who may push: Amplitude signs nothing, so a key or a secret is all there is.

Lists and properties: Basic with the key as user and an empty password, or, as in vendor
page 1's test call, a header `api_key` (`app_id` beside it says nothing we need).
Webhooks: a secret in a custom header, which is all that Amplitude can add.
"""

from collections.abc import Mapping
from datetime import datetime

from syncd.sources.door import Refused
from syncd.sources.presented import Keys, basic, raw

API_KEY_HEADER = "api_key"


def check_api_key(keys: Keys, headers: Mapping[str, str], now: datetime) -> None:
    """Refuse with 401 who presents no valid key. Both ways are always tried."""
    presented = basic(headers.get("authorization", ""))
    user, password = presented or (b"", b"")
    by_basic = keys.matches(user, now) is not None and password == b""
    by_header = keys.matches(raw(headers.get(API_KEY_HEADER, "")), now) is not None
    if not (by_basic or by_header):
        raise Refused(
            401,
            "the api key is missing or wrong",
            code="push.credentials",
            hint="Basic with the key as user and an empty password, or the header "
            "api_key (proxies may drop names with an underscore)",
        )


def check_secret(
    keys: Keys, header: str, headers: Mapping[str, str], now: datetime
) -> None:
    """Refuse with 401 a webhook whose header does not carry the secret."""
    if keys.matches(raw(headers.get(header, "")), now) is None:
        raise Refused(
            401,
            f"the secret in the header {header} is missing or wrong",
            code="push.credentials",
            hint="add the header to the webhook in Amplitude",
        )
