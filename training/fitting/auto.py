"""`fit auto`: the best network for somebody's own photos within a time budget.

Tried are, one after the other: a head on the features of small pictures and of large ones; the recipe `finetuned`, also
on small pictures where the head did better on these; and all layers fine-tuned, at ten times the learning rate, which
pictures unlike photos may need. Validation chooses: docs/tuning.md#recipe-by-validation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from training.datasets.dataset import Dataset, gathered
from training.fitting.fit import fit
from training.fitting.fitted import Fitted, in_batches
from training.fitting.options import FitOptions
from training.fitting.run import best_epoch
from training.recipes.recipe import Recipe

SMALL = 128  # pixels, the side of small pictures: a third of the time that 224 take
ALL_LAYERS_EPOCHS, ALL_LAYERS_PATIENCE = 40, 8

# An epoch of fine-tuning takes so many times as long as the features do: of the top, and of all layers.
TOP_COST, ALL_COST = 3.0, 5.0
# Saving asks the network for each image so often, and for so many outliers. The rest of it is the export, in seconds.
ASKED, OUTLIERS, EXPORT_S = 3, 2_500, 30.0


class Tried(NamedTuple):
    """A recipe that was fitted, and the loss of each validation image in nats, float64 [n]."""

    fitted: Fitted
    losses: npt.NDArray[np.float64]


@dataclass
class Search:
    """Fits one recipe after the other while there is time.

    `dataset` has the recipes' own input; `load` reads it for another. `ends` is when the version is to be saved, by
    `time.monotonic`. `say` gets a line on each recipe that is tried, or not. `image_s` is by side of the pictures how
    many seconds the features of an image took.
    """

    dataset: Dataset
    load: Callable[[InputSpec], Dataset]
    options: FitOptions
    ends: float
    say: Callable[[str], None]
    tried: list[Tried] = field(default_factory=list)
    image_s: dict[int, float] = field(default_factory=dict)
    datasets: dict[int, Dataset] = field(default_factory=dict)

    @property
    def best(self) -> Tried:
        """The one with the lowest validation loss so far."""
        return min(self.tried, key=lambda each: each.losses.mean())

    def try_(self, recipe: Recipe) -> None:
        """Fit a recipe. Its epochs of fine-tuning end when time is over, but for the first one."""
        began, side, folder = time.monotonic(), recipe.input.width, self.options.run_folder
        options = replace(
            self.options,
            run_folder=folder.with_name(f"{folder.name}.{recipe.name}-{side}"),
            deadline=self.ends - self._saving_s(side),
        )
        dataset = self._at(recipe.input)
        fitted = fit(recipe, dataset, options)
        if fitted.backbone:
            self.image_s[side] = fitted.backbone.seconds / self._fitted_images
        self.tried.append(Tried(fitted, validation_losses(fitted)))
        row, flip = best_epoch(fitted.history), " without flip" if fitted.flip_left_out else ""
        self.say(
            f"tried {title(recipe)}{flip}: validation accuracy {row.val_accuracy:.4f}, loss {row.val_loss:.4f}, "
            f"{(time.monotonic() - began) / 60:.1f} min"
        )

    def try_in_time(self, recipe: Recipe, cost: float) -> None:
        """The same where there is time for `cost` times the features of all images, and for saving; else say so."""
        side = recipe.input.width
        needed = cost * self._image_s(side) * self._fitted_images
        left = self.ends - self._saving_s(side) - time.monotonic()
        if needed <= left:
            self.try_(recipe)
        else:
            minutes, there = needed / 60, max(left, 0) / 60
            self.say(f"not tried: {title(recipe)}; it takes {minutes:.1f} min at least, and {there:.1f} are left")

    def _at(self, spec: InputSpec) -> Dataset:
        """The images for an input, in the same splits: small pictures may be near copies where large ones are not."""
        if spec.shape == self.dataset.splits["train"].pixels.shape[1:]:
            return self.dataset
        if spec.width not in self.datasets:
            read, splits = self.load(spec), self.dataset.splits
            dealt = {name: gathered(read.splits.values(), split.files or ()) for name, split in splits.items()}
            self.datasets[spec.width] = replace(read, splits=dealt)
        return self.datasets[spec.width]

    def _image_s(self, side: int) -> float:
        """What the features of an image take, as measured or, by the number of pixels, as at another side; else 0."""
        if side in self.image_s:
            return self.image_s[side]
        return max((seconds * (side / known) ** 2 for known, seconds in self.image_s.items()), default=0.0)

    def _saving_s(self, side: int) -> float:
        asked = ASKED * sum(map(len, self.dataset.splits.values())) + OUTLIERS
        return self._image_s(side) * asked + EXPORT_S

    @property
    def _fitted_images(self) -> int:
        return len(self.dataset.splits["train"]) + len(self.dataset.splits["validation"])


def fit_auto(search: Search, features: Recipe, finetuned: Recipe) -> Fitted:
    """What validation chooses of all that there is time for; the head on small pictures is always fitted."""
    large = features.input.width
    small = min(SMALL, large)
    search.try_(at_side(features, small))
    if small < large:
        search.try_in_time(features, 1.0)
    best_of_heads = search.best.fitted.recipe.input.width
    for side in dict.fromkeys((large, best_of_heads)):
        search.try_in_time(at_side(finetuned, side), TOP_COST)
    search.try_in_time(of_all_layers(at_side(finetuned, search.best.fitted.recipe.input.width)), ALL_COST)
    plain = [each for each in search.tried if title(each.fitted.recipe) in (title(features), title(finetuned))]
    return choose(plain[-1] if plain else search.tried[0], search.tried).fitted


def choose(usual: Tried, tried: Sequence[Tried]) -> Tried:
    """The one with the lowest validation loss; `usual` where that is no more than a standard error lower."""
    best = min(tried, key=lambda each: each.losses.mean())
    gains = usual.losses - best.losses
    return best if gains.mean() > gains.std(ddof=1) / len(gains) ** 0.5 else usual


def validation_losses(fitted: Fitted) -> npt.NDArray[np.float64]:
    """The cross-entropy of each validation image in nats, weighed by its class where the fit did so."""
    split = fitted.dataset.splits["validation"]
    answers = in_batches(fitted.infer, split)[np.arange(len(split)), split.labels]
    losses = -np.log(np.clip(answers.astype(np.float64), 1e-7, None))
    return losses * np.asarray(fitted.class_weights)[split.labels] if fitted.class_weights else losses


def title(recipe: Recipe) -> str:
    """For a person: `finetuned at 224x224`."""
    return f"{recipe.name} at {recipe.input.width}x{recipe.input.height}"


def at_side(recipe: Recipe, side: int) -> Recipe:
    """The recipe for square pictures of another size."""
    return replace(recipe, input=recipe.input.model_copy(update={"height": side, "width": side}))


def of_all_layers(finetuned: Recipe) -> Recipe:
    """The recipe with all layers fine-tuned, at ten times the learning rate."""
    tuning, backbone = finetuned.fine_tuning, finetuned.backbone
    assert tuning is not None and backbone is not None  # noqa: S101, PT018  (it fine-tunes)
    return replace(
        finetuned,
        name="finetuned-all-layers",
        epochs=tuning.after + ALL_LAYERS_EPOCHS,
        patience=ALL_LAYERS_PATIENCE,
        fine_tuning=replace(tuning, parts=len(backbone.tops), optimizer=_fast_optimizer),
    )


def _fast_optimizer() -> Any:
    from keras import optimizers

    return optimizers.Adam(1e-4)
