"""One message to one channel: what is sent, and what its answer means.

Addresses and secrets are read anew for each message, so that a rotated file counts. No
error names more of an address than its host: the rest of it is a secret.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from syncd.app.vendors import secret_of
from syncd.clients.http import Answer, HttpClient, TransportError
from syncd.clients.limits import retry_after
from syncd.clock import Clock
from syncd.config.secrets import SecretRef, SecretUnavailable
from syncd.config.settings_notifications import (
    ChannelSettings,
    Outward,
    SlackSettings,
    WebhookSettings,
)
from syncd.config.values import LOOPBACK
from syncd.errors import SyncdError
from syncd.notify import slack, standard_webhook
from syncd.notify.messages import Message
from syncd.notify.standard_webhook import BadSecret

DEADLINE = 10.0
"""Real seconds for a whole request."""
_WORD = re.compile(r"[a-z_]{1,40}")
"""What Slack says instead of `ok`: `no_service`, `invalid_payload`."""
_LATER = (408, 425, 429)


class NotTaken(SyncdError):
    """A message or ping that did not arrive. Its text says why, and holds no secret."""

    code = "notification.failed"

    def __init__(
        self,
        reason: str,
        *,
        error_type: str,
        hint: str = "",
        of_message: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(reason, hint=hint)
        self.error_type = error_type
        self.of_message = of_message
        """It was answered: another message may be taken."""
        self.wait = wait
        """Seconds that the answer asks us to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What goes out, apart from the path."""

    body: bytes | None
    headers: dict[str, str]
    method: str = "POST"


def request_of(settings: ChannelSettings, message: Message, clock: Clock) -> Request:
    """The bytes for a channel, signed as of now where it wants that.

    Raises `NotTaken` when a secret cannot be read or is none.
    """
    match settings:
        case SlackSettings():
            headers = {"content-type": "application/json"}
            return Request(body=slack.body(message), headers=headers)
        case WebhookSettings():
            body = standard_webhook.body(message)
            return Request(body=body, headers=_signed(settings, message, body, clock))


def post(settings: ChannelSettings, message: Message, clock: Clock) -> Answer:
    """Have a channel take a message. Raises `NotTaken`."""
    return send(settings.outward, request_of(settings, message, clock), clock)


def send(
    outward: Outward,
    request: Request,
    clock: Clock,
    path: Callable[[str], str] = lambda known: known,
) -> Answer:
    """Make one request; an answer that is not 2xx raises `NotTaken`.

    `path` makes of the address' path the one to ask for.
    """
    origin, known = address(outward, clock)
    try:
        with _client(origin, outward, clock) as http:
            answer = http.request(
                request.method,
                path(known),
                body=request.body,
                headers=request.headers,
            )
            host = http.host
    except TransportError as error:
        raise NotTaken(str(error), error_type=_TYPES[error.kind]) from None
    if not answer.ok:
        raise _refused(host, answer, clock)
    return answer


def _client(origin: str, outward: Outward, clock: Clock) -> HttpClient:
    proxy = None if outward.proxy_url is None else read(outward.proxy_url)
    try:
        return HttpClient(
            origin,
            clock=clock,
            workers=1,
            deadline=DEADLINE,
            proxy_url=proxy,
            ca_file=outward.ca_file,
        )
    except (ValueError, OSError):  # its text may quote the proxy's password
        what = "its ca_file cannot be read, or its proxy_url is no URL"
        raise NotTaken(what, error_type="config", hint="syncd check") from None


def address(outward: Outward, clock: Clock) -> tuple[str, str]:
    """Origin and path of an address. Raises `NotTaken`."""
    url = read(outward.url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    near = LOOPBACK.fullmatch(host) is not None
    secure = parts.scheme == "https" or (parts.scheme == "http" and near)
    if not secure or not host or parts.username is not None:
        what = f"{outward.url} ({outward.url.key}) holds no https URL"
        raise NotTaken(what, error_type="config", hint=f"put one into {outward.url}")
    if clock.speed != 1 and not near:
        what = "a fast clock tells nobody outside of this machine"
        raise NotTaken(what, error_type="config", hint="serve without --speed")
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    return f"{parts.scheme}://{parts.netloc}", path or "/"


def read(secret: SecretRef) -> str:
    """A secret's text, from then on masked in every log line. Raises `NotTaken`."""
    try:
        return secret_of(secret)()
    except SecretUnavailable as error:
        raise NotTaken(str(error), error_type="config", hint=error.hint) from None


def _signed(
    settings: WebhookSettings, message: Message, body: bytes, clock: Clock
) -> dict[str, str]:
    refs = [settings.secret]
    if settings.previous_secret is not None:
        refs.append(settings.previous_secret)
    try:
        return standard_webhook.headers(
            # Real time: receivers compare it with their clock.
            message.id,
            body,
            [read(ref) for ref in refs],
            clock.wall(),
        )
    except BadSecret as error:
        what = f"secret {settings.secret} ({settings.secret.key}) is refused: {error}"
        hint = "make one: echo whsec_$(openssl rand -base64 32)"
        raise NotTaken(what, error_type="config", hint=hint) from None


def _refused(host: str, answer: Answer, clock: Clock) -> NotTaken:
    status = answer.status
    said = answer.body[:64].decode("ascii", "replace").strip()
    words = f" ({said})" if _WORD.fullmatch(said) else ""
    gone = status in (403, 404, 410)
    return NotTaken(
        f"{host} answered {status}{words}",
        error_type="http_4xx" if status < 500 else "http_5xx",
        hint="ask whoever gave you the address for a new one" if gone else "",
        of_message=400 <= status < 500 and not gone and status not in _LATER,
        wait=retry_after(answer.headers.get("retry-after"), clock.wall()),
    )


_TYPES = {
    "timeout": "timeout",
    "dns": "connect",
    "connect": "connect",
    "reset": "connect",
    "tls": "tls",
    "too_large": "too_large",
}
"""What kept an answer from coming -> `error.type`."""
