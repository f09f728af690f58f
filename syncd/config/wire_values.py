"""Leaf types of what goes over the wire to a vendor: names, headers, hosts, budgets.

Beside `values`, and like there each refuses with a problem's code and never shows what
it refused.
"""

import re
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from syncd.config.settings import Budget
from syncd.config.values import LOOPBACK, BaseUrl, Text, refuse

LONGEST_NAME = 255
"""Characters of a trait, property or list name; also of a template for one."""
MONTH = timedelta(days=31)
"""The longest calendar month: a budget for it holds in every month."""

_SPANS = {"day": timedelta(days=1), "week": timedelta(weeks=1), "month": MONTH}
_BUDGET = re.compile(r"(?P<downloads>[1-9]\d{0,5})/(?P<span>day|week|month)")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SECRET_HEADER = re.compile(r"auth|cookie|key|token|secret|passw", re.IGNORECASE)
_OWN_HEADERS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
    }
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"\.?{_LABEL}(\.{_LABEL})*")

TraitName = Annotated[Text, Field(max_length=LONGEST_NAME)]
JsonKey = Annotated[Text, Field(max_length=100)]


def _template(value: str) -> str:
    rest = value.replace("{name}", "").replace("{id}", "")
    if "{" in rest or "}" in rest:
        hint = "{name} and {id} are filled in, nothing else"
        refuse("template.invalid", "this template has another brace in it", hint=hint)
    if "{id}" not in value:
        message = "this template needs '{id}': two cohorts may have one name"
        refuse("template.invalid", message, hint="add {id}")
    return value


Template = Annotated[TraitName, AfterValidator(_template)]


def _budget(value: Any) -> Any:
    if isinstance(value, Budget):
        return value
    found = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        hint = "write it like 4/day, 10/week or 60/month"
        refuse("budget.invalid", "this is not a budget", hint=hint)
    return Budget(downloads=int(found["downloads"]), per=_SPANS[found["span"]])


Spending = Annotated[Budget, BeforeValidator(_budget)]
"""`4/day`, `10/week`, `60/month`."""


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "http" or not LOOPBACK.fullmatch(parts.hostname or ""):
        hint = "it is for a simulator: http://127.0.0.1:PORT"
        refuse("url.insecure", "only an http origin of this machine fits", hint=hint)
    if parts.path:
        refuse("url.invalid", "an origin has no path", hint="http://127.0.0.1:PORT")
    return value


LoopbackOrigin = Annotated[BaseUrl, AfterValidator(_origin)]


def _host(value: str) -> str:
    if len(value) > 253 or not _HOST.fullmatch(value):
        hint = "files.example.com, or .example.com for all hosts below it"
        refuse("host.invalid", "this is not the name of a host", hint=hint)
    return value.lower()


HostPattern = Annotated[str, AfterValidator(_host)]


def _path(value: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", value):
        hint = "it starts with '/' and has no query: /users/batch"
        refuse("url.invalid", "this is not the path of a URL", hint=hint)
    return value


UrlPath = Annotated[str, AfterValidator(_path), Field(max_length=500)]


def _header_name(value: str) -> str:
    if not _HEADER.fullmatch(value):
        refuse("header.invalid", "this is not the name of a header")
    if value.lower() in _OWN_HEADERS:
        refuse("header.invalid", "syncd sets this header itself", hint="remove it")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]


def _plain_header_name(value: str) -> str:
    if _SECRET_HEADER.search(value):
        message = "what such a header holds may not stand in a config file"
        refuse("secret.inline", message, hint="secret_headers: {NAME: {file: name}}")
    return value


PlainHeaderName = Annotated[HeaderName, AfterValidator(_plain_header_name)]


def _header_value(value: str) -> str:
    if not value.isascii():
        refuse("header.invalid", "a header holds ASCII only")
    return value


HeaderValue = Annotated[Text, AfterValidator(_header_value)]


def _integration(value: str) -> str:
    if value.lower() == "all" and value != "All":
        hint = "write it like 'All'"
        refuse("value.choice", "Segment minds the case of this name", hint=hint)
    return value


Integration = Annotated[Text, AfterValidator(_integration)]
