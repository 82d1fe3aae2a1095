"""Save a version anew in its place: the same weights, calibrated, with a word on unfamiliar images and a new card.

    python -m training.renew cats-vs-dogs@1 --data cats-vs-dogs.zip --outliers cifar-10.zip --outliers sign-mnist.zip

For versions that were fitted before Sightline did that, or before it chose as it does now. What is released keeps its
number, so it answers differently from then on: the most probable label is the same for every image, its probability may
not be.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classifier import store
from classifier.card import NEWEST_FORMAT, Card
from classifier.commands.parameters import path, reference
from classifier.errors import SightlineError
from classifier.store import file_record
from training.evaluation.images import read_fitted_on
from training.progress import Counted, Progress, ProgressLines


class NotRenewed(SightlineError):
    """The version stays as it is. The message says why, and what to do instead."""

    code = "not-renewed"
    title = "The version was not renewed"


def renew(models: store.ModelStore, card: Card, data: Path, outliers: Sequence[Path], progress: Progress) -> Card:
    """Write a version's networks, sample and card anew; the other files stay.

    What was done to it before is undone first. Raises DatasetError where `data` is not what it was fitted on, BadExport
    as `save_version` does, and NotRenewed where it has an int8 file, which would no longer be of the same network.
    """
    from classifier.engines.keras_engine import load_network
    from training.export import checked, write_networks
    from training.honesty.honest import answers_function, answers_to
    from training.honesty.outliers.datasets import other_images

    if store.INT8 in card.files:
        raise NotRenewed(f"{card.name} version {card.version} is int8; renew what it was made from, and quantize that")
    dataset = read_fitted_on(data, card, progress)
    folder = models.folder(card.name, card.version)
    network = _as_trained(load_network(folder / store.KERAS, models.read(card, store.KERAS)), card)
    asked = {name: split for name, split in dataset.splits.items() if name != "train"}
    counted, run = Counted(progress, "asking the network", sum(map(len, asked.values()))), answers_function(network)
    before = {name: answers_to(run, split, counted).probabilities for name, split in asked.items()}
    held_out = "test" if "test" in asked else "validation"
    others = dict(other_images(path, card.input, card.labels, progress=progress) for path in outliers)
    draft = Path(tempfile.mkdtemp(prefix=".renewed-", dir=models.root))
    try:
        written = write_networks(draft, network, dataset, card.input, before, held_out, progress, others)
        fields = card.model_dump() | written.fields | {"format": NEWEST_FORMAT}
        renewed = checked(Card(**fields), draft, held_out, asked[held_out], written, progress)
        files = {file: file_record(draft / file) for file in store.REQUIRED}
        for file in files:
            (draft / file).replace(folder / file)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    renewed = renewed.model_copy(update={"files": card.files | files})
    models.update(renewed)
    return renewed


def _as_trained(network: Any, card: Card) -> Any:
    """The network without a second output, and at a temperature of 1."""
    import keras

    from training.honesty.temperature import divide_logits

    trained = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    if card.calibration is not None:
        divide_logits(trained, 1 / card.calibration.temperature)
    return trained


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.renew", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=reference, help="MODEL@VERSION")
    parser.add_argument("--data", type=path, required=True, help="what it was fitted on")
    parser.add_argument("--outliers", type=path, action="append", default=[], help="another data set, for the figures")
    parser.add_argument("--models", type=path, default=Path("models"), help="the model store")
    given = parser.parse_args(arguments)
    models = store.ModelStore(given.models)
    card = renew(models, models.verify(*given.model), given.data, given.outliers, ProgressLines(sys.stderr))
    sys.stdout.write(f"renewed {models.folder(card.name, card.version)}\n")


if __name__ == "__main__":
    main()
