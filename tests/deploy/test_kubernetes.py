"""A reviewer's checklist for the manifests, and Kubernetes' own schemas where its validator is installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics import SERIES
from service.settings import describe
from tests.deploy.manifests import FOLDER, OVERLAYS, Manifest, only, read, rendered, rendered_text

BASE = [manifest for path in sorted((FOLDER / "base").glob("*.yaml")) for manifest in read(path)]
# Kubernetes' restricted Pod Security Standard: no other kind of volume.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
CUSTOM = {"ServiceMonitor", "ScaledObject", "ServingRuntime", "InferenceService"}
VALIDATE = """
import sys, kubernetes_validate, yaml
for manifest in yaml.safe_load_all(sys.stdin):
    kubernetes_validate.validate(manifest, "1.33", strict=True)
    print(manifest["kind"])
"""


def pods() -> list[Any]:
    return [pytest.param(None, id="base"), *(pytest.param(name, id=name) for name in OVERLAYS)]


@pytest.fixture(params=pods())
def pod(request: pytest.FixtureRequest) -> Manifest:
    manifests = BASE if request.param is None else rendered(FOLDER / "overlays" / request.param)
    spec: Manifest = only(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: Manifest) -> Manifest:
    (single,) = pod["containers"]
    found: Manifest = single
    return found


def test_the_pod_keeps_to_the_restricted_standard(pod: Manifest, container: Manifest) -> None:
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(set(volume) - {"name"} <= VOLUMES for volume in pod["volumes"])
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not context.get("privileged")
    assert not [port for port in container["ports"] if "hostPort" in port]


def test_the_root_is_read_only_and_tmp_is_not(pod: Manifest, container: Manifest) -> None:
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounted.keys() <= volumes.keys()
    assert mounted["tmp"]["mountPath"] == "/tmp"  # noqa: S108
    assert "sizeLimit" in volumes["tmp"]["emptyDir"]
    assert all(mount.get("readOnly") for name, mount in mounted.items() if name != "tmp")


def test_the_pod_gets_no_key_to_kubernetes_and_no_variables_of_other_services(pod: Manifest) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert only(BASE, "ServiceAccount")["automountServiceAccountToken"] is False


def test_memory_is_limited_and_what_the_scheduler_needs_is_requested(container: Manifest) -> None:
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


def test_probes_ask_the_paths_that_need_no_key(container: Manifest) -> None:
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startup": "/livez",  # a broken model must not restart the server for ever
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {probe["port"] for probe in asked.values()} == {port["name"] for port in container["ports"]}


def test_a_pod_has_the_time_to_finish_what_it_accepted(pod: Manifest, container: Manifest) -> None:
    seconds = {row.variable: float(row.default.strip("`")) / 1000 for row in describe() if "SHUTDOWN" in row.variable}
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + sum(seconds.values())


def test_settings_are_settings_that_there_are(container: Manifest) -> None:
    known = {row.variable for row in describe()}
    assert {entry["name"] for entry in container["env"]} <= known


def test_pods_are_spread_and_stay_while_nodes_are_drained(pod: Manifest) -> None:
    keys = [constraint["topologyKey"] for constraint in pod["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    labels = only(BASE, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert only(BASE, "PodDisruptionBudget")["spec"]["minAvailable"] >= 1
    selectors = [c["labelSelector"]["matchLabels"] for c in pod["topologySpreadConstraints"]]
    selectors.append(only(BASE, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    selectors.append(only(BASE, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors.append(only(BASE, "Service")["spec"]["selector"])
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_the_network_policy_lets_nothing_out() -> None:
    policy = only(BASE, "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []
    assert all(rule["from"] for rule in policy["ingress"])


@pytest.mark.parametrize("overlay", ["cpu", "keda"])
def test_what_is_scaled_has_no_fixed_number_of_pods(overlay: str) -> None:
    manifests = rendered(FOLDER / "overlays" / overlay)
    assert "replicas" not in only(manifests, "Deployment")["spec"]
    scaler = only(manifests, {"cpu": "HorizontalPodAutoscaler", "keda": "ScaledObject"}[overlay])["spec"]
    assert scaler["scaleTargetRef"]["name"] == only(manifests, "Deployment")["metadata"]["name"]
    assert scaler.get("minReplicas", scaler.get("minReplicaCount")) >= 2


def test_queue_seconds_are_what_keda_asks_for() -> None:
    (scaled,) = read(FOLDER / "overlays" / "keda" / "scaledobject.yaml")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    assert [series.name for series in SERIES if series.name in query] == ["sightline_queue_seconds"]


def test_a_gpu_is_asked_for_where_tensorflow_is_to_use_it() -> None:
    (container,) = only(rendered(FOLDER / "overlays" / "gpu"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "SIGHTLINE_ENGINE", "value": "tensorflow"} in container["env"]


def test_the_service_monitor_scrapes_the_port_of_the_service() -> None:
    (monitor,) = read(FOLDER / "components" / "monitoring" / "servicemonitor.yaml")
    service = only(BASE, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [e["port"] for e in monitor["spec"]["endpoints"]] == [port["name"] for port in service["spec"]["ports"]]
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "sightline"  # the job of the alert rules


def test_kserves_manifests_fit_each_other_and_speak_v2() -> None:
    runtime, served = (read(FOLDER / "kserve" / f"{n}.yaml")[0] for n in ("servingruntime", "inferenceservice"))
    model = served["spec"]["predictor"]["model"]
    (container,) = runtime["spec"]["containers"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
    assert [model["protocolVersion"]] == runtime["spec"]["protocolVersions"] == ["v2"]
    assert container["name"] == "kserve-container"  # the one that KServe looks for
    assert container["securityContext"]["runAsNonRoot"] is True
    assert (Path(__file__).parents[2] / "models" / served["metadata"]["name"]).is_dir()


@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/gpu", "overlays/keda"])
def test_kubernetes_schemas_accept_the_manifests(folder: str) -> None:
    python = os.environ.get("KUBERNETES_VALIDATE_PYTHON")
    if not python:
        pytest.skip("KUBERNETES_VALIDATE_PYTHON names no Python with kubernetes-validate")
    standard = [m for m in yaml.safe_load_all(rendered_text(FOLDER / folder)) if m["kind"] not in CUSTOM]
    done = subprocess.run(
        [python, "-c", VALIDATE],
        input=yaml.safe_dump_all(standard),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [manifest["kind"] for manifest in standard]


@pytest.mark.parametrize("component", ["monitoring", "models-volume"])
def test_components_are_whole(component: str, tmp_path: Path) -> None:
    """Kustomize wants relative paths, so the overlay that uses the component is written beside a copy of the folder."""
    copy = tmp_path / "kubernetes"
    subprocess.run(["cp", "-R", FOLDER, copy], check=True)
    overlay = copy / "overlays" / "tried"
    overlay.mkdir()
    text = f"resources: [../cpu]\ncomponents: [../../components/{component}]\n"
    (overlay / "kustomization.yaml").write_text(text)
    manifests = rendered(overlay)
    if component == "monitoring":
        assert only(manifests, "ServiceMonitor")
    else:
        volumes = only(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
        claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
        assert claims == [only(manifests, "PersistentVolumeClaim")["metadata"]["name"]]
