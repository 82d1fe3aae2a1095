"""The circumstances of a run, kept beside its figures."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "load_tests" / "results"

Findings = dict[str, Any]  # what a run found, as it is written


def circumstances() -> dict[str, Any]:
    """When, on what and of which commit."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"date": now, "commit": commit(), "machine": machine(), "load_before": round(os.getloadavg()[0], 2)}


def machine() -> str:
    """The processor, as it says itself, and how many cores; the load generator runs on them too."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, load generator beside the server"


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def versions(packages: Iterable[str]) -> dict[str, str]:
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}


def write(path: Path, content: Any) -> None:
    """As JSON, whole or not at all: a run may be stopped at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> Any:
    """None where there is nothing yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
