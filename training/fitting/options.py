"""What a person chooses about a fit; importing it takes no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from classifier.card import Precision
from classifier.engines.openvino import supports_bfloat16
from training.fitting.class_weights import AskedWeights
from training.fitting.run import Epoch
from training.progress import Progress, silent
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class FitOptions:
    """What a person chooses about a fit; everything else is the recipe's.

    `epochs` None is the recipe's own number. `precision` "auto" is bfloat16 where the recipe bears it and the processor
    multiplies it natively. `class_weights` "auto" weighs classes whose numbers of images differ much.
    `flip` "auto" leaves the recipe's flip out of fine-tuning where it changes the class; "as asked" leaves the recipe
    as it is.
    `patience` is after how many epochs without a lower validation loss a stage ends: None is the recipe's own number,
    0 is never. `restart` begins anew where `resume` would continue.
    `heard` is called with each epoch that is complete.
    `deadline` is when the last epoch of fine-tuning is to be over, by `time.monotonic`; None: whenever it is.
    `run_folder` holds the state that `resume` continues from; features are kept in a folder beside it.
    """

    name: str
    run_folder: Path
    epochs: int | None = None
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    resume: bool = False
    restart: bool = False
    patience: int | None = None
    class_weights: AskedWeights = "auto"
    flip: Literal["auto", "as asked"] = "auto"
    deadline: float | None = None
    heard: Callable[[Epoch], None] | None = None
    progress: Progress = silent

    @property
    def feature_folder(self) -> Path:
        return self.run_folder.parent / "features"


def chosen_precision(asked: Literal["auto", "float32", "bfloat16", "float16"], recipe: Recipe) -> Precision:
    """What "auto" means for this recipe on this machine."""
    if asked != "auto":
        return asked
    return "bfloat16" if recipe.reduced_precision and supports_bfloat16() else "float32"
