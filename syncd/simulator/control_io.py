"""What all calls of the control origin share: bodies, answers, complaints, lookups."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from syncd.simulator.state import Simulator
from syncd.simulator.world import Project


class ControlError(Exception):
    """The control call is wrong; its text goes back to the caller."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def reply(body: Any, *, status: int = 200) -> Response:
    """A JSON answer; dataclasses are fine."""
    content = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    return Response(content, status, media_type="application/json")


async def _complain(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, ControlError) else 500
    return reply({"error": str(error)}, status=status)


def error_handlers() -> Mapping[Any, Any]:
    """For Starlette."""
    return {ControlError: _complain}


async def read_object(request: Request, *, or_list: bool = False) -> Any:
    """The JSON object of the body, {} for an empty one. Raises ControlError."""
    raw = await request.body()
    try:
        body = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise ControlError("the body is no JSON") from error
    if isinstance(body, list) and or_list:
        if not all(isinstance(item, dict) for item in body):
            raise ControlError("the list must hold JSON objects")
    elif not isinstance(body, dict):
        raise ControlError("the body must be a JSON object")
    return body


async def read_people(request: Request) -> dict[str, Any]:
    """People of a body: JSON, or `text/plain` with one user id per line."""
    if request.headers.get("content-type", "").startswith("text/plain"):
        try:
            text = (await request.body()).decode()
        except UnicodeDecodeError as error:
            raise ControlError("the lines are no UTF-8") from error
        return {"user_ids": [line for line in text.split("\n") if line]}
    body: dict[str, Any] = await read_object(request)
    return body


def strings(body: Mapping[str, Any], name: str) -> list[str]:
    """A list of strings, [] when absent. Raises ControlError."""
    value = body.get(name, [])
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise ControlError(f"{name} must be a list of strings")
    return value


def instant(value: Any) -> datetime:
    """ISO 8601 (UTC if no zone) or epoch seconds. Raises TypeError, ValueError."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    read = datetime.fromisoformat(value)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def simulator_of(request: Request) -> Simulator:
    """The state behind the application, with all that the clock has passed."""
    simulator: Simulator = request.app.state.simulator
    simulator.settle()
    return simulator


def project_of(request: Request) -> Project:
    """The project of the path or of `?project=`, else the first. May raise."""
    projects = simulator_of(request).world.projects
    chosen = request.path_params.get("app_id") or request.query_params.get("project")
    if chosen is None:
        return next(iter(projects.values()))
    if not str(chosen).isdigit() or int(chosen) not in projects:
        raise ControlError(f"no project {chosen}", status=404)
    return projects[int(chosen)]
