"""The manifests of deploy/kubernetes/ as Kubernetes gets them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu", "keda")
Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


@cache
def rendered_text(folder: Path) -> str:
    """What `kubectl apply -k` would send. Skips the test where kubectl is missing or too old for the layout."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl")
    done = subprocess.run(["kubectl", "kustomize", folder], check=False, capture_output=True, text=True, timeout=60)
    if "unknown field" in done.stderr:
        pytest.skip("this kubectl's kustomize is too old")
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(folder: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(rendered_text(folder)) if document]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]
