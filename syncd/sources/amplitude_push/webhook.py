"""Cohort webhooks: people who entered a cohort, or who left it (contract 7.4).

The template that Amplitude starts a customer with has one direction per message, an id
that is stable over retries, and the time of the computation, by which messages that
arrive out of order are put right. Customers edit it: an array of people with a property
per cohort is another form, which has neither id nor time.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.sources.amplitude_push.fields import (
    as_array,
    as_object,
    boolean,
    malformed,
    one_of,
    user_id,
)
from syncd.sources.amplitude_push.names import Cohort, CohortNames
from syncd.sources.amplitude_push.properties import say_traits
from syncd.sources.amplitude_push.words import LeftOut, Words, delivery
from syncd.sources.door import Accept, Delivery

_EARLIEST = datetime(2012, 1, 1, tzinfo=UTC).timestamp()
"""Before Amplitude there were no cohorts."""
_AHEAD = timedelta(days=1)
"""How far a sender's clock may be ahead. A word from the future would stand over every
later one, so it is not taken."""
_MAX_MESSAGE_ID = 500
"""Characters."""

_SECONDS = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?")
_MESSAGE_ID = re.compile(r"[ -~]+")
_HINT = (
    "the template's body: cohort_id, cohort_name, in_cohort, computed_time, message_id"
    " and users, each with a user_id"
)


def read_webhook(
    body: Any,
    names: CohortNames,
    connection: str,
    accept: Accept,
    now: datetime,
) -> Delivery:
    """A message in the template's form, or an array of people. Raises `Refused`."""
    if isinstance(body, list):
        words = _people_with_traits(body, names)
        return delivery(connection, words.told(connection, accept), words.left_out)
    message = as_object(body, "the message")
    cohort, inside = _cohort(message, names), _inside(message)
    words = _people(message, cohort, inside=inside)
    at = _computed_at(message, now)
    told = words.told(connection, accept, at)
    message_id = _message_id(message)
    if message_id:
        message_id = _scoped(message_id, cohort, at, inside=inside)
    return delivery(connection, told, words.left_out, message_id=message_id)


def _scoped(
    message_id: str, cohort: Cohort, at: datetime | None, *, inside: bool
) -> str:
    """The id together with what the message is about.

    Customers write the templates: an id that two webhooks share, or that is always the
    same, must not make a message look like a copy of another one.
    """
    way = "in" if inside else "out"
    when = at.isoformat() if at is not None else "-"
    return f"{cohort.id} {way} {when} {message_id}"


def _people_with_traits(people: list[Any], names: CohortNames) -> Words:
    words = Words()
    for number, element in enumerate(people):
        person = as_object(element, f"[{number}]")
        id_ = user_id(person, f"[{number}]")
        if id_ is None:
            words.left_out[LeftOut.ANONYMOUS] += 1
            continue
        traits = {
            name: value
            for name, value in person.items()
            if name not in {"user_id", "userId"}
        }
        say_traits(words, names, id_, traits)
    return words


def _inside(message: Mapping[str, Any]) -> bool:
    inside = boolean(message.get("in_cohort"))
    if inside is None:
        raise malformed("in_cohort must be true or false", hint=_HINT)
    return inside


def _people(message: Mapping[str, Any], cohort: Cohort, *, inside: bool) -> Words:
    if "users" not in message:
        raise malformed("users is missing", hint=_HINT)
    words = Words()
    for number, element in enumerate(as_array(message["users"], "users")):
        part = f"users[{number}]"
        id_ = user_id(as_object(element, part), part)
        if id_ is None:
            words.left_out[LeftOut.ANONYMOUS] += 1
        else:
            words.say(cohort, id_, inside=inside)
    return words


def _cohort(message: Mapping[str, Any], names: CohortNames) -> Cohort:
    id_, name = message.get("cohort_id"), message.get("cohort_name")
    if not isinstance(id_, str):
        raise malformed("cohort_id must be text", hint=_HINT)
    cohort = names.cohort(id_, name if isinstance(name, str) else "")
    if cohort is None:
        raise malformed("cohort_id is not the id of a cohort", hint=_HINT)
    return cohort


def _computed_at(message: Mapping[str, Any], now: datetime) -> datetime | None:
    """When the cohort was computed; None where the template leaves it out.

    Epoch seconds, as text or as a number; older pages call it `compute_time`.
    """
    given = one_of(message, "computed_time", "compute_time")
    if given is None or given == "":
        return None
    text = str(given).strip()
    if not _SECONDS.fullmatch(text):
        raise malformed("computed_time must be a number of epoch seconds")
    seconds = float(text)
    if not _EARLIEST <= seconds <= (now + _AHEAD).timestamp():
        raise malformed(
            "computed_time is no time between 2012 and tomorrow",
            hint="seconds since 1970, not milliseconds",
        )
    return datetime.fromtimestamp(seconds, UTC)


def _message_id(message: Mapping[str, Any]) -> str:
    """Empty where the template leaves it out."""
    given = message.get("message_id")
    if given is None or given == "":
        return ""
    if not isinstance(given, str) or len(given) > _MAX_MESSAGE_ID:
        raise malformed(f"message_id must be text of up to {_MAX_MESSAGE_ID} signs")
    if not _MESSAGE_ID.fullmatch(given) or "${" in given:
        # Taken as it stands, every message would look like a copy of the first.
        raise malformed("message_id is not filled in, or holds odd characters")
    return given
