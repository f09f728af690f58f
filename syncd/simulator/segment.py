"""The `segment` origin: Segment's Tracking API (contract segment.md section 6).

    POST /v1/batch                           events, also of other kinds than identify
    POST /v1/identify                        one event
    GET  /v1/projects/{writeKey}/settings    the credential check of Segment's own CDN

Only size, JSON, an unknown key and too fast a client are answered with an error;
everything else is a 200, and what is dropped silently is told by the control origin.
A write key is compared and never logged: log entries name the source's id as `key`.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from syncd.simulator.answers import HTML, Answer, Outcome, Refusal, json_answer
from syncd.simulator.auth import key_and_secret
from syncd.simulator.playing import Visit
from syncd.simulator.segment_calls import (
    IDENTIFY,
    SETTINGS,
    WRITES,
    endpoint_of,
    segment_call,
    settings_key,
)
from syncd.simulator.segment_rules import Batch, read_batch
from syncd.simulator.segment_world import SegmentWorld, Source, Tally
from syncd.simulator.shapes import LOGIN_PAGE
from syncd.simulator.stage import Turn, serve
from syncd.simulator.state import Simulator
from syncd.simulator.wire import Line, Receive, Scope, Send


class SegmentApi:
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
        asked = Asked(sim, line, body)
        call = asked.turn.call
        entry = sim.log.open(
            call, at=asked.now, key=asked.source.id if asked.source else None, ids=False
        )
        entry.id_count = len(asked.batch.events)
        traffic = sim.segment_traffic
        ended = partial(traffic.end, traffic.begin(call, line, None))
        await serve(sim, asked.turn, line, Visit(entry, ended))


class Asked:
    """One request, noted in the history as it arrives."""

    def __init__(self, simulator: Simulator, line: Line, body: bytes) -> None:
        self._sim = simulator
        self._world: SegmentWorld = simulator.segment
        self._path, self._method = line.path, line.method
        self._endpoint, self._wanted = endpoint_of(line.path)
        self.now = simulator.clock.now()
        self.batch = self._read(line, body)
        self.source: Source | None = self._world.by_key(self._write_key(line))
        self._first = len(self._world.history)
        if self._endpoint in WRITES:
            # The log gives the next number to this request: nothing runs in between.
            seq = simulator.log.last + 1
            self._first = self._world.arrive(self.batch, seq=seq, now=self.now)
        self.turn = self._turn(line, body)

    def _read(self, line: Line, body: bytes) -> Batch:
        if self._endpoint not in WRITES:
            return Batch()
        encoding = line.header("content-encoding")
        return read_batch(body, encoding=encoding, single=self._endpoint == IDENTIFY)

    def _write_key(self, line: Line) -> str | None:
        """Of the Basic header (with an empty password), else of the body (T2)."""
        if self._endpoint == SETTINGS:
            return settings_key(self._path)
        header = line.header("authorization")
        if header is None:
            return self.batch.write_key
        key, secret = key_and_secret(header) or ("", "")
        return None if secret else key

    def _turn(self, line: Line, body: bytes) -> Turn:
        count = len(self.batch.events)
        return Turn(
            call=segment_call(
                method=self._method,
                path=self._path,
                authorization=line.header("authorization"),
                body=body,
                said=self._world.history.said_in(self._first, count),
            ),
            enter=self._enter,
            act=self._act,
            answer=self._answer,
            refuse=_refuse,
            error_body=_error,
        )

    def _enter(self) -> AbstractContextManager[None]:
        """Method, size and JSON, key, region, rate, in this order. Raises Refusal."""
        if self._endpoint not in (*WRITES, SETTINGS):
            raise Refusal(404, "Not Found")
        if self._method != self._wanted:
            raise Refusal(405, "Method Not Allowed")
        if self._endpoint == SETTINGS:
            if self.source is None:
                raise Refusal(404, "Cannot find source")
            return nullcontext()
        if self.batch.refusal is not None:
            raise self.batch.refusal
        self._check_source()
        self._check_rate()
        return nullcontext()

    def _check_source(self) -> None:
        switches, source = self._sim.switches, self.source
        if source is None and switches.segment_unknown_key_status != 200:
            raise Refusal(switches.segment_unknown_key_status, "Invalid write key")
        if source is None or source.region == self._world.region:
            return
        if switches.segment_wrong_region_status != 200:
            raise Refusal(switches.segment_wrong_region_status, "Wrong region")

    def _check_rate(self) -> None:
        rate = self._sim.switches.segment_events_per_second
        if not rate:
            return
        now, events = self.now.timestamp(), len(self.batch.events)
        wait = self._world.limit.admit(now, events, rate)
        if wait is not None:
            raise Refusal(429, "Too Many Requests", metadata={"wait": wait})

    def _act(self) -> Outcome:
        if self._endpoint == SETTINGS:
            return Outcome(body={"integrations": {"Segment.io": {}}})
        tally = self._take()
        return Outcome(
            body={"success": True},
            changed=tally.accepted > 0,
            added=tally.accepted,
            skipped=tally.dropped,
        )

    def _take(self) -> Tally:
        world, source, count = self._world, self.source, len(self.batch.events)
        if source is None:
            return world.drop_all(self._first, count, "unknown_write_key")
        if source.region != world.region:
            return world.drop_all(self._first, count, "wrong_region")
        return world.apply(
            source.space,
            self.batch,
            self._first,
            now=self.now,
            forever=self._sim.switches.segment_dedupe_forever,
        )

    def _answer(self, outcome: Outcome) -> Answer:
        match self._sim.switches.segment_success_body:
            case "html" if self._endpoint != SETTINGS:
                return Answer(200, LOGIN_PAGE, HTML)
            case "empty" if self._endpoint != SETTINGS:
                return Answer(200, b"")
            case _:
                return json_answer(200, outcome.body)


def _error(status: int, details: str) -> dict[str, Any]:
    """The shape Segment's own Python client reads (T5)."""
    code = {401: "unauthorized", 404: "not_found", 429: "too_many_requests"}
    return {"code": code.get(status, "invalid_request"), "message": details}


def _refuse(refusal: Refusal) -> Answer:
    answer = json_answer(refusal.status, _error(refusal.status, refusal.details))
    if "wait" not in refusal.metadata:
        return answer
    wait = str(refusal.metadata["wait"])
    headers = (("retry-after", wait), ("x-ratelimit-reset", wait))
    return Answer(answer.status, answer.body, answer.content_type, headers)
