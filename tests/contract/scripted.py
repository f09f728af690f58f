"""A real server that plays a script: one reply per request, the last one for ever."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One scripted answer; `body` as given when bytes, else as JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    type: str = "application/json"

    def raw(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


@dataclass
class Request:
    """What arrived; header names in lower case, None for no body."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Vendor:
    """The server, and what it was asked."""

    url: str
    requests: list[Request] = field(default_factory=list)


@contextmanager
def playing(*replies: Reply) -> Iterator[Vendor]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = replies[min(len(vendor.requests), len(replies) - 1)]
            asked = json.loads(raw) if raw else None
            vendor.requests.append(Request(self.path, headers, asked))
            self.send_response(reply.status)
            for name, value in {"content-type": reply.type, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.raw())))
            self.end_headers()
            self.wfile.write(reply.raw())

        do_GET = _answer  # noqa: N815
        do_POST = _answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        vendor = Vendor(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield vendor
        finally:
            server.shutdown()
