"""An admin application on a real socket, and a client that speaks to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from starlette.types import ASGIApp

from syncd.web.server import WebServer
from syncd.web.sockets import Tcp
from tests.builders import PATIENCE


@contextmanager
def served(app: ASGIApp) -> Iterator[httpx.Client]:
    server = WebServer("admin", Tcp(host="127.0.0.1", port=0), app)
    server.start()
    try:
        base_url = f"http://{server.address}"
        with httpx.Client(
            base_url=base_url, timeout=PATIENCE, trust_env=False
        ) as client:
            yield client
    finally:
        server.stop()
