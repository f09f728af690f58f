"""The Kubernetes files build; they fit the API, the image and the configuration."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from syncd.cli import main
from syncd.config import load
from syncd.config.inbound_values import address_of
from syncd.config.settings import Settings
from syncd.store.location import is_sqlite, sqlite_path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kustomize"
RECIPE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
OVERLAYS = ("sqlite", "postgres")
BUILT = ("overlays/sqlite", "overlays/postgres", "overlays/workers", "monitoring")
VERSIONS = ("1.27", "1.37")
"""Of Kubernetes: the oldest and the newest whose schemas are asked."""

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="needs the package kubernetes-client"
)
pytestmark = [pytest.mark.system, needs_kubectl]


def client_is_old() -> bool:
    """Whether kubectl has the kustomize of before 2.1 (Debian 12: kubectl 1.20)."""
    done = subprocess.run(
        ["kubectl", "version", "--client", "--output=json"],
        capture_output=True,
        text=True,
        check=True,
    )
    (minor,) = re.findall(r'"minor": "(\d+)', done.stdout)
    return int(minor) < 21


def in_old_words(file: Path) -> None:
    """Say the same with the names that `resources` and `patches` had in those days."""
    text = file.read_text()
    text = text.replace(
        "resources:\n  - ../../base\n", "bases:\n  - ../../base\nresources:\n"
    )
    text = text.replace(
        "resources:\n  - ../postgres\n", "bases:\n  - ../postgres\nresources:\n"
    )
    text = re.sub(
        r"^patches:\n  - path: ", "patchesStrategicMerge:\n  - ", text, flags=re.M
    )
    file.write_text(text.replace("resources:\npatches", "patches"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Overlay -> the file of all that it builds."""
    folder = tmp_path_factory.mktemp("kustomize")
    shutil.copytree(FOLDER, folder / "in")
    if client_is_old():
        for file in (folder / "in").rglob("kustomization.yaml"):
            in_old_words(file)
    made = {}
    for name in BUILT:
        done = subprocess.run(
            ["kubectl", "kustomize", str(folder / "in" / name)],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        made[name.split("/")[-1]] = folder / f"{name.replace('/', '-')}.yaml"
        made[name.split("/")[-1]].write_text(done.stdout)
    return made


@pytest.fixture
def objects(built: dict[str, Path], overlay: str) -> dict[tuple[str, str], Any]:
    """(kind, name) -> object, of an overlay."""
    found = YAML(typ="safe", pure=True).load_all(built[overlay])
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


@pytest.fixture
def pod(objects: dict[tuple[str, str], Any]) -> Any:
    return objects["StatefulSet", "syncd"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod: Any) -> Any:
    (only,) = pod["containers"]
    return only


def settings(overlay: str) -> Settings:
    return load([FOLDER / "overlays" / overlay / "syncd.yaml"], {}).settings


def ports(container: Any) -> dict[str, int]:
    return {each["name"]: each["containerPort"] for each in container["ports"]}


def instruction(word: str) -> str:
    """What the image's last stage says after this word."""
    return str(re.findall(rf"^{word} (.*)$", RECIPE, re.MULTILINE)[-1])


@pytest.mark.parametrize("overlay", [*OVERLAYS, "workers"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_would_take_every_object(
    overlay: str, version: str, built: dict[str, Path]
) -> None:
    program = Path(sys.executable).parent / "kubernetes-validate"

    done = subprocess.run(
        [str(program), "--strict", "-k", version, str(built[overlay])],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stdout
    assert f"statefulset/syncd against version {version}" in done.stdout


@each_overlay
def test_everything_lies_in_one_namespace(objects: dict[tuple[str, str], Any]) -> None:
    spaces = {each["metadata"].get("namespace") for each in objects.values()}

    assert spaces - {None} == {"syncd"}
    (without,) = [
        key for key, each in objects.items() if "namespace" not in each["metadata"]
    ]
    assert without == ("Namespace", "syncd")
    labels = objects["Namespace", "syncd"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@each_overlay
def test_the_pod_is_as_restricted_as_its_namespace_demands(
    pod: Any, container: Any
) -> None:
    """The controls of the Pod Security Standard `restricted`."""
    user, group = instruction("USER").split(":")
    outer, inner = pod["securityContext"], container["securityContext"]

    assert (outer["runAsUser"], outer["runAsGroup"]) == (int(user), int(group))
    assert outer["runAsNonRoot"] is True
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inner["allowPrivilegeEscalation"] is False
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & pod.keys()
    kinds = {kind for volume in pod["volumes"] for kind in volume} - {"name"}
    assert kinds <= {"configMap", "secret", "emptyDir"}
    assert pod["automountServiceAccountToken"] is False


@each_overlay
def test_a_pod_is_killed_only_after_the_grace(overlay: str, pod: Any) -> None:
    grace = settings(overlay).shutdown_grace.total_seconds()

    assert pod["terminationGracePeriodSeconds"] >= grace + 5


@each_overlay
def test_the_command_line_is_one_of_syncd(container: Any) -> None:
    assert main.run([*container["args"], "--help"], dict) == 0
    assert "command" not in container
    assert "env" not in container


@each_overlay
def test_the_ports_are_those_that_the_daemon_listens_on(
    overlay: str, container: Any
) -> None:
    web = settings(overlay).web

    assert web.inbound is not None
    assert web.admin is not None
    assert ports(container) == {"inbound": web.inbound.port, "admin": web.admin.port}
    assert {web.inbound.host, web.admin.host} == {"0.0.0.0"}  # noqa: S104


@each_overlay
def test_probes_ask_for_health_and_no_probe_for_syncs(container: Any) -> None:
    asked = {
        kind: container[f"{kind}Probe"]["httpGet"]
        for kind in ("startup", "liveness", "readiness")
    }

    assert {probe["port"] for probe in asked.values()} == {"admin"}
    assert asked["startup"]["path"] == "/-/healthy"
    assert asked["liveness"]["path"] == "/-/live"
    assert asked["readiness"]["path"] == "/-/ready"


@each_overlay
def test_everything_that_is_mounted_is_there(
    overlay: str, objects: dict[tuple[str, str], Any], pod: Any, container: Any
) -> None:
    claims = objects["StatefulSet", "syncd"]["spec"].get("volumeClaimTemplates", [])
    names = {each["name"] for each in pod["volumes"]}
    names |= {each["metadata"]["name"] for each in claims}

    assert {each["name"] for each in container["volumeMounts"]} == names
    (config,) = [each["configMap"] for each in pod["volumes"] if "configMap" in each]
    given = objects["ConfigMap", config["name"]]["data"]
    assert given == {
        "syncd.yaml": (FOLDER / f"overlays/{overlay}/syncd.yaml").read_text()
    }


@each_overlay
def test_secrets_are_read_where_they_are_mounted(overlay: str, container: Any) -> None:
    places = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    text = (FOLDER / f"overlays/{overlay}/syncd.yaml").read_text()

    assert re.findall(r"^secrets_dir: (\S+)", text, re.MULTILINE) == [places["secrets"]]
    example = {
        path.name for path in (ROOT / "deploy/compose/secrets.example").iterdir()
    }
    wanted = {
        one or other for one, other in re.findall(r"_file: (\w+)|\{file: (\w+)\}", text)
    }
    assert wanted
    assert wanted <= example


@each_overlay
def test_the_configuration_is_accepted_without_a_warning(overlay: str) -> None:
    file = FOLDER / "overlays" / overlay / "syncd.yaml"

    done = subprocess.run(
        [sys.executable, "-m", "syncd", "check", "--strict", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("overlay", ["sqlite"])
def test_one_pod_has_the_sqlite_file_to_itself(
    overlay: str, objects: dict[tuple[str, str], Any], container: Any
) -> None:
    spec = objects["StatefulSet", "syncd"]["spec"]
    url = settings(overlay).store.read_url()

    assert is_sqlite(url)
    assert spec["replicas"] == 1
    (claim,) = spec["volumeClaimTemplates"]
    (place,) = [
        each["mountPath"]
        for each in container["volumeMounts"]
        if each["name"] == claim["metadata"]["name"]
    ]
    assert place == str(sqlite_path(url).parent) == instruction("VOLUME")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert [kind for kind, _ in objects if kind == "PodDisruptionBudget"] == []


@pytest.mark.parametrize("overlay", ["postgres"])
def test_of_two_pods_one_stays(
    overlay: str, objects: dict[tuple[str, str], Any], container: Any
) -> None:
    spec = objects["StatefulSet", "syncd"]["spec"]
    budget = objects["PodDisruptionBudget", "syncd"]["spec"]
    store = settings(overlay).store

    assert "volumeClaimTemplates" not in spec
    assert spec["replicas"] == budget["minAvailable"] + 1
    assert budget["selector"] == spec["selector"]
    assert str(store.spool_dir) in {
        each["mountPath"] for each in container["volumeMounts"]
    }


@each_overlay
def test_services_find_the_pods(
    objects: dict[tuple[str, str], Any], container: Any
) -> None:
    spec = objects["StatefulSet", "syncd"]["spec"]
    labels = spec["template"]["metadata"]["labels"]

    assert spec["selector"]["matchLabels"] == labels
    for name, port in (("syncd", "inbound"), ("syncd-pods", "admin")):
        service = objects["Service", name]["spec"]
        assert service["selector"] == labels
        assert [each["targetPort"] for each in service["ports"]] == [port]
        assert port in ports(container)
        assert "type" not in service
    assert objects["Service", spec["serviceName"]]["spec"]["clusterIP"] == "None"


@each_overlay
def test_who_sends_cannot_reach_the_admin_port(
    objects: dict[tuple[str, str], Any], container: Any
) -> None:
    policy = objects["NetworkPolicy", "syncd"]["spec"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    opened = [
        (each["from"][0]["namespaceSelector"]["matchLabels"], each["ports"][0]["port"])
        for each in policy["ingress"]
    ]
    key = "kubernetes.io/metadata.name"
    assert opened == [
        ({key: "ingress-nginx"}, "inbound"),
        ({key: "monitoring"}, "admin"),
    ]
    assert {port for _, port in opened} == set(ports(container))


@each_overlay
def test_prometheus_finds_the_admin_port(
    built: dict[str, Path], objects: dict[tuple[str, str], Any]
) -> None:
    monitor = YAML(typ="safe", pure=True).load(built["monitoring"])
    wanted = monitor["spec"]["selector"]["matchLabels"].items()

    found = [
        each
        for (kind, _), each in objects.items()
        if kind == "Service" and wanted <= each["metadata"]["labels"].items()
    ]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert [each["metadata"]["name"] for each in found] == ["syncd-pods"]
    assert [port["name"] for port in found[0]["spec"]["ports"]] == [endpoint["port"]]
    assert found[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "syncd"
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"]["credentials"] == {
        "name": "syncd-secrets",
        "key": "metrics_token",
    }
    assert monitor["metadata"]["namespace"] == "syncd"


# ---- workers -------------------------------------------------------------------------

beside_daemons = pytest.mark.parametrize("overlay", ["workers"])


@pytest.fixture
def worker(objects: dict[tuple[str, str], Any]) -> Any:
    return objects["Deployment", "syncd-worker"]["spec"]["template"]["spec"]


@beside_daemons
def test_a_worker_differs_from_a_daemon_in_nothing_but_its_command_and_ports(
    overlay: str, pod: Any, container: Any, worker: Any
) -> None:
    (other,) = worker["containers"]
    spread = "topologySpreadConstraints"

    differing = {key for key in pod | worker if pod.get(key) != worker.get(key)}
    within = {key for key in container | other if container.get(key) != other.get(key)}

    assert differing == {"containers", "volumes", spread}
    assert within == {"args", "ports", "volumeMounts"}
    for key in ("volumes", "volumeMounts"):
        both = [pod | container, worker | other]
        one, two = ({each["name"]: each for each in spec[key]} for spec in both)
        assert one == two
    assert [each["value"] for each in other["env"]] == ["procrastinate"]
    assert {each["name"] for each in other["env"]} == {"SYNCD_CLUSTER"}


@beside_daemons
def test_a_worker_is_probed_where_its_configuration_says(
    overlay: str, worker: Any
) -> None:
    (container,) = worker["containers"]
    args = container["args"]
    admin = settings("postgres").web.admin

    assert admin is not None
    assert main.run([*args, "--help"], dict) == 0
    assert address_of(args[args.index("--listen") + 1]) == admin
    assert ports(container) == {"admin": admin.port}


@beside_daemons
def test_of_two_workers_one_stays_and_no_sender_is_led_to_them(
    overlay: str, objects: dict[tuple[str, str], Any]
) -> None:
    spec = objects["Deployment", "syncd-worker"]["spec"]
    budget = objects["PodDisruptionBudget", "syncd-worker"]["spec"]
    labels = spec["selector"]["matchLabels"]

    assert spec["replicas"] == budget["minAvailable"] + 1
    assert labels == spec["template"]["metadata"]["labels"]
    assert budget["selector"] == {"matchLabels": labels}
    services = {
        name: each["spec"]["selector"]
        for (kind, name), each in objects.items()
        if kind == "Service"
    }
    assert [name for name, found in services.items() if found == labels] == [
        "syncd-workers"
    ]
    policy = objects["NetworkPolicy", "syncd-worker"]["spec"]
    daemons = objects["NetworkPolicy", "syncd"]["spec"]
    assert policy["podSelector"] == {"matchLabels": labels}
    assert policy["egress"] == daemons["egress"]
    assert policy["ingress"] == [
        each for each in daemons["ingress"] if each["ports"][0]["port"] == "admin"
    ]


@beside_daemons
def test_prometheus_finds_workers_under_the_job_of_the_daemons(
    overlay: str, built: dict[str, Path], objects: dict[tuple[str, str], Any]
) -> None:
    monitor = YAML(typ="safe", pure=True).load(built["monitoring"])["spec"]
    labels = objects["Service", "syncd-workers"]["metadata"]["labels"]

    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["jobLabel"]] == "syncd"
    (endpoint,) = monitor["endpoints"]
    (port,) = objects["Service", "syncd-workers"]["spec"]["ports"]
    assert port["name"] == endpoint["port"]
