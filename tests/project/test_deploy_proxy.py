"""The proxy that deploy/README.md shows: nginx with exactly those lines."""

import http.client
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "deploy/README.md").read_text()
PATIENCE = 20.0
"""Seconds that nginx may take for anything."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs the package nginx"),
]


class Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def shown(front: Path, behind: Path) -> str:
    """The server block of the page, between two Unix sockets and without TLS."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```", README, re.M | re.S)
    block, replaced = re.subn(r"listen 443 ssl;", f"listen unix:{front};", block)
    assert replaced == 1
    block = re.sub(r"^ *ssl_certificate.*\n", "", block, flags=re.MULTILINE)
    return block.replace("http://127.0.0.1:8080", f"http://unix:{behind}:")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def behind(folder: Path) -> Iterator[socket.socket]:
    """Where syncd would listen; nobody does until a test listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "behind"))
        yield server


@pytest.fixture
def front(folder: Path, behind: socket.socket) -> Iterator[Path]:
    """A running nginx; its sockets take whoever connects once it has said so."""
    socket_of_nginx = folder / "front"
    config = folder / "nginx.conf"
    config.write_text(
        f"user root; daemon off; pid {folder}/pid; error_log stderr notice;\n"
        "events {}\n"
        f"http {{ access_log off; client_body_temp_path {folder};\n"
        f"proxy_temp_path {folder}; fastcgi_temp_path {folder};\n"
        f"uwsgi_temp_path {folder}; scgi_temp_path {folder};\n"
        f"{shown(socket_of_nginx, folder / 'behind')} }}\n"
    )
    command = ["nginx", "-p", str(folder), "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as nginx:
        assert nginx.stderr is not None
        said = []
        for line in nginx.stderr:
            said.append(line)
            if "start worker process " in line:
                break
        assert nginx.poll() is None, "".join(said)
        yield socket_of_nginx
        nginx.terminate()


def ask(front: Path, path: str) -> tuple[int, str | None]:
    """What a sender is answered: the status, and after how long to come back."""
    with closing(Local(front)) as sender:
        sender.request("POST", path, body=b"{}")
        answer = sender.getresponse()
        answer.read()
        return answer.status, answer.headers["Retry-After"]


@pytest.mark.parametrize(
    "path", ["/in/engage", "/in/amplitude/lists/7/add", "/in/engage/audiences/secret"]
)
def test_while_syncd_is_away_senders_are_asked_to_come_back(
    front: Path, path: str
) -> None:
    assert ask(front, path) == (503, "5")


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/syncs/vip"])
def test_nothing_but_doors_is_led_on(front: Path, path: str) -> None:
    assert ask(front, path) == (404, None)


def test_what_is_led_on_keeps_amplitudes_header(
    front: Path, behind: socket.socket
) -> None:
    behind.listen()
    behind.settimeout(PATIENCE)

    with closing(Local(front)) as sender:
        sender.request("POST", "/in/amplitude", body=b"{}", headers={"api_key": "one"})
        taken, _ = behind.accept()
        with taken:
            taken.settimeout(PATIENCE)
            received = taken.recv(65536)
            taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        answer = sender.getresponse()
        answer.read()

    assert received.startswith(b"POST /in/amplitude HTTP/1.1\r\n")
    assert b"\r\napi_key: one\r\n" in received
    assert answer.status == 200
