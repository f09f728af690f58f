"""A cohort's changes as Amplitude's requests (contract section 7, R26). Pure.

list              {"userIds": […]} to `/lists/{id}/add` and `/lists/{id}/remove`
property_single   one identify with a trait true or false
property_batch    {"batch": […]} of them
webhook           the template payload, one direction per message
webhook_users     an array with one object per user
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from syncd.simulator.sender import Post
from syncd.simulator.sender_policy import Policy
from syncd.simulator.sender_settings import AmplitudeSettings
from syncd.simulator.signing import stringify

CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}
WEBHOOKS = ("webhook", "webhook_users")
LIST_BATCH, BATCH = 10_000, 1_000
WEBHOOK_TIMEOUT, TIMEOUT = 2.0, 30.0
WEBHOOK_AGENT = "Amplitude/Webhook/1.0"
TRAITS = {
    "brackets_colon": "[Amplitude] {name}: {id}",
    "parentheses": "{name} ({id})",
    "brackets_parentheses": "[Amplitude] {name} ({id})",
    "colon": "{name}:{id}",
}
"""The spellings that were seen (7.3), by the value of the switch `sender_trait`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One direction of one sync."""

    entering: bool
    user_ids: Sequence[str]
    cohort_id: str
    cohort_name: str
    computed_at: int
    """Epoch seconds."""
    message: UUID
    """Of the sync; the same for both directions and all tries."""
    list_id: str = ""
    trait: str = ""
    """As it is sent."""


def policy(
    settings: AmplitudeSettings, *, honours_retry_after: bool, retries_4xx: bool
) -> Policy:
    """How long a mode waits; anything but a 200 is asked again."""
    own = WEBHOOK_TIMEOUT if settings.mode in WEBHOOKS else TIMEOUT
    return Policy(
        vendor="amplitude",
        timeout=settings.timeout or own,
        retries=settings.retries,
        retries_4xx=retries_4xx,
        honours_retry_after=honours_retry_after,
    )


def create_list(settings: AmplitudeSettings, name: str) -> Post:
    """The first request of a list-based sync; `name` as `[Amplitude] NAME: ID`."""
    return request(settings, settings.url, {"name": name, "context": CONTEXT})


def posts_of(settings: AmplitudeSettings, wave: Wave) -> Iterator[Post]:
    """The requests of one direction, in order."""
    size = settings.batch_size or (LIST_BATCH if settings.mode == "list" else BATCH)
    if settings.mode == "property_single":
        size = 1
    for number, start in enumerate(range(0, len(wave.user_ids), size)):
        user_ids = wave.user_ids[start : start + size]
        body = _body(settings, wave, user_ids, number)
        yield request(settings, _url(settings, wave), body, items=len(user_ids))


def _url(settings: AmplitudeSettings, wave: Wave) -> str:
    if settings.mode != "list":
        return settings.url
    verb = "add" if wave.entering else "remove"
    given = settings.add_url if wave.entering else settings.remove_url
    template = given or f"{settings.url.rstrip('/')}/$listId/{verb}"
    return template.replace("$listId", wave.list_id)


def _body(
    settings: AmplitudeSettings, wave: Wave, user_ids: Sequence[str], number: int
) -> Any:
    match settings.mode:
        case "list":
            return {settings.ids_key: list(user_ids), "context": CONTEXT}
        case "property_single":
            return _identify(wave, user_ids[0])
        case "property_batch":
            return {"batch": [_identify(wave, one) for one in user_ids]}
        case "webhook":
            return _message(settings, wave, user_ids, number)
        case _:
            name = f"amplitude_{wave.cohort_name}_{wave.cohort_id}"
            return [{"user_id": one, name: wave.entering} for one in user_ids]


def _identify(wave: Wave, user_id: str) -> dict[str, Any]:
    return {
        "type": "identify",
        "traits": {wave.trait: wave.entering},
        "userId": user_id,
        "context": CONTEXT,
    }


def _message(
    settings: AmplitudeSettings, wave: Wave, user_ids: Sequence[str], number: int
) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if settings.user_properties:
        more = {"user_properties": settings.user_properties}
    word = "true" if wave.entering else "false"
    direction = "enter" if wave.entering else "exit"
    return {
        "cohort_name": wave.cohort_name,
        "cohort_id": wave.cohort_id,
        "in_cohort": word if settings.value_as == "text" else wave.entering,
        settings.computed_key: str(wave.computed_at),
        "message_id": f"{wave.message}::{direction}::{number}",
        "users": [{"user_id": one} | more for one in user_ids],
    }


def request(
    settings: AmplitudeSettings, url: str, body: Any, *, items: int = 1
) -> Post:
    """One request with the credentials of the set-up."""
    raw = body if isinstance(body, bytes) else stringify(body)
    headers = {"Content-Type": "application/json"} | _credentials(settings)
    if settings.mode in WEBHOOKS:
        headers["User-Agent"] = WEBHOOK_AGENT
    given = headers | settings.headers
    return Post(url=url, body=raw, headers=tuple(given.items()), items=items)


def _credentials(settings: AmplitudeSettings) -> dict[str, str]:
    key = settings.api_key
    match settings.auth:
        case "basic" if key:
            return {"Authorization": f"Basic {b64encode(f'{key}:'.encode()).decode()}"}
        case "header":
            return {"api_key": key, "app_id": settings.app_id}
        case "bearer":
            return {"Authorization": f"Bearer {key}"}
        case _:
            return {}
