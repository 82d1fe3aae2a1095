"""What the tables of the report are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean

from training.recipes.recipe import Recipe
from training.reports.data_copies import COPIES

NONE = "-"


def linked(recipe: Recipe) -> str:
    return f"[{recipe.name}](#{recipe.name})"


def brief(dataset: str, fingerprint: str) -> str:
    """Which copy of a data set a figure is of."""
    return f"{dataset}: {COPIES[dataset].brief_of(fingerprint)}" if dataset in COPIES else dataset


def figure(values: Sequence[float]) -> str:
    """Mean, and lowest to highest where there are several."""
    if not values:
        return NONE
    several = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
    return f"{mean(values):.4f}{several}"


def several(values: Iterable[str]) -> str:
    """What differs, once each."""
    return ", ".join(dict.fromkeys(values))


def table(header: str, rows: Iterable[Sequence[str]]) -> str:
    columns = header.count("|") + 1
    return "\n".join([f"| {header} |", "|" + " --- |" * columns, *(f"| {' | '.join(row)} |" for row in rows)])
