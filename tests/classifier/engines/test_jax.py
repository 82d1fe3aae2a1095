"""The JAX engine keeps what every engine promises, in a process of its own: Keras has one backend in each."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources import ROOT

HERE = "tests/classifier/engines"
FILES = (f"{HERE}/jax_alone.py", f"{HERE}/test_engines.py", f"{HERE}/test_throughput.py")


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed: install sightline[jax]")
def test_jax_keeps_what_every_engine_promises(tiny_models_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES, "-k", "jax"]
    environ = os.environ | {"KERAS_BACKEND": "jax", "TINY_MODELS": str(tiny_models_root)}
    environ |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    for ours in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environ.pop(ours, None)
    run = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=500)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
    assert "skipped" not in run.stdout
