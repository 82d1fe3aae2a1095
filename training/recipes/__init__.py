"""Every recipe there is, by name: those of the articles, and those for any images."""

from __future__ import annotations

from training.recipes import (
    asl,
    cats_vs_dogs_150,
    cats_vs_dogs_180,
    cats_vs_dogs_blog,
    cats_vs_dogs_pretrained,
    cifar10,
    cifar10_fast,
    few_images,
    pretrained,
)
from training.recipes.recipe import Recipe, RecipeError

RECIPES = {
    recipe.name: recipe
    for recipe in (
        cats_vs_dogs_180.BASELINE,
        cats_vs_dogs_180.AUGMENTED,
        cats_vs_dogs_150.BASELINE,
        cats_vs_dogs_150.AUGMENTED,
        cats_vs_dogs_blog.AUGMENTED,
        cats_vs_dogs_pretrained.FEATURES,
        cats_vs_dogs_pretrained.FINETUNED,
        cifar10.BASELINE,
        cifar10.AUGMENTED,
        cifar10_fast.FAST,
        asl.BASELINE,
        asl.AUGMENTED,
        few_images.CIFAR10,
        few_images.ASL,
        few_images.CIFAR10_FINETUNED,
        few_images.CIFAR10_FINETUNED_128,
    )
}


FOR_ANY_IMAGES = {recipe.name: recipe for recipe in (pretrained.FEATURES, pretrained.FINETUNED)}


def recipe_named(name: str, *others: str) -> Recipe:
    """Look a recipe up. Raises RecipeError listing those there are, and what `others` the caller takes."""
    known = RECIPES | FOR_ANY_IMAGES
    if name not in known:
        raise RecipeError(f"no recipe {name!r}; there is: {', '.join((*others, *known))}")
    return known[name]
