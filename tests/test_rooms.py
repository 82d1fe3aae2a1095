"""Imports between the rooms point one way (see CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("classifier", "training", "service", "load_tests", "tests", "docs")
MAY_IMPORT = {
    "classifier": {"classifier"},
    "training": {"training", "classifier"},
    "service": {"service", "classifier"},
    "load_tests": {"load_tests", "classifier"},  # the network itself, to be measured; the server by HTTP only
}
HEAVY = {"tensorflow", "keras", "openvino"}
MODULES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """The top-level names of everything a module imports, at its head or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=[str(p.relative_to(ROOT)) for p in MODULES])
def test_a_room_imports_only_what_it_may(path: Path):
    room = path.relative_to(ROOT).parts[0]
    assert set(imported(path)) & set(ROOMS) <= MAY_IMPORT[room]


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_an_engines_library_is_imported_by_that_engine_alone_in_what_serves(engine: str):
    names = {"tensorflow": {"tensorflow", "keras"}, "openvino": {"openvino"}}[engine]
    users = [p for room in ("classifier", "service") for p in (ROOT / room).rglob("*.py") if names & set(imported(p))]
    allowed = {ROOT / "classifier" / "engines" / f"{engine}.py", ROOT / "classifier" / "exporting.py"}
    assert set(users) <= allowed


HTTP_LIBRARIES = {
    "starlette",
    "uvicorn",
    "httpx",
    "bentoml",
    "click",
    "h11",
    "httptools",
    "aiohttp",
    "python_multipart",
}


@pytest.mark.parametrize("module", ["classifier", "catalog"])
def test_importing_what_infers_imports_no_http_library(module: str):
    code = f"import sys, service.inference.{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert {name.split(".")[0] for name in loaded.stdout.split()} & HTTP_LIBRARIES == set()
