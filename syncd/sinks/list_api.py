"""A partner's list as a sink: made once, then changed by add and remove.

Rules (vendor page 1; contract/amplitude.md 7.2, which is what such partners built
against): a list is made by name and answers with its id, flat or under `response`; no
call reads a list, so what is there is never asked, and a creation whose answer was lost
is made again. The list it may leave behind is empty: creation names nobody.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from syncd.clients.http import Answer
from syncd.clients.integration import CONTEXT
from syncd.clients.partner import Call, PartnerClient, Request, require_fits
from syncd.clients.proof import accepted_by_status, bad_response
from syncd.errors import Fault
from syncd.model import Batch, Found, Operation, Receipt, Target
from syncd.sinks import Capabilities

MAX_BATCH = 10_000
"""Ids in a request: the most that Amplitude's partner portal offers (contract A7)."""
MAX_IN_FLIGHT = 4
"""Requests at once for a list, as Amplitude's sender makes them (vendor page 1)."""

_CALLS = {Operation.ADD: Call.ADD, Operation.REMOVE: Call.REMOVE}
_ID_KEYS = ("list_id", "listId", "id")
_LONGEST_ID = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ListApiSink:
    """Writes lists of one partner."""

    client: PartnerClient
    user_ids_key: str = "userIds"
    """Key of the ids in a body."""
    name_key: str = "name"
    """Key of the name in the body of a creation."""
    list_id_key: str = "listId"
    """Key of the id in the answer to a creation; the usual ones are tried after it."""

    @property
    def capabilities(self) -> Capabilities:
        """Lists take requests in parallel: a plan names a person once."""
        return Capabilities(
            max_in_flight=MAX_IN_FLIGHT,
            max_batch=MAX_BATCH,
            can_probe=False,
        )

    def find(self, target: Target) -> Found | None:
        """See `Sink.find`. Asks nobody: what was made is believed to be there."""
        if target.external_id is None:
            return None
        return Found(external_id=target.external_id, name=target.name, size=None)

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """See `Sink.deliver`. A receipt with `created` acknowledges nobody."""
        if target.external_id is not None:
            return self._change(batch, target.external_id)
        match batch.operation:
            case Operation.ADD:
                return self._create(batch, target)
            case Operation.REMOVE:
                # No list of ours has anybody on it: proof without a request.
                return Receipt(accepted=batch.ids)
            case Operation.REPLACE:
                raise TypeError("no request of a partner's API replaces a list")

    def probe(self) -> None:
        """See `Sink.probe`. The page has no call that changes nothing.

        So nothing is asked and nothing proven: the next delivery tells.
        """

    def _create(self, batch: Batch, target: Target) -> Receipt:
        body = {self.name_key: target.name, "context": CONTEXT}
        answer = self.client.post(
            Request(
                call=Call.CREATE,
                path="/lists",
                body=orjson.dumps(body),
                run_id=batch.run_id,
            )
        )
        call = self.client.name(Call.CREATE)
        accepted = accepted_by_status(answer, call)
        list_id = _list_id(answer.body, (self.list_id_key, *_ID_KEYS))
        if list_id is None:
            raise _nameless(answer, call)
        return Receipt(
            created=Found(external_id=list_id, name=target.name, size=None),
            status=accepted.status,
            request_id=accepted.request_id,
        )

    def _change(self, batch: Batch, list_id: str) -> Receipt:
        call = _CALLS[batch.operation]
        named = self.client.name(call)
        require_fits(batch.ids, MAX_BATCH, named)
        texts = [each.decode() for each in batch.ids]
        body = {self.user_ids_key: texts, "context": CONTEXT}
        answer = self.client.post(
            Request(
                call=call,
                path=f"/lists/{quote(list_id, safe='')}/{call}",
                body=orjson.dumps(body),
                ids=batch.ids,
                run_id=batch.run_id,
            )
        )
        accepted = accepted_by_status(answer, named)
        return Receipt(
            accepted=batch.ids, status=accepted.status, request_id=accepted.request_id
        )


def _list_id(body: bytes, keys: tuple[str, ...]) -> str | None:
    """The id of a made list: the first key that names one, flat or under `response`.

    Both places are read since partners, built against Amplitude's sender, use either
    (contract/amplitude.md 7.2). Two places that disagree name none.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    flat = content if isinstance(content, dict) else {}
    nested = flat.get("response")
    holders = [flat, nested] if isinstance(nested, dict) else [flat]
    for key in keys:
        values = [each.get(key) for each in holders]
        named = {_id_text(value) for value in values} - {None}
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def _id_text(value: Any) -> str | None:
    """Text or a whole number as an id; None for what cannot stand in a path."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    usable = text.strip() not in ("", ".", "..") and len(text) <= _LONGEST_ID
    return text if usable else None


def _nameless(answer: Answer, call: str) -> Exception:
    """Refused rather than tried again: each try would leave one more list behind."""
    return bad_response(
        answer,
        call,
        "it names no list",
        fault=Fault.REFUSED,
        hint="set `list_id_key` of the connection, or `list_id` of `to:`: syncd check",
    )
