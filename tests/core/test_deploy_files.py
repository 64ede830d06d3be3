"""What deploy/ gives as examples fits the processes: it parses, names settings that exist, and waits for a drain."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from director.settings import DirectorSettings
from shard_node import app, departure, listener
from shard_node.settings import NodeSettings

yaml = pytest.importorskip("yaml")
DEPLOY = Path(__file__).parents[2] / "deploy"
SETTINGS = {f"HALL_{name}".upper() for of in (DirectorSettings, NodeSettings) for name in of.model_fields}
TO_END = NodeSettings.model_fields["drain_within"].default + departure.SETTLE_WITHIN
TO_END += app.SETTLE_WITHIN + app.BYE_WITHIN + listener.CLOSE_WITHIN


def objects() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from (it for it in yaml.safe_load_all(path.read_text()) if it)


def one(kind: str) -> dict[str, Any]:
    (found,) = (it for it in objects() if it["kind"] == kind)
    return found


def given(kind: str) -> dict[str, str]:
    """The environment that the ConfigMap and the pod's own lines give its process; "?" where the cluster says."""
    (container,) = one(kind)["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "hall"}}], "secrets are named one by one"
    found: dict[str, str] = dict(one("ConfigMap")["data"])
    for it in container["env"]:
        secret = it.get("valueFrom", {}).get("secretKeyRef")
        found[it["name"]] = it.get("value", "?") if secret is None else one("Secret")["stringData"][secret["key"]]
    return found


def secrets_of(kind: str) -> set[str]:
    (container,) = one(kind)["spec"]["template"]["spec"]["containers"]
    return {it["name"] for it in container["env"] if "secretKeyRef" in it.get("valueFrom", {})}


def unit(name: str) -> dict[str, list[str]]:
    """The assignments of a unit, whatever their section."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if line and line[0] not in "#[;":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*")), ids=lambda it: it.name)
def test_every_setting_that_an_example_names_exists(path: Path) -> None:
    if path.suffix in (".yaml", ".service", ".md", ".conf"):
        named = set(re.findall(r"\bHALL_[A-Z0-9_]*[A-Z0-9]\b", path.read_text()))
        assert named - {"HALL_BENCH_POSTGRESQL_URL"} <= SETTINGS


def test_every_file_is_in_the_index() -> None:
    index = (DEPLOY / "README.md").read_text()
    for path in DEPLOY.iterdir():
        assert path.name == "README.md" or f"({path.name}" in index


def test_kubernetes_waits_for_a_node_s_drain() -> None:
    pod = one("StatefulSet")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > TO_END


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment"])
def test_kubernetes_asks_whether_a_process_lives_and_whether_it_is_ready(kind: str) -> None:
    pod = one(kind)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["enableServiceLinks"] is False, "a Service called hall-director sets HALL_DIRECTOR_PORT=tcp://..."


def test_kubernetes_gives_each_pod_the_secrets_that_it_needs_and_no_others() -> None:
    assert secrets_of("Deployment") == {"HALL_TICKET_KEY", "HALL_PLATFORM_KEY", "HALL_ADMIN_TOKEN"}
    assert secrets_of("StatefulSet") == {"HALL_TICKET_KEY", "HALL_STORE_URL"}
    assert one("Secret")["stringData"].keys() == secrets_of("Deployment") | secrets_of("StatefulSet")


@pytest.mark.parametrize(
    ("kind", "settings"), [("Deployment", DirectorSettings), ("StatefulSet", NodeSettings)], ids=["director", "node"]
)
def test_kubernetes_starts_nothing_with_the_samples_secrets(
    kind: str, settings: type[DirectorSettings | NodeSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = one("Secret")["stringData"]["HALL_STORE_URL"]
    assert store.startswith("postgresql://"), "without one, a node writes into its own pod"
    assert urlsplit(store).password == ""
    assert {value for value in one("Secret")["stringData"].values() if value != store} == {""}
    for name, value in given(kind).items():
        monkeypatch.setenv(name, value if value != "?" else "hall-node-0")
    monkeypatch.setenv("HALL_NODE_URL", "https://hall-node-0.chat.example.org")
    monkeypatch.setenv("HALL_NODE_PROBE_URL", "http://10.0.0.7:9001")
    with pytest.raises(ValidationError, match="HALL_TICKET_KEY"):
        settings()
    for name in secrets_of(kind):
        monkeypatch.setenv(name, "x" * 32)
    settings()  # nothing else is amiss


def test_kubernetes_lets_the_public_in_by_tls_and_to_no_operators_page() -> None:
    ingresses = [it["spec"] for it in objects() if it["kind"] == "Ingress"]
    assert len(ingresses) == 2
    for spec in ingresses:
        assert [host for it in spec["tls"] for host in it["hosts"]] == [rule["host"] for rule in spec["rules"]]
        for rule in spec["rules"]:
            for it in rule["http"]["paths"]:
                assert not (it["path"] == "/" and it["pathType"] == "Prefix")
                assert not it["path"].startswith(("/admin", "/operations", "/metrics"))


def test_kubernetes_labels_and_names_fit_together() -> None:
    for it in objects():
        if it["kind"] in ("StatefulSet", "Deployment"):
            labels = it["spec"]["template"]["metadata"]["labels"]
            assert it["spec"]["selector"]["matchLabels"] == labels
    names = {it["metadata"]["name"] for it in objects() if it["kind"] == "Service"}
    assert one("StatefulSet")["spec"]["serviceName"] in names


def test_systemd_waits_for_a_node_s_drain_and_starts_what_has_ended() -> None:
    node = unit("hall-node@.service")
    assert node["KillSignal"] == ["SIGTERM"]
    assert float(node["TimeoutStopSec"][0]) > TO_END
    for name in ("hall-node@.service", "hall-director.service"):
        assert unit(name)["Restart"] == ["always"]
