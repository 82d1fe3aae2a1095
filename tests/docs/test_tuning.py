"""docs/tuning.md has every section that the code names, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADINGS = re.findall(r"^## (.+)$", (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
ANCHORS = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in HEADINGS}
NAMED = sorted(
    {
        (anchor, str(path.relative_to(ROOT)))
        for room in ("classifier", "training", "service", "load_tests")
        for path in (ROOT / room).rglob("*.py")
        for anchor in re.findall(r"docs/tuning\.md#([a-z0-9-]+)", path.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize(("anchor", "file"), NAMED, ids=[f"{anchor} in {file}" for anchor, file in NAMED])
def test_a_section_that_the_code_names_exists(anchor: str, file: str):
    assert anchor in ANCHORS


def test_sections_are_in_the_order_of_the_alphabet():
    assert sorted(HEADINGS, key=str.lower) == HEADINGS
