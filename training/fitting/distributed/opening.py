"""What workers settle before the first epoch: that they fit the same, and where the chief's run stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.fitting.distributed.cluster import TF_CONFIG
from training.fitting.distributed.replicas import Replicas
from training.fitting.run import Epoch
from training.recipes.recipe import Recipe, RecipeError


def usable(replicas: Replicas | None, recipe: Recipe) -> Replicas | None:
    """The replicas that a recipe can use. Raises RecipeError where other workers would wait for nothing."""
    if replicas is None or not (recipe.backbone or recipe.callbacks):
        return replicas
    if replicas.cluster.workers > 1:
        what = "a pretrained backbone" if recipe.backbone else "callbacks of its own"
        raise RecipeError(f"{recipe.name} has {what} and is fitted on one device; unset {TF_CONFIG}")
    return None


def check_agreement(replicas: Replicas, settings: dict[str, Any]) -> None:
    """Raise RecipeError, on every worker, where one has other settings than the chief; WorkerLost as all of this."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()
    if not replicas.agree(int.from_bytes(digest[:7], "big")):
        raise RecipeError(
            f"{replicas.cluster}: the workers differ in images, options or precision; give the same command to all"
        )


def shared_history(replicas: Replicas, history: Sequence[Epoch]) -> list[Epoch]:
    """The chief's history, on every worker."""
    count = int(replicas.from_chief(np.array([len(history)]))[0])
    if not count:
        return []
    rows = np.array(history) if history else np.zeros((count, len(Epoch._fields)))
    return [Epoch(int(epoch), *map(float, others)) for epoch, *others in replicas.from_chief(rows)]
