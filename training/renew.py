"""Save a version anew in its place: the same weights, calibrated, with a word on unfamiliar images and a new card.

    python -m training.renew cats-vs-dogs@1 --data cats-vs-dogs.zip --outliers cifar-10.zip --outliers sign-mnist.zip

For versions that were fitted before Sightline did that. What is released keeps its number, so it answers differently
from then on: the most probable label is the same for every image, its probability is not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from classifier import store
from classifier.card import NEWEST_FORMAT, Card
from classifier.commands.parameters import path, reference
from classifier.store import file_record
from training.errors import DatasetError
from training.evaluation.images import read_fitted_on
from training.progress import Counted, Progress, ProgressLines


def renew(models: store.ModelStore, card: Card, data: Path, outliers: Sequence[Path], progress: Progress) -> Card:
    """Write a version's networks, sample and card anew; the other files stay.

    Raises DatasetError where `data` is not what it was fitted on, and BadExport as `save_version` does. Calibrating a
    version that is calibrated already is refused with DatasetError too: its temperature would no longer be the whole.
    """
    from classifier.engines.keras_engine import load_network
    from training.export import checked, write_networks
    from training.honesty.honest import answers_function, answers_to
    from training.honesty.outliers.datasets import other_images

    if card.calibration is not None:
        raise DatasetError(f"{card.name} version {card.version} is calibrated already")
    dataset = read_fitted_on(data, card, progress)
    folder = models.folder(card.name, card.version)
    network = load_network(folder / store.KERAS, models.read(card, store.KERAS))
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
