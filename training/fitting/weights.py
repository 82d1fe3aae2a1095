"""The weights of an epoch, with the optimiser's state, as one file that a full disk cannot spoil.

Keras writes HDF5, which ends the process with a signal where a write fails. So NumPy makes the file in memory, and it
is written as any other.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from training.recipes.recipe import RecipeError
from training.saving import replace_bytes

SUFFIX = ".npz"


def write_weights(network: Any, path: Path) -> None:
    """Keep a network's weights, and the state of its optimiser if it has one. Raises OSError."""
    body = io.BytesIO()
    np.savez(body, **{name: variable.numpy() for name, variable in variables_of(network).items()})
    replace_bytes(path, body.getbuffer())


def read_weights(network: Any, path: Path) -> None:
    """Give a network what was kept. Raises RecipeError where the file is missing, damaged or another network's."""
    variables = variables_of(network)
    try:
        with path.open("rb") as body, np.load(body, allow_pickle=False) as kept:
            values = {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RecipeError(
            f"{path}: the weights kept there cannot be read ({error}); begin anew with --restart"
        ) from error
    if {name: value.shape for name, value in values.items()} != {n: tuple(v.shape) for n, v in variables.items()}:
        raise RecipeError(f"{path}: the weights kept there are those of another network; begin anew with --restart")
    for name, variable in variables.items():
        variable.assign(values[name])


def variables_of(network: Any) -> dict[str, Any]:
    """All that a resumed fit needs, by a name that says its position. Random states follow from seed and epoch."""
    optimizer = getattr(network, "optimizer", None)
    if optimizer is not None and not optimizer.built:  # it makes its state with the first step
        optimizer.build(network.trainable_variables)
    state = optimizer.variables if optimizer is not None else []
    found = {f"weight-{i}": variable for i, variable in enumerate(network.weights)}
    return found | {f"optimizer-{i}": variable for i, variable in enumerate(state)}
