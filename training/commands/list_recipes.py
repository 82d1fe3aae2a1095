"""List the recipes and what their articles state."""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse

from training.recipes import FOR_ANY_IMAGES, RECIPES

HELP = "the recipes there are"


def add_arguments(_: argparse.ArgumentParser) -> None:
    pass


def run(_: argparse.Namespace) -> int:
    for recipe in (RECIPES | FOR_ANY_IMAGES).values():
        said = recipe.article.accuracy
        figure = f"{recipe.article.split} {said:.3f}" if said is not None else "no figure stated"
        print(f"{recipe.name:28} {recipe.epochs:3} epochs  {recipe.parameters:9,} parameters  article: {figure}")
    return 0
