"""The tables of `docs/articles/`, from the records in `docs/runs/` and nothing else.

A table stands between `<!-- runs: RECIPE, RECIPE -->` and `<!-- /runs -->`. `make docs` writes it; a test holds it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

from load_tests.reporting.tables import table
from training.reports.data_copies import COPIES
from training.reports.tables import several

HERE = Path(__file__).parent
PAGES = tuple(sorted((HERE / "articles").glob("*.md")))
_TABLE = re.compile(r"(<!-- runs: ([a-z0-9, -]+) -->\n).*?(<!-- /runs -->)", re.DOTALL)


def main() -> None:
    for path in PAGES:
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")


def written(text: str) -> str:
    """A page with its tables made anew. Raises ValueError where it has none."""
    text, found = _TABLE.subn(lambda spot: spot[1] + _table(spot[2].split(", ")) + spot[3], text)
    if not found:
        raise ValueError("expected a table of runs in the page of an article, found none")
    return text


def _table(recipes: list[str]) -> str:
    head = ("recipe", "the article", "validation", "test", "kept epochs", "n", "images")
    return "".join(f"{line}\n" for line in table(head, [_row(recipe) for recipe in recipes]))


def _row(recipe: str) -> tuple[str, ...]:
    cards = [json.loads(path.read_text()) for path in sorted((HERE / "runs" / recipe).glob("seed-*/card.json"))]
    article = cards[0]["article"]
    stated = "no figure" if article["accuracy"] is None else f"{article['split']} {article['accuracy']:g}"
    kept = ", ".join(f"{card['training']['best_epoch']} of {card['training']['epochs_run']}" for card in cards)
    reached = [_accuracy(cards, split) for split in ("validation", "test")]
    return f"[{recipe}](../reproduction.md#{recipe})", stated, *reached, kept, str(len(cards)), _images(cards)


def _images(cards: list[dict[str, Any]]) -> str:
    """Whether they were those that the article's data set is published with, or copies."""
    sets = [card["training"]["dataset"] for card in cards]
    return several(COPIES[each["name"]].brief_of(each["fingerprint"]) for each in sets)


def _accuracy(cards: list[dict[str, Any]], split: str) -> str:
    each = [card["metrics"][split]["accuracy"] for card in cards]
    spread = f" ({min(each):.4f} to {max(each):.4f})" if len(each) > 1 else ""
    return f"{mean(each):.4f}{spread}"


if __name__ == "__main__":
    main()
