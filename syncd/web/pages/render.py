"""From a page's values to its bytes: the templates, the style sheet, the help texts.

Every word is escaped, whoever wrote it: `select_autoescape` would leave templates with
our ending alone, so escaping is on for all of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from syncd import help as runbook
from syncd.web.pages import svg
from syncd.web.pages.burn_down import burn_down

_CODE = re.compile(r"`([^`]+)`|\b([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)\b")
"""What is written as code, and what looks like one of our codes."""
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>"
    "<circle cx='4' cy='4' r='4' fill='{}'/></svg>"
)
_TONES = {
    "fine": "#1b7a4b",
    "late": "#8a5a00",
    "bad": "#b3261e",
    "held": "#7a3e9d",
    "busy": "#0b5cad",
}
_IDLE = "#5b6570"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file that pages refer to, under a name that changes with its content."""

    path: str
    version: str
    body: bytes
    media_type: str

    @property
    def href(self) -> str:
        """How pages refer to it."""
        return f"{self.path}?v={self.version}"


@cache
def assets() -> Mapping[str, Asset]:
    """Path -> the file there."""
    found = (
        _asset("/style.css", "text/css"),
        _asset("/refresh.js", "text/javascript"),
    )
    return {each.path: each for each in found}


def page(template: str, values: Mapping[str, Any]) -> bytes:
    """The page of a template (`list`, `sync`, `run`, `help`, `help_index`, `said`)."""
    text = _environment().get_template(f"{template}.html.j2").render(values)
    return text.encode()


def linked(text: str, own: tuple[str, ...] = ()) -> Markup:
    """A help text, with code set as code, and other pages' codes as links to them."""
    parts, at = [], 0
    for found in _CODE.finditer(text):
        parts += [escape(text[at : found.start()]), _code(found, own)]
        at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


def _code(found: re.Match[str], own: tuple[str, ...]) -> Markup:
    written, bare = found.groups()
    word = written or bare
    if word not in own and word in _known():
        href = quote(word, safe="")
        return Markup('<a class=code href="/help/{}">{}</a>').format(href, word)
    return Markup("<code>{}</code>").format(word) if written else escape(word)


@cache
def _known() -> frozenset[str]:
    return frozenset(code for page in runbook.pages() for code in page.codes)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {
        "svg": svg,
        "burn_down": burn_down,
        "style": assets()["/style.css"].href,
        "script": assets()["/refresh.js"].href,
        "icon": icon,
    }
    made.filters |= {"linked": linked, "percent": svg.percent}
    return made


def icon(tone: str) -> str:
    """The mark in a browser's tab: a dot in the colour of how things are."""
    drawn = _ICON.format(_TONES.get(tone, _IDLE))
    return f"data:image/svg+xml,{quote(drawn)}"


def _asset(path: str, media_type: str) -> Asset:
    body = (files(__package__) / path.removeprefix("/")).read_bytes()
    return Asset(
        path=path,
        version=sha256(body).hexdigest()[:12],
        body=body,
        media_type=media_type,
    )
