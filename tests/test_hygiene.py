"""What tests may not do, held by reading them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import ROOT, modules, tree_of

# Public in spite of their underscore: https://docs.python.org/3/library/collections.html#collections.namedtuple
NAMED_TUPLE = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}
ROOMS_OF_OURS = ("classifier", "training", "service", "load_tests")
SETTERS = {"delattr", "getattr", "hasattr", "setattr"}  # take a name as text


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE


def defined(path: Path) -> Iterator[str]:
    """Every name that a file gives to something."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).rpartition(".")[2]


OURS = set(filter(is_private, (name for path in modules(*ROOMS_OF_OURS) for name in defined(path))))


def touched(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines and names: what is read of something else than `self`, imported, or given as text to a setter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            names = [*(alias.name for alias in node.names), *(node.module or "").split(".")]
            yield from ((node.lineno, name) for name in names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in SETTERS:
            texts = [given.value for given in node.args if isinstance(given, ast.Constant)]
            yield from ((node.lineno, text.rpartition(".")[2]) for text in texts if isinstance(text, str))


@pytest.mark.parametrize(
    "path",
    modules("tests"),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_test_touches_a_private_name_of_ours(path: Path):
    assert [(line, name) for line, name in touched(tree_of(path)) if name in OURS] == []


@pytest.mark.parametrize(
    "line",
    [
        "from service.metrics import _SECONDS",
        "engine._together",
        "monkeypatch.setattr(module, '_record', None)",
        "monkeypatch.setattr('service.metrics._record', None)",
        "getattr(store, '_record')",
    ],
)
def test_a_private_name_would_be_found(line: str):
    assert any(is_private(name) for _, name in touched(ast.parse(line)))


def test_what_a_test_keeps_to_itself_is_its_own():
    assert not [name for _, name in touched(ast.parse("self._mine = 1\nrow._replace(a=1)")) if is_private(name)]
