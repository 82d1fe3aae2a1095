"""List the recipes and what their articles state."""

from __future__ import annotations

from training.recipes import FOR_ANY_IMAGES, RECIPES


def run() -> None:
    for recipe in (RECIPES | FOR_ANY_IMAGES).values():
        said = recipe.article.accuracy
        figure = f"{recipe.article.split} {said:.3f}" if said is not None else "no figure stated"
        print(f"{recipe.name:28} {recipe.epochs:3} epochs  {recipe.parameters:9,} parameters  article: {figure}")
