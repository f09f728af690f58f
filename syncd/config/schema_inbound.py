"""The keys of what is received: `inbox:`, `push:` and `web:`.

What stands here is what a *sender* shows to us; the keys of the same name at a
connection are our own, for asking the vendor. Which keys go together is in `inbound`.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from syncd.config.inbound_values import (
    Address,
    BasicUser,
    BodySize,
    DoorPath,
    Instant,
    KeyPath,
    SecretHeader,
)
from syncd.config.schema_admin import AdminShape
from syncd.config.shape import Shape
from syncd.config.values import Positive, Text, refuse

SECRET_HEADER = "x-syncd-key"  # noqa: S105 - the name of a header
"""Which header carries a sender's secret where the files say none."""


def _map_of_secret(value: object) -> object:
    if isinstance(value, str):
        message = "a secret may not stand in a config file"
        hint = "put it into a file and name that: {file: name}"
        refuse("secret.inline", message, hint=hint)
    return value


class SecondFactorShape(Shape):
    """`second_factor:`: a secret header, or Basic where `basic_user` is given."""

    header: SecretHeader | None = None
    basic_user: BasicUser | None = None
    file: Text | None = None
    env: Text | None = None
    previous_file: Text | None = None
    previous_env: Text | None = None
    previous_until: Instant | None = None


class InboxShape(Shape):
    """`inbox:` of an engage connection; one of secret and second factor is needed.

    Without a `second_factor` only single events are accepted: Segment signs no more
    than the first event of a batch (contract/segment.md 5).
    """

    path: DoorPath | None = None
    secret_file: Text | None = None
    """The shared secret of Engage's signature."""
    secret_env: Text | None = None
    previous_secret_file: Text | None = None
    previous_secret_env: Text | None = None
    previous_until: Instant | None = None
    second_factor: (
        Annotated[SecondFactorShape, BeforeValidator(_map_of_secret)] | None
    ) = None
    amplitude_id: KeyPath | None = None
    max_body: BodySize | None = None


class PushShape(Shape):
    """`push:` of an amplitude connection; one of both secrets is needed."""

    path: DoorPath | None = None
    api_key_file: Text | None = None
    """The key that Amplitude presents to us in list- and property-based syncs. Not the
    project's own key, which is the connection's `api_key_file`."""
    api_key_env: Text | None = None
    previous_api_key_file: Text | None = None
    previous_api_key_env: Text | None = None
    previous_api_key_until: Instant | None = None
    webhook_header: SecretHeader = SECRET_HEADER
    webhook_secret_file: Text | None = None
    """What a cohort webhook carries in `webhook_header`."""
    webhook_secret_env: Text | None = None
    previous_webhook_secret_file: Text | None = None
    previous_webhook_secret_env: Text | None = None
    previous_webhook_secret_until: Instant | None = None
    max_body: BodySize | None = None


class InboundShape(Shape):
    """`web: {inbound: …}`"""

    listen: Address | None = None
    max_connections: Annotated[Positive, Field(le=100_000)] | None = None


class WebShape(Shape):
    """`web:`"""

    inbound: InboundShape = InboundShape()
    admin: AdminShape = AdminShape()
