"""The process: one port per origin, one ready line, a clean end.

`serve` blocks until SIGTERM or SIGINT (or the end of stdin, if wanted) and belongs in
the main thread of a process of its own.
"""

import asyncio
import contextlib
import ipaddress
import os
import select
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from syncd.simulator.amplitude import AmplitudeApi
from syncd.simulator.control import control_app
from syncd.simulator.partner import PartnerApi
from syncd.simulator.public_api import PublicApi
from syncd.simulator.segment import SegmentApi
from syncd.simulator.state import Simulator
from syncd.simulator.storage import StorageOrigin
from syncd.simulator.wire import OpenProtocol

GRACE = 1
"""Real seconds that running requests get when the process ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run. Port 0 is any free port."""

    host: str = "127.0.0.1"
    """A loopback address; others are refused, as the control origin has no lock."""
    amplitude_port: int = 0
    storage_port: int = 0
    segment_port: int = 0
    partner_port: int = 0
    public_port: int = 0
    control_port: int = 0
    speed: float = 1.0
    """Virtual seconds per real second."""
    origin: datetime | None = None
    """The instant at which virtual and wall time agree; None: the start."""
    region: str = "us"
    """`us` or `eu`."""
    seed: int = 1
    """Of cohort ids and of faults with a probability."""
    latency: float = 0.2
    """Real seconds a writing request takes."""
    ready_file: Path | None = None
    """Also write the ready line here, in one step."""
    stop_on_eof: bool = False
    """End when stdin ends, so that a killed parent leaves no orphan."""


def serve(options: Options) -> int:
    """Run all origins until told to stop; returns the exit code, 0.

    Raises ValueError for a host that is not loopback, OSError for a port in use.
    """
    if not ipaddress.ip_address(options.host).is_loopback:
        raise ValueError("the simulator listens on a loopback address only")
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_run(options))
    return 0


class _Punctual(selectors.DefaultSelector):
    """Waits to the microsecond: epoll by itself takes whole milliseconds, rounded up,
    and a lane that waits for each answer would have half of one more each time."""

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """The events there are, or those of the first moment that has any."""
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(_Punctual())


class Server(uvicorn.Server):
    """uvicorn beside others in one loop: signals are ours, readiness is an event."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_run`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell when requests are taken."""
        await super().startup(sockets=sockets)
        self.ready.set()


async def _run(options: Options) -> None:
    simulator = Simulator(
        region=options.region,
        seed=options.seed,
        speed=options.speed,
        origin=options.origin,
        latency=options.latency,
    )
    apps = {
        "amplitude": (AmplitudeApi(simulator), options.amplitude_port),
        "storage": (StorageOrigin(simulator), options.storage_port),
        "segment": (SegmentApi(simulator), options.segment_port),
        "partner": (PartnerApi(simulator), options.partner_port),
        "public": (PublicApi(simulator), options.public_port),
        "control": (control_app(simulator), options.control_port),
    }
    sockets = {
        name: socket.create_server((options.host, port), backlog=512)
        for name, (_, port) in apps.items()
    }
    servers = {name: _server(app) for name, (app, _) in apps.items()}
    stop = _stop_event(options)
    running = [
        asyncio.create_task(server.serve(sockets=[sockets[name]]))
        for name, server in servers.items()
    ]
    for server in servers.values():
        await server.ready.wait()
    origins = {name: _url(listening) for name, listening in sockets.items()}
    simulator.origins.update(origins)
    _announce(options, simulator, origins)
    pushing = asyncio.create_task(simulator.senders.run())
    await stop.wait()
    pushing.cancel()
    simulator.senders.clear()
    simulator.clear_faults()
    for server in servers.values():
        server.should_exit = True
    await asyncio.gather(*running)


def _server(app: Any) -> Server:
    return Server(
        uvicorn.Config(
            app,
            http=OpenProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Longer than clients keep idle connections, so that we never hang up first.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE,
        )
    )


def _stop_event(options: Options) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.stop_on_eof:
        reader = threading.Thread(
            target=_await_end_of_input, args=(loop, stop), name="stdin", daemon=True
        )
        reader.start()
    return stop


def _await_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # A thread, as a selector takes pipes but neither files nor /dev/null; os.read, as
    # a daemon thread inside sys.stdin would hold its lock while the interpreter ends.
    while os.read(sys.stdin.fileno(), 4096):
        continue
    with contextlib.suppress(RuntimeError):  # the loop has ended before stdin did
        loop.call_soon_threadsafe(stop.set)


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{host}:{port}"


def _announce(options: Options, simulator: Simulator, origins: dict[str, str]) -> None:
    projects = simulator.world.projects.values()
    line = orjson.dumps(
        {
            "event": "simulator.ready",
            "pid": os.getpid(),
            "region": options.region,
            "now": simulator.clock.now().isoformat(),
            "speed": options.speed,
            "origins": origins,
            "projects": [
                {"app_id": one.app_id, "api_key": one.api_key} for one in projects
            ],
        }
    ).decode()
    if options.ready_file is not None:
        draft = options.ready_file.with_suffix(".draft")
        draft.write_text(f"{line}\n")
        draft.replace(options.ready_file)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
