"""The sources of the repository as Python sees them: modules, what each imports, and circles among them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("classifier", "training", "service", "load_tests", "deploy", "docs", "tests", "requirements")


def modules(*rooms: str) -> list[Path]:
    """Every Python file of some rooms."""
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    """A file's module, `service.api` for `service/api/__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, at its head, in a function or for types only.

    `from a import b` gives `a.b`, which may be a module or something in one.
    """
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imported_files(path: Path, known: Mapping[str, Path]) -> set[Path]:
    """The files of `known`, by module, that a file imports itself. Its packages' heads do not count."""
    found = (known.get(name) or known.get(name.rpartition(".")[0]) for name in imports(path))
    return {file for file in found if file and file != path}


def circles(edges: Mapping[Path, Iterable[Path]]) -> set[frozenset[Path]]:
    """The groups of files of which each leads to all others and back to itself."""
    reached = {file: _reached(file, edges) for file in edges}
    return {
        frozenset(other for other in reached[file] if file in reached[other]) for file in edges if file in reached[file]
    }


def _reached(file: Path, edges: Mapping[Path, Iterable[Path]]) -> set[Path]:
    found: set[Path] = set()
    coming = list(edges[file])
    while coming:
        if (other := coming.pop()) not in found:
            found.add(other)
            coming.extend(edges[other])
    return found
