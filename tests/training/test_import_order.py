"""Inside `training` imports point one way, wherever they stand in a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "training"
ORDER = (  # a folder imports its own line and those below
    {"commands", "__main__", "renew", "views"},
    {"releasing"},
    {"reports", "export", "preview", "target"},
    {"checking", "honesty"},
    {"evaluation"},
    {"fitting"},
    {"recipes"},
    {"layers"},
    {"backbones"},
    {"datasets"},
    {"progress", "errors", "saving", "onnx_folding"},
)
MAX_FILES = 12


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(TRAINING.rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """The modules of `training` that a file imports: at its head, in a function, or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def level(module: str) -> int:
    room = module.split(".")[1]
    return next(i for i, rooms in enumerate(ORDER) if room in rooms)


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name])
def test_a_module_imports_only_rooms_below_its_own(module: str):
    upward = {name for name in imported(MODULES[module]) if "." in name and level(name) < level(module)}
    assert not upward


def test_no_files_import_each_other_in_a_circle():
    graph = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_folder_has_more_files_than_a_person_takes_in():
    counts = {folder: len(list(folder.glob("*.py"))) for folder in (TRAINING, *TRAINING.rglob("*")) if folder.is_dir()}
    assert {folder.name: count for folder, count in counts.items() if count > MAX_FILES} == {}
