"""Manifests of kinds that Kubernetes does not bring, against classes that are made from their makers' schemas.

KServe's own client has a class for each of its kinds. Those for KEDA and for the Prometheus operator are cloudcoil's,
made from both projects' custom resource definitions. Each lives in an environment of its own; `.ci/run` makes them.
"""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Sequence

import pytest
import yaml

from tests.deploy.manifests import FOLDER, Manifest, read

pytestmark = pytest.mark.slow

# Prints a line for each manifest: what is wrong with it, or nothing.
OF_KSERVE = """
import re, sys
import kserve, kubernetes.client, yaml

PLAIN = {"str": str, "int": int, "bool": bool, "object": object}

def check(value, kind, where):
    if several := re.fullmatch(r"(?i)(list|dict)[\\[(](?:str, )?(.*)[\\])]", kind):
        wanted = {"list": list, "dict": dict}[several[1].lower()]
        if not isinstance(value, wanted):
            raise ValueError(f"{where} is no {several[1]}")
        for one in value.values() if wanted is dict else value:
            check(one, several[2], where)
        return
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):
            raise ValueError(f"{where} is no {kind}")
        return
    model = getattr(kserve, kind, None) or getattr(kubernetes.client, kind)
    known = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
    for name, one in value.items():
        if name not in known:
            raise ValueError(f"{where} has no field {name}")
        check(one, known[name], f"{where}.{name}")

for manifest in yaml.safe_load_all(sys.stdin):
    version = manifest["apiVersion"].rpartition("/")[2].capitalize()
    try:
        check(manifest, version + manifest["kind"], manifest["kind"])
    except ValueError as wrong:
        print(wrong)
    else:
        print()
"""
OF_OTHERS = """
import importlib, sys
import yaml

MODULES = {"ScaledObject": "keda.v1alpha1", "ServiceMonitor": "prometheus_operator.v1"}

for manifest in yaml.safe_load_all(sys.stdin):
    module = importlib.import_module(f"cloudcoil.models.{MODULES[manifest['kind']]}")
    kind = getattr(module, manifest["kind"])
    try:
        known = kind.model_validate(manifest).model_dump(by_alias=True, exclude_unset=True, mode="json")
    except ValueError as wrong:
        print(str(wrong).replace(chr(10), " "))
    else:
        print("" if known == manifest else f"{known} is all that is known of it")
"""


def complaints(variable: str, program: str, manifests: Sequence[Manifest]) -> list[str]:
    """What the program says of each manifest, in the environment that a variable names."""
    if not (python := os.environ.get(variable)):
        pytest.skip(f"{variable} names no Python with these classes")
    given = yaml.safe_dump_all(manifests)
    done = subprocess.run(
        [python, "-c", program], input=given, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split("\n")[:-1]


def test_kserves_client_knows_every_field_of_its_manifests_and_its_type() -> None:
    runtime, served = (read(FOLDER / "kserve" / f"{n}.yaml")[0] for n in ("servingruntime", "inferenceservice"))
    misspelt, mistaken = copy.deepcopy(runtime), copy.deepcopy(served)
    misspelt["spec"]["containers"][0]["readynessProbe"] = {}
    mistaken["spec"]["predictor"]["minReplicas"] = "two"
    of_all = complaints("KSERVE_PYTHON", OF_KSERVE, [runtime, served, misspelt, mistaken])
    assert of_all == [
        "",
        "",
        "ServingRuntime.spec.containers has no field readynessProbe",
        "InferenceService.spec.predictor.minReplicas is no int",
    ]


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        pytest.param("overlays/keda/scaledobject.yaml", {"minReplicas": 2}, id="ScaledObject"),
        pytest.param("components/monitoring/servicemonitor.yaml", {"endpoint": []}, id="ServiceMonitor"),
    ],
)
def test_the_schemas_of_keda_and_of_the_prometheus_operator_know_every_field(path: str, wrong: Manifest) -> None:
    (manifest,) = read(FOLDER / path)
    misspelt = manifest | {"spec": manifest["spec"] | wrong}
    right, complaint = complaints("KUBERNETES_VALIDATE_PYTHON", OF_OTHERS, [manifest, misspelt])
    assert right == ""
    assert complaint != ""
