"""docs/architecture.md names modules and codes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from classifier.errors import SightlineError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| [A-Z].*\.\s\| (.*?) \| .*? \| (.*?) \|$", TEXT, flags=re.MULTILINE)  # module, what is beyond


def codes(kind: type[SightlineError]) -> set[str]:
    return {kind.code}.union(*(codes(branch) for branch in kind.__subclasses__()))


def test_the_way_of_a_request_has_its_steps():
    assert len(ROWS) >= 10


@pytest.mark.parametrize("module", sorted({name for row in ROWS for name in re.findall(r"`([\w/]+)`", row[0])}))
def test_a_module_of_the_way_of_a_request_exists(module: str):
    room = ROOT if module.startswith("classifier/") else ROOT / "service"
    assert (room / f"{module}.py").is_file() or (room / module).is_dir()


@pytest.mark.parametrize("code", sorted({code for row in ROWS for code in re.findall(r"`([a-z-]+)`", row[1])}))
def test_a_code_of_the_way_of_a_request_exists(code: str):
    import service.errors  # noqa: F401  (its branches of the tree)

    assert code in codes(SightlineError)
