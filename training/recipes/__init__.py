"""Every recipe there is, by name."""

from __future__ import annotations

from training.recipe import Recipe, RecipeError
from training.recipes import asl, cats_vs_dogs_150, cats_vs_dogs_180, cats_vs_dogs_blog, cifar10

RECIPES = {
    recipe.name: recipe
    for recipe in (
        cats_vs_dogs_180.BASELINE,
        cats_vs_dogs_180.AUGMENTED,
        cats_vs_dogs_150.BASELINE,
        cats_vs_dogs_150.AUGMENTED,
        cats_vs_dogs_blog.AUGMENTED,
        cifar10.BASELINE,
        cifar10.AUGMENTED,
        asl.BASELINE,
        asl.AUGMENTED,
    )
}


def recipe_named(name: str) -> Recipe:
    """Look a recipe up. Raises RecipeError listing those there are."""
    if name not in RECIPES:
        raise RecipeError(f"no recipe {name!r}; there is: {', '.join(RECIPES)}")
    return RECIPES[name]
