"""How a sender is set up: one value per choice the vendor's customer has.

A setting is given by name over the control origin and has the type of its default.
Secrets and keys are never shown again.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

SECRETS = ("secret", "api_key", "headers", "token")
"""Shown as `set` or not at all."""
MOST_RETRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EngageSettings:
    """An Engage destination that posts to a webhook (contract sections 4 and 5)."""

    url: str = ""
    audience: str = ""
    """Id or key of an audience of the simulator."""
    secret: str = field(default="", repr=False)
    """Signs; without one no signature is sent (H6)."""
    flavour: str = "classic"
    """`classic`, `actions_single`, `actions_batch`, `extensible`."""
    signing: str = "today"
    """Of batches: `today` the first element (H7), `whole` the body (PR #3989);
    `segment_header`: the body too, in `X-Segment-Signature` instead of `X-Signature`, a
    setting of the destination since 2026; `none`: no header at all (H10)."""
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request: the second factor."""
    type: str = "identify"
    """Or `track`."""
    batch_size: int = 1000
    include_anonymous: bool = False
    id_sync: str = "all"
    """Entries of every user id of a profile, or of the `first` (E2, E4)."""
    historical: bool = True
    """The first push tells of everybody who is in already (E1)."""
    duplicates: float = 0.0
    """Share of the events that are sent twice."""
    shuffle: bool = False
    """Events leave in any order (E8)."""
    seed: int = 1
    """Of all chance, and of the message ids."""
    live: bool = False
    """Push by itself as soon as the audience changes."""
    value_as: str = "boolean"
    """Or `text`: "true" and "false", as journeys do."""
    email: bool = True
    """Send the e-mail along."""
    traits: dict[str, Any] = field(default_factory=dict)
    """Trait Enrichment: more keys beside the membership."""
    extras: dict[str, Any] = field(default_factory=dict)
    """Webhook Audiences: merged into the body after signing (H9)."""
    external_audience_id: str = ""
    """What a create hook answered, or anything else."""
    audience_settings: dict[str, Any] = field(default_factory=dict)
    integration: str = "Webhooks (Actions)"
    entered: str = "Audience Entered"
    exited: str = "Audience Exited"
    timeout: float = 0.0
    """Real seconds; 0: those of the flavour (H1, H2)."""
    retries: int = 8

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "flavour": ("classic", "actions_single", "actions_batch", "extensible"),
        "signing": ("today", "whole", "segment_header", "none"),
        "method": ("POST", "PUT", "PATCH"),
        "type": ("identify", "track"),
        "id_sync": ("all", "first"),
        "value_as": ("boolean", "text"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class AmplitudeSettings:
    """An Amplitude destination that gets a cohort pushed (section 7)."""

    url: str = ""
    """List-based: where lists are made; else where everything goes."""
    cohort: str = ""
    """Id of a cohort of the simulator."""
    mode: str = "list"
    """`list`, `property_single`, `property_batch`, `webhook`, `webhook_users`."""
    auth: str = "basic"
    """`basic` (the key as user, no password), `header` (`api_key`, `app_id`),
    `bearer`, `none`."""
    api_key: str = field(default="", repr=False)
    app_id: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    list_answer: str = "production"
    """The id of a new list is read below `response`; `testing`: flat."""
    id_key: str = "listId"
    ids_key: str = "userIds"
    add_url: str = ""
    """With `$listId`; "": `/$listId/add` below `url`."""
    remove_url: str = ""
    batch_size: int = 0
    """0: 10,000 a list's ids, 1,000 users of any other mode."""
    trait: str = ""
    """With `{name}` and `{id}`; "": what the switch `sender_trait` says."""
    every: float = 0.0
    """Seconds of the clock between pushes; 0: on demand."""
    removes_wait: bool = True
    """Removes leave when all adds are answered; else among them."""
    duplicates: float = 0.0
    shuffle: bool = False
    seed: int = 1
    computed_key: str = "computed_time"
    """Of a webhook; older pages name it `compute_time`."""
    value_as: str = "boolean"
    """Of a webhook's `in_cohort`; or `text`."""
    user_properties: dict[str, Any] = field(default_factory=dict)
    timeout: float = 0.0
    """Real seconds; 0: 2 of a webhook, else 30."""
    retries: int = 8

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "mode": (
            *("list", "property_single", "property_batch"),
            *("webhook", "webhook_users"),
        ),
        "auth": ("basic", "header", "bearer", "none"),
        "list_answer": ("production", "testing"),
        "computed_key": ("computed_time", "compute_time"),
        "value_as": ("boolean", "text"),
    }


Settings = TypeVar("Settings", EngageSettings, AmplitudeSettings)


def changed(settings: Settings, values: dict[str, Any]) -> Settings:
    """The settings with some values replaced. Raises ValueError for a wrong one."""
    known = {one.name: getattr(settings, one.name) for one in fields(settings)}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"a sender of this kind has no {name}")
        if not _fits(known[name], value):
            raise ValueError(f"{name} has the wrong type")
        if name in settings.CHOICES and value not in settings.CHOICES[name]:
            choices = ", ".join(settings.CHOICES[name])
            raise ValueError(f"{name} must be one of {choices}")
    made = replace(settings, **values)
    _check(made)
    return made


def _fits(old: object, value: object) -> bool:
    if isinstance(old, float):
        return type(value) in (int, float)
    return type(value) is type(old)


def _check(settings: EngageSettings | AmplitudeSettings) -> None:
    if not settings.url.startswith(("http://", "https://")):
        raise ValueError("url must be an http address")
    if not 0 <= settings.duplicates <= 1:
        raise ValueError("duplicates is a share from 0 to 1")
    if not 0 <= settings.retries <= MOST_RETRIES:
        raise ValueError(f"retries must be 0 to {MOST_RETRIES}")
    if settings.timeout < 0 or settings.batch_size < 0:
        raise ValueError("timeout and batch_size cannot be negative")
    if not all(isinstance(value, str) for value in settings.headers.values()):
        raise ValueError("headers must be texts")


def shown(settings: EngageSettings | AmplitudeSettings) -> dict[str, Any]:
    """For the control origin, without what is secret."""
    values = asdict(settings)
    for name in SECRETS:
        if values.get(name):
            values[name] = "set"
    return values
