"""The files of `deploy/` agree with the program: commands, settings, ports, metrics; and hold no secrets.

That they are well formed is checked by `make check-deploy`.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from dicom_node.cli import COMMANDS
from dicom_node.settings import Settings, load_settings
from dicom_node.stored_queue import FAILED, UNFINISHED
from storage.deliveries import DEAD, DELIVERED, DUE, UNCOMMITTED
from storage.workers import ALIVE, GONE
from tests.acceptance.documents import REPOSITORY, table

DEPLOY = REPOSITORY / "deploy"
OPERATIONS = REPOSITORY / "docs" / "operations.md"
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
RULES = yaml.safe_load((DEPLOY / "prometheus" / "facenorm.rules.yml").read_text("utf-8"))
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "facenorm.json").read_text("utf-8"))
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
IMAGE = f"facenorm:{VERSION}"
# What Prometheus itself and the blackbox exporter say.
OTHERS_METRICS = {"up": {"job", "instance"}, "probe_success": {"job", "instance"}}
SECRET = re.compile(r"password|token|secret|database_url|registered_users", re.IGNORECASE)


@cache
def manifests() -> tuple[dict[str, Any], ...]:
    """Return every Kubernetes object of the folder, the example of a secret included."""
    paths = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return tuple(
        found
        for path in paths
        if path.name != "kustomization.yaml"
        for found in yaml.safe_load_all(path.read_text("utf-8"))
    )


def pods() -> dict[str, dict[str, Any]]:
    """Return name of the workload -> specification of its pods."""
    kinds = ("StatefulSet", "Deployment", "Job")
    found = (manifest for manifest in manifests() if manifest["kind"] in kinds)
    return {m["metadata"]["name"]: m["spec"]["template"]["spec"] for m in found}


def containers() -> dict[str, dict[str, Any]]:
    return {f"{name}/{c['name']}": c for name, pod in pods().items() for c in pod["containers"]}


def our_services() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in SERVICES.items() if service["image"] == IMAGE}


def unit_lines(unit: Path, key: str) -> list[str]:
    found = (line.partition("=") for line in unit.read_text("utf-8").splitlines())
    return [value for name, _, value in found if name == key]


def commands() -> dict[str, list[str]]:
    """Return place -> the words after `facenorm`, wherever the folder starts it."""
    found = {f"compose {name}": service["command"] for name, service in our_services().items()}
    found |= {f"kubernetes {name}": container["args"] for name, container in containers().items()}
    for unit in UNITS:
        (line,) = unit_lines(unit, "ExecStart")
        program, *words = shlex.split(line)
        assert program == "/opt/facenorm/bin/facenorm"
        found[unit.name] = [word for word in words if word != "$SERVE_OPTIONS"]
    (line,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    return found | {"Dockerfile": json.loads(line)}


def environments() -> dict[str, dict[str, object]]:
    """Return place -> environment variables, None for one that comes from a Kubernetes secret."""
    found: dict[str, dict[str, object]] = {
        f"compose {name}": service.get("environment", {}) for name, service in SERVICES.items()
    }
    for name, container in containers().items():
        found[f"kubernetes {name}"] = {entry["name"]: entry.get("value") for entry in container["env"]}
    for unit in UNITS:
        pairs = (line.partition("=") for line in unit_lines(unit, "Environment"))
        found[unit.name] = {name: value for name, _, value in pairs}
    found["Dockerfile"] = dict(re.findall(r"(\b[A-Z][A-Z_]+)=(\S*)", DOCKERFILE))
    return found


def test_every_command_that_is_started_exists_with_its_options() -> None:
    started = commands()
    assert {words[0] for words in started.values()} == {"serve", "worker", "migrate"}
    for place, (name, *words) in started.items():
        assert name in COMMANDS, f"{place}: facenorm {name}"
        known = {option for p in COMMANDS[name].load().params for option in (*p.opts, *p.secondary_opts)}
        unknown = {word for word in words if word.startswith("--")} - known
        assert not unknown, f"{place}: facenorm {name} has no {unknown}"


def test_a_node_beside_workers_does_not_score() -> None:
    shared = {place: words for place, words in commands().items() if place.startswith(("compose", "kub"))}
    serving = [words for words in shared.values() if words[0] == "serve"]
    assert len(serving) == 2
    assert all("--no-score" in words for words in serving)
    assert "SERVE_OPTIONS=--no-score" in (DEPLOY / "systemd" / "facenorm.service").read_text("utf-8")


def test_every_environment_variable_is_a_setting() -> None:
    named = {name for found in environments().values() for name in found if name.startswith("FACENORM_")}
    named |= set(re.findall(r"FACENORM_\w+__\w+", "".join(path.read_text("utf-8") for path in UNITS)))
    assert {"FACENORM_DATA__DATABASE_URL", "FACENORM_STATUS__TOKEN"} <= named
    for name in named - {"FACENORM_CACHE"}:
        section, _, key = name.removeprefix("FACENORM_").lower().partition("__")
        assert section in Settings.model_fields, name
        assert key in Settings.model_fields[section].annotation.model_fields, name  # type: ignore[union-attr]


def test_every_settings_file_can_be_used(tmp_path: Path) -> None:
    (configuration,) = (m["data"]["facenorm.toml"] for m in manifests() if m["kind"] == "ConfigMap")
    in_cluster = tmp_path / "facenorm.toml"
    in_cluster.write_text(configuration)
    for path in (in_cluster, DEPLOY / "compose" / "facenorm.toml"):
        settings = load_settings(path)
        assert settings.senders
        assert settings.destinations


def test_orthanc_in_compose_and_node_know_each_other() -> None:
    composed = json.loads((DEPLOY / "compose" / "orthanc.json").read_text("utf-8"))
    usual = json.loads((DEPLOY / "orthanc" / "facenorm.json").read_text("utf-8"))
    settings = load_settings(DEPLOY / "compose" / "facenorm.toml")
    (sender,), (destination,) = settings.senders, settings.destinations
    assert sender.ae_title == destination.ae_title == composed["DicomAet"]
    assert sender.host == destination.host == "orthanc"
    assert destination.port == composed["DicomPort"]
    modality = composed["DicomModalities"]["facenorm"]
    assert modality == usual["DicomModalities"]["facenorm"] | {"Host": "node"}
    assert (modality["AET"], modality["Port"]) == (settings.node.ae_title, settings.node.port)
    assert {modality["Host"], sender.host} <= set(SERVICES)
    for key in ("LuaScripts", "LuaHeartBeatPeriod"):
        assert composed[key] == usual[key]


def test_ports_are_those_of_the_settings() -> None:
    node, status = Settings().node.port, Settings().status.port
    assert re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE) == [f"{node} {status}"]
    assert re.findall(r"127\.0\.0\.1', (\d+)", DOCKERFILE) == [str(status)]
    assert set(SERVICES["node"]["ports"]) == {f"127.0.0.1:{port}:{port}" for port in (node, status)}
    for place, words in commands().items():
        if words[0] == "worker" and not place.endswith(".service"):
            assert words[words.index("--status-port") + 1] == str(status), place
    opened = {p["containerPort"] for c in containers().values() for p in c.get("ports", ())}
    served = {p["port"] for m in manifests() if m["kind"] == "Service" for p in m["spec"]["ports"]}
    policies = (m["spec"] for m in manifests() if m["kind"] == "NetworkPolicy")
    admitted = {p["port"] for spec in policies for rule in spec["ingress"] for p in rule["ports"]}
    assert opened == served == admitted == {node, status}


def test_every_port_of_compose_is_bound_to_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert all(COMPOSE["networks"][name]["internal"] for name in ("database", "metrics"))


def test_prometheus_asks_whom_compose_starts() -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    asked = {
        target.removeprefix("http://").partition(":")[0]
        for job in configuration["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }
    assert asked == set(our_services()) - {"migrate"}
    assert configuration["rule_files"] == ["facenorm.rules.yml"]


def test_every_file_that_compose_mounts_is_there() -> None:
    sources = [v.partition(":")[0] for s in SERVICES.values() for v in s.get("volumes", ())]
    assert {s for s in sources if not s.startswith(".")} == set(COMPOSE["volumes"])
    for source in sources:
        assert not source.startswith(".") or (DEPLOY / "compose" / source).exists(), source


def images() -> Iterator[str]:
    yield from re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE)
    yield from (service["image"] for service in SERVICES.values())
    yield from (container["image"] for container in containers().values())


def test_images_are_pinned_to_a_version() -> None:
    found = set(images())
    assert IMAGE in found
    for image in found:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image), image
    assert not re.search(r":latest\b", "".join(path.read_text("utf-8") for path in _text_files()))
    kustomized = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text("utf-8"))
    assert kustomized["images"] == [{"name": "facenorm", "newTag": VERSION}]


def test_the_kustomization_holds_what_is_not_applied_by_hand() -> None:
    folder = DEPLOY / "kubernetes"
    kustomized = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    by_hand = {"kustomization.yaml", "migration.yaml", "secret.example.yaml"}
    assert set(kustomized["resources"]) == {path.name for path in folder.glob("*.yaml")} - by_hand


def test_no_secret_has_a_value() -> None:
    (example,) = (m for m in manifests() if m["kind"] == "Secret")
    assert set(example["stringData"].values()) == {""}
    for place, environment in environments().items():
        for name, value in environment.items():
            if SECRET.search(name):
                assert value is None or re.search(r"\$\{\w+:\?[^}]+\}", str(value)), f"{place}: {name}"
    for path in _text_files():
        for url in re.findall(r"\w+://[^/\s:]+:([^@/\s]+)@", path.read_text("utf-8")):
            assert url in ("PASSWORD",) or url.startswith("${"), f"{path.name}: a password in a URL"


def test_what_must_be_set_is_in_the_example_and_empty_there() -> None:
    lines = (DEPLOY / "compose" / "env.example").read_text("utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(example.values()) == {""}
    text = (DEPLOY / "compose" / "compose.yaml").read_text("utf-8")
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert set(example) == required | set(re.findall(r"\$\{(\w+):-\}", text))
    assert COMPOSE["secrets"]["status_token"]["environment"] in required


def test_every_secret_key_that_a_pod_wants_is_in_the_example() -> None:
    (example,) = (m for m in manifests() if m["kind"] == "Secret")
    wanted = [e["valueFrom"]["secretKeyRef"] for c in containers().values() for e in c["env"]]
    assert {reference["name"] for reference in wanted} == {example["metadata"]["name"]}
    assert {reference["key"] for reference in wanted} == set(example["stringData"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_compose_gives_up_what_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # The comments in the file say why these two are not.
    assert service.get("read_only", False) is (name not in ("orthanc", "prometheus"))
    assert name == "migrate" or service["image"] == IMAGE or service["healthcheck"]["test"]


@pytest.mark.parametrize("name", pods())
def test_a_pod_gives_up_what_it_does_not_need(name: str) -> None:
    pod = pods()[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    uid = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    assert [str(pod["securityContext"][key]) for key in ("runAsUser",)] == uid
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]


def test_probes_ask_health() -> None:
    probed = [c for c in containers().values() if "ports" in c]
    assert len(probed) == 2
    for container in probed:
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")}
        assert paths == {"liveness": "/health/live", "readiness": "/health"}


def test_every_unit_is_hardened_in_the_same_way() -> None:
    def hardening(unit: Path) -> set[str]:
        keys = r"(Protect|Restrict|SystemCall|Private(?!Devices)|NoNew|Capability|Lock|State|UMask|User)"
        return {line for line in unit.read_text("utf-8").splitlines() if re.match(keys, line)}

    first, *others = (hardening(unit) - {"RestartPreventExitStatus=2"} for unit in UNITS)
    assert {"NoNewPrivileges=yes", "ProtectSystem=strict", "StateDirectory=facenorm"} <= first
    assert all(other == first for other in others)
    for unit in UNITS:
        folders = [v for v in environments()[unit.name].values() if str(v).startswith("/")]
        assert all(str(v).startswith(("/var/lib/facenorm/", "/var/cache/facenorm/")) for v in folders)


def queries() -> dict[str, str]:
    """Return place -> PromQL of every alert and every panel."""
    found = {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            # Grafana puts a duration in its place.
            query = target["expr"].replace("$__rate_interval", "1m")
            found[f"panel {panel['title']} {target['refId']}"] = query
    return found


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def exposed() -> dict[str, set[str]]:
    """Return series -> labels, from the table that `test_documents.py` holds against the code."""
    rows = table(OPERATIONS, "Health and metrics")
    found = {row["metric"]: set(filter(None, row["labels"].split(", "))) for row in rows}
    labels = found.pop("facenorm_stage_seconds")
    for suffix in ("bucket", "sum", "count"):
        found[f"facenorm_stage_seconds_{suffix}"] = labels | ({"le"} if suffix == "bucket" else set())
    return found


@pytest.mark.parametrize("place", queries())
def test_a_query_names_metrics_labels_and_states_that_there_are(place: str) -> None:
    known = exposed() | OTHERS_METRICS
    named = selectors(queries()[place])
    assert named
    for selector in named:
        assert selector.name in known
        for matcher in selector.matchers.matchers:
            assert matcher.name in known[selector.name]
            if matcher.name == "state":
                assert set(matcher.value.split("|")) <= states(selector.name)


def states(metric: str) -> set[str]:
    if metric == "facenorm_deliveries":
        return {DUE, UNCOMMITTED, DELIVERED, DEAD}
    if metric == "facenorm_workers":
        return {ALIVE, GONE}
    return {state.lower() for state in (*UNFINISHED, *FAILED)}


def test_every_state_that_a_study_can_fail_in_raises_an_alert() -> None:
    (selector,) = selectors(queries()["FacenormStudiesFailed"])
    (matcher,) = selector.matchers.matchers
    assert set(matcher.value.split("|")) == {state.lower() for state in FAILED}


def worth_an_alarm() -> str:
    (sentence,) = re.findall(r"^Worth an alarm: .*(?:\n.+)*", OPERATIONS.read_text("utf-8"), re.MULTILINE)
    assert isinstance(sentence, str)
    return sentence


def test_every_state_that_a_study_can_fail_in_is_called_worth_an_alarm() -> None:
    assert [state for state in FAILED if f"`{state.lower()}`" not in worth_an_alarm()] == []


def test_there_is_an_alert_for_everything_that_is_worth_one() -> None:
    sentence = worth_an_alarm()
    named = set(re.findall(r"facenorm_\w+", sentence))
    alerts = [query for place, query in queries().items() if not place.startswith("panel")]
    asked = {selector.name for query in alerts for selector in selectors(query)}
    assert len(named) >= 3
    assert named | {"facenorm_disk_free_bytes", "probe_success"} <= asked


def test_every_exposed_metric_is_on_the_dashboard() -> None:
    shown = {s.name for place, q in queries().items() if place.startswith("panel") for s in selectors(q)}
    assert set(exposed()) <= shown


def test_the_dashboard_asks_the_provisioned_source() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    asked = {t["datasource"]["uid"] for panel in DASHBOARD["panels"] for t in panel["targets"]}
    assert asked == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "dashboards" / "facenorm.yaml").read_text("utf-8"))["providers"]
    targets = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in targets


def _text_files() -> list[Path]:
    return [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.name != ".env"]
