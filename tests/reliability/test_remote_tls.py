"""A certificate that does not verify stops the connection before a byte is sent.

Three of our own authority, made by the real openssl: good, expired, for another name;
and one that signed itself. By way of every vendor's connection.
"""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.model import Outcome
from tests.reliability.remote.remotes import KINDS, Kind, Remote, remote
from tests.reliability.remote.scripted import Answerer, answering
from tests.simulated import Simulator, simulating

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        shutil.which("openssl") is None, reason="needs the package openssl"
    ),
]

WRITING = tuple(
    kind for kind in KINDS if kind.name in ("add", "identify", "partner-add")
)
BAD = ("expired", "other", "self")


def openssl(folder: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, and a pair of `NAME.pem` and `NAME.key` for each certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "self"):
        subject = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
        made = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2")
        openssl(folder, "req", "-x509", *curve, *subject, *made)
    for name, host, days in (
        ("good", "IP:127.0.0.1", "2"),
        ("expired", "IP:127.0.0.1", "-1"),
        ("other", "DNS:elsewhere.example", "2"),
    ):
        wish = ("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "req", "-new", *curve, *wish)
        (folder / "ext").write_text(f"subjectAltName={host}\n", encoding="ascii")
        signed = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "ext")
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        # x509 of openssl 3.0 takes a negative number of days: it is over already.
        openssl(folder, "x509", "-req", *signed, *by, "-days", days)
    return folder


def context(folder: Path, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return made


@pytest.fixture(scope="module")
def vendors() -> Iterator[Simulator]:
    with simulating("--latency", "0") as simulator:
        yield simulator


@pytest.mark.parametrize("kind", WRITING, ids=lambda kind: kind.name)
def test_a_certificate_that_does_not_verify_is_never_bypassed(
    kind: Kind, vendors: Simulator, certificates: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        names = ("amplitude", "storage", "segment", "partner")
        origins = {name: vendors.origins[name] for name in names}
        doors = {
            name: stack.enter_context(answering(origins, context(certificates, name)))
            for name in ("good", *BAD)
        }
        made = stack.enter_context(remote(kind, vendors, tmp_path / "sync"))
        ca_file = certificates / "ca.pem"
        lead(made, kind, doors["good"], ca_file)
        made.move()
        assert made.run().outcome is Outcome.SUCCESS
        for name in BAD:
            lead(made, kind, doors[name], ca_file)
            made.move()
            before = made.truth()

            report = made.run()

            assert report.outcome is Outcome.FAILED, name
            assert report.error_type == "tls"
            assert "certificate" in report.message
            assert doors[name].asked == []
            assert made.truth() == before
            assert made.stopped()
            lead(made, kind, doors["good"], ca_file)
            made.later()
            assert made.run().outcome is Outcome.SUCCESS
            assert made.healed()


def lead(made: Remote, kind: Kind, door: Answerer, ca_file: Path) -> None:
    """From now on the connection that is written to is behind this door."""
    settings = made.engine.blueprint.settings
    name = "amplitude" if kind.to == "cohort" else kind.to
    connection = settings.connections[name]
    place = door.origins[kind.origin]
    transport = replace(connection.transport, base_url=place, ca_file=ca_file)
    changed = {**settings.connections, name: replace(connection, transport=transport)}
    made.use(replace(settings, connections=changed))
