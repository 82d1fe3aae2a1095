"""Under a uvicorn of another protocol the server refuses to start: limits and keys would be missing silently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.servers import ROOT, free_port

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("protocol", ["h11", "httptools"])
def test_another_protocol_is_refused_with_one_line(protocol: str, tiny_models_root: Path, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "BENTOML_"))}
    ours = {"SIGHTLINE_MODELS": str(tiny_models_root), "BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uvicorn", "--factory", "service.app:Sightline.to_asgi"),
            *("--port", str(free_port()), "--http", protocol, "--log-level", "error"),
        ],
        cwd=ROOT,
        env=environ | ours,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines[-1].startswith("sightline: uvicorn was started with the protocol"), done.stderr
    assert lines[-1].endswith("and without our limits; start it with `bentoml serve service.app:Sightline`")
    assert "Traceback" not in done.stderr
