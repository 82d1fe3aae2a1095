"""Draw augmented training images, so that a person sees what the network will be fed.

Nine times one image, as the articles show it; for Sign Language MNIST one batch of 32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import path
from training.commands.parameters import AugmentOption, Data, Limit, RecipeName, check_tensorflow


def run(
    recipe: RecipeName,
    data: Data,
    limit: Limit = None,
    augment: AugmentOption = None,
    out: Annotated[Path, typer.Option(parser=path, metavar="PNG", help="Where to draw them.")] = Path("preview.png"),
    seed: Annotated[int, typer.Option(metavar="N", help="Another image, otherwise augmented.")] = 0,
) -> None:
    from classifier.images import encode_png
    from training.datasets import load_dataset
    from training.fitting.tensorflow_import import import_tensorflow
    from training.recipes import recipe_named

    check_tensorflow()
    chosen = recipe_named(recipe).with_augmentation(augment or {})
    dataset = load_dataset(data, chosen.reader, chosen.input, limit=limit)
    import_tensorflow()
    from training.preview import preview

    picture = preview(chosen, dataset.splits["train"], seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(encode_png(picture))
    print(out)
