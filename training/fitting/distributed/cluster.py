"""The workers of a fit, as TF_CONFIG names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from training.recipes.recipe import RecipeError

TF_CONFIG = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'


class Cluster(NamedTuple):
    """So many `workers` fit together. `number` is that of this one, from 0; 0 is the chief, who saves."""

    workers: int = 1
    number: int = 0

    @property
    def is_chief(self) -> bool:
        return self.number == 0

    def __str__(self) -> str:
        return f"worker {self.number} of {self.workers}"


ALONE = Cluster()


def cluster_of(environ: Mapping[str, str]) -> Cluster:
    """What TF_CONFIG says; one worker where it is not set. Raises RecipeError."""
    text = environ.get(TF_CONFIG, "")
    if not text:
        return ALONE
    try:
        config = json.loads(text)
        chiefs, workers = (len(config.get("cluster", {}).get(kind, [])) for kind in ("chief", "worker"))
        kind, index = (config["task"][name] for name in ("type", "index")) if chiefs + workers else ("worker", 0)
        number = {"chief": index, "worker": chiefs + index}[kind]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{TF_CONFIG} cannot be read ({error!r}); expected one like {EXAMPLE}") from error
    if number >= max(1, chiefs + workers):
        raise RecipeError(f"{TF_CONFIG} names {chiefs + workers} workers, and this one as number {number}, from 0")
    return Cluster(max(1, chiefs + workers), number)
