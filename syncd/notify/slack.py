"""A message for Slack's incoming webhooks. Pure.

`text` is what a phone shows, `blocks` what the channel shows (docs.slack.dev:
"Sending messages using incoming webhooks", "Block Kit"). Links are written into the
text: a button would ask the app for an answer that nobody gives.
"""

import orjson

from syncd.notify import News
from syncd.notify.messages import Message
from syncd.notify.words import advice, context, details, headline, plain, runbook

LONGEST = 2900
"""Characters; a section takes 3,000 at most."""


def body(message: Message) -> bytes:
    """The JSON of one request."""
    return orjson.dumps(
        {
            "text": _cut(_escaped(plain(message))),
            "unfurl_links": False,
            "blocks": [_section(message), _context(message)],
        }
    )


def _section(message: Message) -> dict[str, object]:
    lines = [f"*{_escaped(headline(message))}*"]
    lines += [f"• {_escaped(line)}" for line in details(message)]
    if advice(message):
        lines.append(_escaped(advice(message)))
    return {"type": "section", "text": _mrkdwn("\n".join(lines))}


def _context(message: Message) -> dict[str, object]:
    parts = [_escaped(context(message))]
    if link := message.link(message.items[0]):
        seen = message.items[0].seen
        words = "Open run" if seen is not None and seen.run_id else "Open page"
        parts.append(f"<{_escaped(link)}|{words}>")
    if message.news is not News.RESOLVED:
        parts.append(_runbook(message))
    return {"type": "context", "elements": [_mrkdwn("  ·  ".join(parts))]}


def _runbook(message: Message) -> str:
    code = runbook(message)
    if message.page:
        return f"<{_escaped(message.page)}/help/{code}|Runbook: {code}>"
    return f"Runbook: `syncd explain {code}`"


def _mrkdwn(text: str) -> dict[str, object]:
    return {"type": "mrkdwn", "text": _cut(text), "verbatim": True}


def _escaped(text: str) -> str:
    """Slack's own control characters as entities; a name can never be a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
