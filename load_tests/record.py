"""The raw results of a run: where they came from, how they are written and read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from classifier import provenance

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "load_tests" / "results"
LATEST = RESULTS / "latest"  # not committed
BESIDE = "load generator beside the server"

Findings = dict[str, Any]  # what a run found, as it is written


def circumstances(libraries: Iterable[str] = ()) -> Findings:
    """Date, commit, machine and the versions of these libraries; `load_before` is the machine's load average."""
    here = provenance.of_this_run(libraries).as_json()
    return here | {"machine": f"{here['machine']}, {BESIDE}", "load_before": round(os.getloadavg()[0], 2)}


def libraries(run: Any) -> dict[str, str]:
    """The versions that a kept run names; older ones called them `versions`, and nested those of other servers."""
    known = run.get("libraries") or run.get("versions", {})
    theirs: dict[str, str] = run.get("peers_libraries") or known.get("peers", {})
    ours: dict[str, str] = known.get("sightline", known)
    return theirs | {name: version for name, version in ours.items() if isinstance(version, str)}


def write(path: Path, content: Any) -> None:
    """As JSON, whole or not at all: a run may be stopped at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> Any:
    """None where there is nothing yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
