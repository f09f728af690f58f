"""The `partner` origin: somebody who receives cohorts as vendor page 1 describes.

    POST /lists                 make a list
    POST /lists/{id}/add        add users to it; members may be added again
    POST /lists/{id}/remove     remove users; strangers may be removed
    POST /property              one update, or a batch of them (the path is set up)

Answers are those of the page: 200, 400, 401, 404, 429. A request is applied whole or
not at all.
"""

import hmac
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from syncd.simulator.answers import Answer, Outcome, Refusal, json_answer
from syncd.simulator.auth import key_and_secret
from syncd.simulator.calls import Call
from syncd.simulator.partner_calls import ADD, UNKNOWN, partner_call
from syncd.simulator.partner_rules import read_creation, read_ids, read_updates
from syncd.simulator.partner_world import PartnerList, PartnerWorld, Setup
from syncd.simulator.playing import Visit
from syncd.simulator.stage import Turn, serve
from syncd.simulator.state import Simulator
from syncd.simulator.switches import Switches
from syncd.simulator.wire import Line, Receive, Scope, Send


class PartnerApi:
    """The ASGI application of the origin."""

    def __init__(self, simulator: Simulator) -> None:
        self._sim = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        line = Line(scope, receive, send)
        body = await line.body()
        if body is None:
            return
        sim = self._sim
        world, traffic = sim.partner, sim.partner_traffic
        call = _read(world.setup, line, body)
        now, ids = sim.clock.now(), sim.switches.record_ids
        entry = sim.log.open(call, at=now, key=None, ids=ids)
        world.bodies.append(
            {
                "seq": entry.seq,
                "at": entry.at,
                "method": call.method,
                "path": call.path,
                "endpoint": call.endpoint,
                "content_type": line.header("content-type"),
                "auth": credentials_kind(line),
                "body": body.decode("utf-8", "replace"),
            }
        )
        ended = partial(traffic.end, traffic.begin(call, line, None))
        await serve(sim, Asked(sim, call, line).turn, line, Visit(entry, ended))


def _read(setup: Setup, line: Line, body: bytes) -> Call:
    return partner_call(
        method=line.method,
        path=line.path,
        authorization=line.header("authorization"),
        body=body,
        ids_key=setup.ids_key,
        property_path=setup.property_path,
    )


def credentials_kind(line: Line) -> str:
    """Where a request has its credentials, right or wrong."""
    if line.header("authorization") is not None:
        return "basic"
    return "headers" if line.header("api_key") is not None else "none"


def authorized(setup: Setup, line: Line) -> bool:
    """The right key, where it has to be."""
    pair = key_and_secret(line.header("authorization"))
    if pair is not None:
        return setup.auth != "headers" and _same(pair, (setup.api_key, ""))
    sent = (line.header("api_key") or "", line.header("app_id") or "")
    return setup.auth != "basic" and _same(sent, (setup.api_key, setup.app_id))


def _same(sent: tuple[str, str], right: tuple[str, str]) -> bool:
    return hmac.compare_digest("\n".join(sent).encode(), "\n".join(right).encode())


class Asked:
    """One request. It keeps the world it came to, also when that is reset."""

    def __init__(self, simulator: Simulator, call: Call, line: Line) -> None:
        self._world: PartnerWorld = simulator.partner
        self._switches: Switches = simulator.switches
        self._call, self._line = call, line
        self.turn = Turn(
            call=call,
            enter=self._enter,
            act=self._act,
            answer=lambda outcome: json_answer(200, outcome.body),
            refuse=self._refuse,
            error_body=_error,
        )

    def _enter(self) -> AbstractContextManager[None]:
        """Credentials first; then a place at the list. Raises Refusal."""
        if not authorized(self._world.setup, self._line):
            raise Refusal(401, "Unauthorized (bad api_key)")
        if self._call.endpoint == UNKNOWN:
            raise Refusal(404, "Not Found")
        if self._call.method != "POST":
            raise Refusal(405, "Method Not Allowed")
        most = self._switches.partner_in_flight_per_list
        return self._world.crowd.join(self._call.cohort_id, most=most)

    def _refuse(self, refusal: Refusal) -> Answer:
        wait = self._switches.partner_retry_after if refusal.status == 429 else None
        body = _error(refusal.status, refusal.details)
        body["error"] |= refusal.metadata
        return json_answer(refusal.status, body, retry_after=wait)

    def _act(self) -> Outcome:
        """Judge the whole body, then apply it. Raises Refusal."""
        match self._call.endpoint:
            case "partner_lists":
                return self._create()
            case "partner_property":
                return self._update()
            case _:
                return self._change()

    def _create(self) -> Outcome:
        name = read_creation(self._call.body)
        reuse = self._switches.partner_same_name == "same"
        made, new = self._world.create(name, reuse=reuse)
        body = _list_answer(made.id, self._switches.partner_list_answer)
        return Outcome(body=body, changed=new, cohort_id=made.id)

    def _change(self) -> Outcome:
        found = self._list()
        ids = read_ids(self._call.body, self._world.setup.ids_key)
        self._check_known(ids)
        before = len(found.members)
        if self._call.endpoint == ADD:
            found.members.update(ids)
        else:
            found.members.difference_update(ids)
        grown = len(found.members) - before
        return Outcome(
            body={"success": True},
            changed=True,
            added=max(0, grown),
            removed=max(0, -grown),
        )

    def _list(self) -> PartnerList:
        found = self._world.lists.get(self._call.cohort_id or "")
        if found is None:
            raise Refusal(404, "List not found", metadata={"field": "listId"})
        return found

    def _update(self) -> Outcome:
        test_call = credentials_kind(self._line) == "headers"
        updates = read_updates(self._call.body, test_call=test_call)
        self._check_known([one.user_id for one in updates])
        for one in updates:
            self._world.traits.setdefault(one.trait, {})[one.user_id] = one.value
        entered = sum(one.value for one in updates)
        return Outcome(
            body={"success": True},
            changed=True,
            added=entered,
            removed=len(updates) - entered,
        )

    def _check_known(self, user_ids: list[str]) -> None:
        if self._switches.partner_knows_everybody or self._world.known(user_ids):
            return
        raise Refusal(self._switches.partner_unknown_user_status, "Invalid User ID")


def _list_answer(list_id: str, shape: str) -> dict[str, Any]:
    """The id where this partner has it; `both` is what Amplitude needs (7.2)."""
    flat: dict[str, Any] = {"listId": list_id, "list_id": list_id}
    match shape:
        case "id":
            return {"id": list_id}
        case "flat":
            return flat
        case "response":
            return {"response": flat}
        case _:
            return {**flat, "response": flat}


def _error(status: int, details: str) -> dict[str, Any]:
    return {"error": {"status": status, "message": details}}
