"""The doors and the API of a daemon as OpenAPI 3.1 has it, for the tests that ask them.

Kept with the tests: `syncd` serves no description. It is as exact as the answers'
documents are promised to be: required keys, closed lists of statuses, and of every
refusal the one shape with `code`, `message` and `hint`.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE: Schema = {"type": ["string", "null"]}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+Z$"}
MAYBE_TIME: Schema = {"anyOf": [TIME, {"type": "null"}]}


def record(**members: Schema) -> Schema:
    """An object with all of these, and perhaps others."""
    return {"type": "object", "required": list(members), "properties": members}


def parameter(name: str, schema: Schema, *, place: str) -> Schema:
    """One of a path, or behind the `?`."""
    needed = place == "path"
    return {"name": name, "in": place, "required": needed, "schema": schema}


def many(items: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": items}


def counts() -> Schema:
    """Counts by a word."""
    return {"type": "object", "additionalProperties": COUNT}


ERROR = record(error=record(code=TEXT, message=TEXT, hint=TEXT))
ERROR["additionalProperties"] = False


def said(schema: Schema) -> Schema:
    """A JSON answer."""
    return {"description": "-", "content": {"application/json": {"schema": schema}}}


def answered(ok: Schema, *refusals: int) -> Schema:
    """200, and refusals of the one shape."""
    return {"200": said(ok)} | {str(each): said(ERROR) for each in refusals}


# ---- the doors -----------------------------------------------------------------------

_PERSONAS = record(
    computation_class={"enum": ["audience", "journey_step", "computed_trait"]},
    computation_key={"enum": ["vip", "another"]},
)
_EVENT = record(
    type={"enum": ["identify", "track", "delete", "page"]},
    userId={"type": ["string", "null"], "maxLength": 40},
    messageId={"type": "string", "maxLength": 300},
    timestamp={"type": "string", "format": "date-time"},
    context=record(personas=_PERSONAS),
)
_EVENT["properties"]["traits"] = record(vip={"type": ["boolean", "string", "null"]})
_EVENT["properties"]["properties"] = record(vip={"type": ["boolean", "null"]})
_TAKEN = record(
    accepted=COUNT,
    duplicates=COUNT,
    ignored=counts(),
    signed={"enum": ["all", "first_event", "nothing"]},
)
_IDS: Schema = many({"type": "string", "maxLength": 40})
_CHANGED = record(accepted=COUNT, refused=counts())
_TRAITS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["boolean", "string", "number"]},
}
_UPDATE = record(type={"const": "identify"}, userId=TEXT, traits=_TRAITS)
_HOOK = record(
    cohort_id={"enum": ["churn", "zz1a2b3c"]},
    cohort_name=TEXT,
    in_cohort={"enum": [True, False, "true", "False"]},
    computed_time={"enum": [1767225600, "1767225600", "", None]},
    message_id={"type": "string", "pattern": "^[a-z0-9-]{1,60}$"},
    users=many(record(user_id={"type": ["string", "null"]})),
)
_NAMED: Schema = {"type": "string", "pattern": "^[A-Za-z ]{1,20}: zz1a2b3c$"}


def posted(body: Schema, ok: Schema, *refusals: int, **more: Any) -> Schema:
    """A POST of JSON."""
    content = {"application/json": {"schema": body}}
    asked = {"required": True, "content": content}
    usual = (400, 401, 405, 413, 415, *refusals)
    return {"post": {"requestBody": asked, "responses": answered(ok, *usual), **more}}


def doors(list_id: str = "") -> Schema:
    """What is pushed to a daemon that knows this list, below `/in`."""
    known = parameter("list_id", {"enum": [list_id]}, place="path")
    people = record(userIds=_IDS)
    factor = "A header that the sender was told; Segment's signature is added later."
    key = "Basic, with the key as user and no password."
    hook = "A header that the webhook was told."
    return document(
        {
            "/in/engage": posted(
                {"anyOf": [_EVENT, {**many(_EVENT), "minItems": 1}]},
                _TAKEN,
                security=[{"factor": []}],
            ),
            "/in/engage/audiences": posted(
                record(audienceName={"type": "string", "maxLength": 300}),
                record(externalId=TEXT),
                security=[{"factor": []}],
            ),
            "/in/engage/audiences/get": posted(
                record(externalId=TEXT),
                record(externalId=TEXT),
                404,
                security=[{"factor": []}],
            ),
            "/in/amplitude/lists": posted(
                record(name=_NAMED),
                record(listId=TEXT, list_id=TEXT, response=record(listId=TEXT)),
                security=[{"key": []}],
            ),
            "/in/amplitude/lists/{list_id}/add": posted(
                people, _CHANGED, 404, security=[{"key": []}], parameters=[known]
            ),
            "/in/amplitude/lists/{list_id}/remove": posted(
                people, _CHANGED, 404, security=[{"key": []}], parameters=[known]
            ),
            "/in/amplitude/properties": posted(
                {"anyOf": [_UPDATE, record(batch=many(_UPDATE))]},
                _CHANGED,
                404,
                security=[{"key": []}],
            ),
            "/in/amplitude/webhook": posted(_HOOK, _CHANGED, security=[{"hook": []}]),
        },
        {
            "factor": _header("X-Syncd-Key", factor),
            "key": {"type": "http", "scheme": "basic", "description": key},
            "hook": _header("X-Syncd-Key", hook),
        },
    )


# ---- the API -------------------------------------------------------------------------

_RUN = record(
    id=TEXT,
    short_id=TEXT,
    sync=TEXT,
    trigger=TEXT,
    outcome=MAYBE,
    started_at=TIME,
    finished_at=MAYBE_TIME,
    numbers={"type": "object"},
)
_SYNC = record(
    name=TEXT,
    owner=TEXT,
    state=TEXT,
    last_success_at=MAYBE_TIME,
    next_at=MAYBE_TIME,
    members={"type": ["integer", "null"]},
    waiting=record(batches=COUNT, ids=COUNT),
    dead=record(batches=COUNT, ids=COUNT),
    last_run={"anyOf": [_RUN, {"type": "null"}]},
)
_PAGE = record(codes=many(TEXT), group=TEXT, title=TEXT, meaning=TEXT, mitigation=TEXT)
_STATUS: Schema = record(
    instance=TEXT, version=TEXT, now=TIME, daemons=many({"type": "object"})
)
_STATUS["properties"]["syncs"] = many(_SYNC)


def told(name: str, **members: Schema) -> Schema:
    """A document of the API, by the name of its schema."""
    return record(schema={"const": f"syncd.{name}/1"}, **members)


def read(ok: Schema, *refusals: int, **parameters: Schema) -> Schema:
    """A GET with parameters behind the `?`, or in the path where it is `named`."""
    asked = [
        parameter(name, schema, place="path" if name == "named" else "query")
        for name, schema in parameters.items()
    ]
    usual = (400, 401, 405, *refusals)
    return {"get": {"parameters": asked, "responses": answered(ok, *usual)}}


def api(sync: str, run: str) -> Schema:
    """`/api/v1` of a daemon that knows this sync and this run."""
    outcome: Schema = {"enum": ["success", "no_change", "held", "failed"]}
    limit: Schema = {"type": "integer", "minimum": 1, "maximum": 50}
    named: Schema = {"enum": [sync]}
    status = {**_STATUS, **told("status", **_STATUS["properties"])}
    pages = told("explain", pages=many(_PAGE))
    return document(
        {
            "/api/v1/status": read(status),
            "/api/v1/syncs": read(told("syncs", now=TIME, syncs=many(_SYNC))),
            "/api/v1/syncs/{named}": read(status, 404, named=named),
            "/api/v1/runs": read(
                told("runs", now=TIME, runs=many(_RUN)),
                sync=named,
                outcome=outcome,
                limit=limit,
            ),
            "/api/v1/runs/{named}": read(
                told("show", now=TIME, run=_RUN), 404, named={"enum": [run, "last"]}
            ),
            "/api/v1/quota": read(told("quota", projects=many({"type": "object"}))),
            "/api/v1/schedule": read(
                told("schedule", now=TIME, syncs=many(record(name=TEXT, words=TEXT))),
                sync=named,
                next=limit,
            ),
            "/api/v1/help": read(pages),
            "/api/v1/help/{named}": read(pages, 404, named={"enum": ["sync.unknown"]}),
        },
        {"person": {"type": "http", "scheme": "basic"}},
        security=[{"person": []}],
    )


def document(
    paths: Mapping[str, Schema], schemes: Mapping[str, Schema], **more: Any
) -> Schema:
    """A whole description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "syncd", "version": "1"},
        "paths": dict(paths),
        "components": {"securitySchemes": dict(schemes)},
        **more,
    }


def _header(name: str, description: str) -> Schema:
    return {"type": "apiKey", "in": "header", "name": name, "description": description}
