"""List the trained models of the store, with input, accuracy and labels."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Sequence
from typing import Any

from classifier.card import Card
from classifier.commands.parameters import Json, Models
from classifier.errors import SightlineError
from classifier.store import ModelStore

HEAD = ("MODEL", "VERSION", "INPUT", "ACCURACY", "PARAMETERS", "LABELS")


def run(models: Models, json: Json = False) -> int:
    cards, faults = _cards(ModelStore(models))
    if json:
        print(json_text.dumps([_essentials(card) for card in cards], indent=2, ensure_ascii=False))
    else:
        _print_table([HEAD, *map(_row, cards)])
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not cards and not faults:
        print(f"no models yet in {models}", file=sys.stderr)
    return 1 if faults else 0


def _cards(store: ModelStore) -> tuple[list[Card], list[str]]:
    """Every version's card, and what is wrong with those that cannot be read."""
    cards, faults = [], []
    for name, versions in store.versions().items():
        for version in versions:
            try:
                cards.append(store.card(name, version))
            except SightlineError as error:
                faults.append(str(error))
    return cards, faults


def _essentials(card: Card) -> dict[str, Any]:
    head = {"model": card.name, "version": card.version}
    return head | card.model_dump(
        include={"labels", "input", "parameters", "metrics", "recipe", "article"}, mode="json"
    )


def _row(card: Card) -> tuple[str, ...]:
    colour = "grey" if card.input.channels == 1 else "RGB"
    split = "test" if "test" in card.metrics else next(iter(card.metrics), None)
    accuracy = f"{card.metrics[split].accuracy:.1%} {split}" if split else "unknown"
    size = f"{card.input.height}x{card.input.width} {colour}"
    labels = ", ".join(card.labels if len(card.labels) <= 4 else (*card.labels[:3], f"... ({len(card.labels)})"))
    return card.name, str(card.version), size, accuracy, f"{card.parameters:,}", labels


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if len(rows) > 1 else ():
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
