"""What tests may not do, and which words nobody uses, held by reading the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import ROOMS, ROOT, modules, tree_of

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


# The field has words for these: admission control, middleware, fast path, in-flight batch, request deadline.
OUR_OWN_WORDS = {"crew", "express", "flight", "gate", "gates", "landing", "lane", "lanes", "pace", "place", "places"}
OUR_OWN_WORDS |= {"slots", "told"}
OUR_OWN_PHRASES = re.compile(r"\b(crew|lanes?|stand-ins?|told|(sent|turn(s|ed|ing)?) (\w+ )?away)\b", re.IGNORECASE)
THIS_FILE = Path(__file__)


def words_of(name: str) -> set[str]:
    """The words that a name is made of; those of a test are a sentence, and may be any."""
    if name.startswith(("__", "test_")):
        return set()
    plain = name.replace("in_flight", "").replace("InFlight", "")
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", plain)}


def test_names_are_the_fields_words():
    small, large = "|".join(OUR_OWN_WORDS), "|".join(word.title() for word in OUR_OWN_WORDS)
    mentioned = re.compile(rf"((?<![a-zA-Z])({small})|{large})(?![a-z])")  # files without need not be parsed
    paths = [path for path in modules(*ROOMS) if mentioned.search(path.stem + path.read_text(encoding="utf-8"))]
    own = ((path, name) for path in paths for name in (path.stem, *defined(path)))
    assert sorted(f"{path.relative_to(ROOT)}: {name}" for path, name in own if words_of(name) & OUR_OWN_WORDS) == []


def test_texts_are_in_the_fields_words():
    texts = {path: path.read_text(encoding="utf-8") for path in modules(*ROOMS) if path != THIS_FILE}
    found = ((path, phrase[0]) for path, text in texts.items() for phrase in OUR_OWN_PHRASES.finditer(text))
    assert sorted(f"{path.relative_to(ROOT)}: {phrase}" for path, phrase in found) == []


@pytest.mark.parametrize("name", ["_gate", "ExpressRoute", "queue_slots", "_max_flight", "told"])
def test_a_word_of_our_own_would_be_found(name: str):
    assert words_of(name) & OUR_OWN_WORDS


@pytest.mark.parametrize("name", ["max_in_flight", "_InFlightBatch", "replace", "__slots__", "expression"])
def test_words_of_the_field_are_none_of_ours(name: str):
    assert not words_of(name) & OUR_OWN_WORDS
