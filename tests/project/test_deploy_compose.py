"""The Compose files fit the image, the configuration they mount, and each other."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ruamel.yaml import YAML

from syncd.cli import main
from syncd.config import load
from syncd.config.inbound_values import address_of
from syncd.config.secrets import SecretRef
from syncd.config.settings import Settings
from syncd.store.location import is_sqlite, sqlite_path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/compose"
RECIPE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
NAMES = (
    "compose",
    "compose.postgres",
    "compose.workers",
    "compose.demo",
    "compose.monitoring",
)


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def above(below: Any, override: Any) -> Any:
    """What the engine makes of two files: the later one's keys of a service count."""
    services = {
        name: below["services"].get(name, {}) | override["services"].get(name, {})
        for name in below["services"] | override["services"]
    }
    return below | {"services": services}


FILES = {name: read(FOLDER / f"{name}.yaml") for name in NAMES}
FILES["compose.workers"] = above(FILES["compose.postgres"], FILES["compose.workers"])
WORKER = FILES["compose.workers"]["services"]["worker"]
DAEMONS = {
    "compose": FILES["compose"]["services"]["syncd"],
    "compose.postgres": FILES["compose.postgres"]["services"]["syncd"],
}
OURS = DAEMONS | {
    "compose.workers": WORKER,
    "compose.demo": FILES["compose.demo"]["services"]["demo"],
}
SERVICES = [
    (name, service, body)
    for name, document in FILES.items()
    for service, body in document["services"].items()
]
MONITORING = FILES["compose.monitoring"]["services"]

each_file = pytest.mark.parametrize("name", NAMES)
each_daemon = pytest.mark.parametrize("name", DAEMONS)
each_of_ours = pytest.mark.parametrize("name", OURS)
each_service = pytest.mark.parametrize(
    ("name", "body"),
    [(name, body) for name, _, body in SERVICES],
    ids=[f"{name}: {service}" for name, service, _ in SERVICES],
)


def instruction(word: str) -> str:
    """What the image's last stage says after this word."""
    return str(re.findall(rf"^{word} (.*)$", RECIPE, re.MULTILINE)[-1])


def mounts(body: Any) -> dict[str, str]:
    """Place in the container -> what is mounted there, if it has a name."""
    pairs = [each.split(":") for each in body.get("volumes", ())]
    return {pair[1 % len(pair)]: pair[0] if pair[1:] else "" for pair in pairs}


def settings(name: str) -> Settings:
    """What the configuration means that this file's daemon is given."""
    folder = FOLDER / mounts(DAEMONS[name])["/etc/syncd"]
    return load([folder / "syncd.yaml"], {}).settings


def secret_files(value: object) -> Iterator[Path]:
    """The file of every secret below these settings."""
    if isinstance(value, SecretRef):
        assert value.file is not None
        yield value.file
    elif is_dataclass(value):
        for field in fields(value):
            yield from secret_files(getattr(value, field.name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from secret_files(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from secret_files(each)


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def ports(body: Any) -> dict[str, str]:
    """Port in the container -> where it is published."""
    pairs = [each.rsplit(":", 1) for each in body.get("ports", ())]
    return {inside: outside for outside, inside in pairs}


def test_the_files_are_compose_files() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema"]
        + ["--builtin-schema", "vendor.compose-spec"]
        + [str(path) for path in sorted(FOLDER.glob("compose*.yaml"))],
        capture_output=True,
        text=True,
    )

    assert {path.stem for path in FOLDER.glob("compose*.yaml")} == set(NAMES)
    assert done.returncode == 0, done.stdout + done.stderr


@each_service
def test_what_is_mounted_exists(name: str, body: Any) -> None:
    named = set(FILES[name].get("volumes") or ())

    for place, source in mounts(body).items():
        assert PurePosixPath(place).is_absolute()
        assert not source or source in named or (FOLDER / source).exists(), source


@each_service
def test_a_secret_is_a_file_of_the_example(name: str, body: Any) -> None:
    declared = FILES[name].get("secrets") or {}

    for secret in body.get("secrets", ()):
        assert declared[secret] == {"file": f"./secrets/{secret}"}
        assert (FOLDER / "secrets.example" / secret).read_bytes() == b""


def test_no_secret_of_the_example_is_without_use_or_explanation() -> None:
    used = {each for _, _, body in SERVICES for each in body.get("secrets", ())}
    folder = FOLDER / "secrets.example"
    table = (folder / "README.md").read_text()

    assert {path.name for path in folder.iterdir()} == used | {"README.md"}
    assert [secret for secret in used if f"`{secret}`" not in table] == []


@each_service
def test_nothing_is_published_beyond_this_machine(name: str, body: Any) -> None:
    assert [to for to in ports(body).values() if not to.startswith("127.0.0.1:")] == []


@each_service
def test_an_image_of_others_is_pinned(name: str, body: Any) -> None:
    assert re.fullmatch(
        r"\$\{SYNCD_IMAGE:-syncd:latest\}|.+:v?\d[\w.-]+", body["image"]
    )


@each_service
def test_no_service_may_gain_privileges(name: str, body: Any) -> None:
    assert body["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in body
    assert "cap_add" not in body


@each_of_ours
def test_syncd_runs_with_as_little_as_the_image_allows(name: str) -> None:
    body = OURS[name]

    assert body["user"] == instruction("USER")
    assert body["read_only"] is True
    assert body["cap_drop"] == ["ALL"]
    assert [place.split(":")[0] for place in body["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert body["mem_limit"]
    assert body["pids_limit"]


@each_of_ours
def test_the_command_line_is_one_of_syncd(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(word) for word in OURS[name]["command"]]

    code = main.run([*command, "--help"], dict)

    assert code == 0
    assert capsys.readouterr().out.startswith(f"Usage: syncd {command[0]}")


@each_file
def test_the_commands_in_the_comments_exist(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    typed = re.findall(r"(?:exec \S+ syncd|run .* syncd) (\w+)", text)

    assert set(typed) <= main.VERBS.keys()
    for file in re.findall(r"-f (\S+)", text):
        assert (FOLDER / file).is_file()


@each_daemon
def test_the_engine_waits_longer_than_the_daemon_takes_to_stop(name: str) -> None:
    grace = settings(name).shutdown_grace.total_seconds()

    assert seconds(DAEMONS[name]["stop_grace_period"]) >= grace + 5


@each_daemon
def test_the_probe_is_that_of_the_image(name: str) -> None:
    probe = DAEMONS[name]["healthcheck"]
    said = instruction("HEALTHCHECK")

    words = [
        f"--{key.replace('_', '-')}={probe[key]}" for key in probe if key != "test"
    ]
    assert sorted(words) == sorted(re.findall(r"--\S+", said))
    assert said.endswith(str(probe["test"][1:]).replace("'", '"'))


@each_daemon
def test_the_configuration_is_accepted_without_a_warning(name: str) -> None:
    file = FOLDER / mounts(DAEMONS[name])["/etc/syncd"] / "syncd.yaml"

    done = subprocess.run(
        [sys.executable, "-m", "syncd", "check", "--strict", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stdout + done.stderr


@each_daemon
def test_a_daemon_gets_the_secrets_that_its_configuration_names(name: str) -> None:
    wanted = set(secret_files(settings(name)))

    given = DAEMONS[name]["secrets"]
    assert {path.parent for path in wanted} == {Path("/run/secrets")}
    assert sorted(path.name for path in wanted) == given == sorted(given)


@each_daemon
def test_the_ports_are_those_that_the_daemon_listens_on(name: str) -> None:
    web = settings(name).web

    assert web.admin is not None
    assert web.inbound is not None
    assert sorted(ports(DAEMONS[name])) == [str(web.inbound.port), str(web.admin.port)]
    assert instruction("EXPOSE") == str(web.inbound.port)


def test_the_store_lies_in_the_volume() -> None:
    url = settings("compose").store.read_url()

    assert is_sqlite(url)
    assert sqlite_path(url).parent == Path(instruction("VOLUME"))
    assert mounts(DAEMONS["compose"])[instruction("VOLUME")] == "data"


def test_a_store_on_postgres_is_the_one_beside_it() -> None:
    store = settings("compose.postgres").store
    db = FILES["compose.postgres"]["services"]["db"]
    environment = db["environment"]

    user, base = environment["POSTGRES_USER"], environment["POSTGRES_DB"]
    text = (FOLDER / "config.postgres/syncd.yaml").read_text()
    assert f"url: postgresql://{user}@db/{base}\n" in text
    assert environment["POSTGRES_PASSWORD_FILE"] == "/run/secrets/store_password"
    assert Path("/run/secrets/store_password") in set(secret_files(store))
    assert DAEMONS["compose.postgres"]["depends_on"] == {
        "db": {"condition": "service_healthy"}
    }


def test_lists_are_compared_where_something_can_be_written() -> None:
    spool = settings("compose.postgres").store.spool_dir

    assert str(spool) in mounts(DAEMONS["compose.postgres"])


def test_the_replicas_differ_from_the_single_daemon_in_nothing_else() -> None:
    one, several = dict(DAEMONS["compose"]), dict(DAEMONS["compose.postgres"])

    differing = {key for key in one | several if one.get(key) != several.get(key)}
    assert differing == {"deploy", "depends_on", "ports", "volumes", "secrets"}
    assert set(several["secrets"]) - set(one["secrets"]) == {"store_password"}


def test_a_worker_differs_from_a_daemon_in_nothing_but_its_command_and_ports() -> None:
    daemon = FILES["compose.workers"]["services"]["syncd"]

    differing = {key for key in daemon | WORKER if daemon.get(key) != WORKER.get(key)}
    assert differing == {"command", "build", "ports"}
    assert not {"build", "ports"} & WORKER.keys()
    # What the operator turns on is read by both, as the configuration spells it.
    file = FOLDER / mounts(WORKER)["/etc/syncd"] / "syncd.yaml"
    asked = load([file], daemon["environment"]).settings
    assert settings("compose.postgres").cluster == "embedded"
    assert asked.cluster == "procrastinate"


def test_a_worker_is_probed_where_its_configuration_says() -> None:
    """So the image's own health check asks it, and Prometheus as it asks daemons."""
    command = WORKER["command"]
    web = settings("compose.postgres").web

    assert web.admin is not None
    assert web.admin_token is not None
    where = address_of(command[command.index("--listen") + 1])
    assert where == web.admin


def test_the_demo_reaches_nobody() -> None:
    demo = OURS["compose.demo"]

    assert demo["network_mode"] == "none"
    assert "ports" not in demo
    assert "secrets" not in demo


def test_prometheus_asks_the_admin_port_of_every_replica() -> None:
    (job,) = read(FOLDER / "monitoring/prometheus.yaml")["scrape_configs"]
    (found,) = job["dns_sd_configs"]

    admin = settings("compose").web.admin
    assert admin is not None
    assert job["job_name"] == "syncd"
    assert job["metrics_path"] == "/metrics"
    assert found["port"] == admin.port
    services = FILES["compose.workers"]["services"]
    assert found["names"] == [each for each in services if each != "db"]
    token = Path(job["authorization"]["credentials_file"])
    assert token in set(secret_files(settings("compose").web))
    assert "metrics_token" in MONITORING["prometheus"]["secrets"]


def test_prometheus_has_the_rules_and_whom_to_tell() -> None:
    told = read(FOLDER / "monitoring/prometheus.yaml")
    (manager,) = told["alerting"]["alertmanagers"]
    inside = mounts(MONITORING["prometheus"])

    page = settings("compose").web.page.base_url
    assert told["global"]["external_labels"] == {"syncd_url": page}
    places = [f"/etc/prometheus/{name}" for name in told["rule_files"]]
    assert [inside[place] for place in places] == ["../prometheus/alerts.yaml"]
    (target,) = manager["static_configs"][0]["targets"]
    service, port = target.split(":")
    assert port in ports(MONITORING[service])


def test_alerts_go_where_their_severity_says() -> None:
    told = read(ROOT / "deploy/alertmanager/alertmanager.yaml")
    rules = read(ROOT / "deploy/prometheus/alerts.yaml")["groups"][0]["rules"]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}

    assert told["route"]["receiver"] == "ticket"
    assert {each["name"] for each in told["receivers"]} == {"page", "ticket"}
    (paging,) = told["route"]["routes"]
    assert (paging["matchers"], paging["receiver"]) == (['severity="page"'], "page")
    for rule in told["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            assert set(matcher.split('"')[1].split("|")) <= alerts
    annotations = {key for rule in rules for key in rule.get("annotations", ())}
    assert set(re.findall(r"Annotations\.(\w+)", str(told))) <= annotations
    files = re.findall(r"_file': '/run/secrets/(\w+)'", str(told))
    assert sorted(files) == MONITORING["alertmanager"]["secrets"]


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = read(provisioning / "datasources/syncd.yaml")["datasources"]
    (provider,) = read(provisioning / "dashboards/syncd.yaml")["providers"]
    grafana = MONITORING["grafana"]
    inside = mounts(grafana)

    host, port = source["url"].removeprefix("http://").split(":")
    assert port in ports(MONITORING[host])
    assert inside["/etc/grafana/provisioning"] == "../grafana/provisioning"
    boards = {
        Path(place).name
        for place in inside
        if PurePosixPath(place).is_relative_to(provider["options"]["path"])
    }
    assert boards == {path.name for path in (ROOT / "deploy/grafana").glob("*.json")}
    password = grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert [Path(password).name] == grafana["secrets"]


def test_whoever_reads_secrets_is_of_their_group() -> None:
    group = instruction("USER").split(":")[1]

    readers = [body for body in MONITORING.values() if body.get("secrets")]
    assert len(readers) == 3
    assert [body["group_add"] for body in readers] == [[group]] * 3


def accepted(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True
    )


@pytest.mark.system
@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs the package prometheus"
)
def test_promtool_accepts_the_prometheus_configuration() -> None:
    file = FOLDER / "monitoring/prometheus.yaml"

    done = accepted("promtool", "check", "config", "--syntax-only", file)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
@pytest.mark.skipif(
    shutil.which("amtool") is None, reason="needs the package prometheus-alertmanager"
)
def test_amtool_accepts_the_alertmanager_configuration() -> None:
    file = ROOT / "deploy/alertmanager/alertmanager.yaml"

    done = accepted("amtool", "check-config", file)

    assert done.returncode == 0, done.stdout + done.stderr
