"""Imports point one way, between the rooms and inside them (see CONTRIBUTING.md), and a folder stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.sources import ROOMS, ROOT, circles, imported_files, imports, modules, name_of, tree_of

MAY_IMPORT = {
    "classifier": {"classifier"},
    "training": {"training", "classifier"},
    "service": {"service", "classifier"},
    "load_tests": {"load_tests", "classifier"},  # the network itself, to be measured; the server by HTTP only
}
ORDER = {  # what stands in a line may import its own line and those below; training has its own test
    "service": (
        {"commands"},
        {"app"},
        {"server"},
        {"api"},
        {"inference"},
        {"drift"},
        {"logs", "metrics", "systemd", "telemetry"},
        {"settings"},
        {"errors", "surroundings"},
    ),
}
SERVER_LIBRARIES = ("uvicorn", "click", "bentoml._internal", "_bentoml_impl", "_bentoml_sdk")
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
MOST_FILES = 12  # in a folder, that somebody still takes in

MODULES = modules(*MAY_IMPORT)
EVERY_MODULE = {name_of(path): path for path in modules(*ROOMS)}
IMPORTED = {path: imported_files(path, EVERY_MODULE) for path in EVERY_MODULE.values()}
SERVICE = [path for path in MODULES if path.is_relative_to(ROOT / "service")]
CLIENT = ROOT / "service" / "client"


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def part_of(path: Path) -> str:
    """The folder or file of its room that a file is in, or is."""
    return name_of(path).split(".")[1]


def libraries(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_a_room_imports_only_what_it_may(path: Path):
    assert libraries(path) & set(ROOMS) <= MAY_IMPORT[room_of(path)]


def level(path: Path) -> int:
    """Which line of its room's order a file stands in. Raises StopIteration for a new folder that has no place yet."""
    return next(n for n, parts in enumerate(ORDER[room_of(path)]) if part_of(path) in parts)


ORDERED = [
    path for path in MODULES if room_of(path) in ORDER and "." in name_of(path) and not path.is_relative_to(CLIENT)
]


@pytest.mark.parametrize("path", ORDERED, ids=short)
def test_inside_a_room_imports_point_down(path: Path):
    beside = [other for other in IMPORTED[path] if room_of(other) == room_of(path) and "." in name_of(other)]
    client = [other for other in beside if other.is_relative_to(CLIENT)]
    assert part_of(path) == "commands" or set(client) <= {CLIENT / "version.py"}  # it is a distribution of its own
    assert [short(other) for other in set(beside) - set(client) if level(other) < level(path)] == []


CLIENT_FILES = [path for path in MODULES if path.is_relative_to(CLIENT)]
CLIENT_NEEDS = {"httpx", "httpcore"}  # the second comes with the first
CLIENT_MAY_FIND = {"PIL", "numpy", "pyarrow"}  # imported for a picture, an array, a table of Parquet


def named_absolutely(nodes: Iterable[ast.AST]) -> set[str]:
    """The libraries, and rooms of ours, that statements import without a leading dot."""
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in found} - sys.stdlib_module_names


@pytest.mark.parametrize("path", CLIENT_FILES, ids=short)
def test_the_client_imports_relatively_and_only_its_own_files(path: Path):
    assert [short(other) for other in IMPORTED[path] if not other.is_relative_to(CLIENT)] == []
    assert named_absolutely(list(ast.walk(tree_of(path)))) <= CLIENT_NEEDS | CLIENT_MAY_FIND
    assert named_absolutely(tree_of(path).body) <= CLIENT_NEEDS  # the rest is optional


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_only_the_server_room_knows_what_serves(path: Path):
    known = {name for name in imports(path) for library in SERVER_LIBRARIES if f"{name}.".startswith(f"{library}.")}
    if path.is_relative_to(ROOT / "service" / "server") or path.is_relative_to(ROOT / "load_tests" / "peers"):
        return  # the other servers to compare with are started as their users do
    assert known == set()


@pytest.mark.parametrize("path", [p for p in SERVICE if p.is_relative_to(ROOT / "service" / "inference")], ids=short)
def test_what_infers_names_no_http_library(path: Path):
    assert libraries(path) & HTTP_LIBRARIES == set()


@pytest.mark.slow
def test_importing_what_infers_imports_no_http_library():
    code = "import sys, service.inference.classifier, service.inference.catalog; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert {name.split(".")[0] for name in loaded.stdout.split()} & HTTP_LIBRARIES == set()


@pytest.mark.parametrize(
    ("library", "files"),
    [
        ("openvino", {"engines/openvino.py"}),
        ("tensorflow", {"engines/tensorflow.py", "exporting.py"}),
        ("jax", {"engines/jax.py"}),
        ("keras", {"engines/keras_engine.py", "exporting.py"}),
    ],
)
def test_an_engines_library_is_imported_by_that_engine_alone_in_what_serves(library: str, files: set[str]):
    users = {short(path) for path in modules("classifier", "service") if library in libraries(path)}
    assert users == {f"classifier/{file}" for file in files}


def test_no_files_import_each_other_in_a_circle():
    assert [sorted(map(short, circle)) for circle in circles(IMPORTED)] == []


def test_a_circle_would_be_found():
    a, b, c, d = (Path(name) for name in "abcd")
    assert circles({a: [b], b: [c], c: [a], d: [a]}) == {frozenset({a, b, c})}


def test_no_folder_has_more_files_than_somebody_takes_in():
    counts = Counter(short(path.parent) for path in EVERY_MODULE.values())
    assert {folder: files for folder, files in counts.items() if files > MOST_FILES} == {}
