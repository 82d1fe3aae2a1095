"""A recipe: everything an article fixes about a training run, as data.

Recipes are listed without importing TensorFlow, which takes seconds; the functions they hold import Keras when called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from classifier.card import Article, InputSpec
from classifier.errors import SightlineError
from training.backbones import Backbone
from training.datasets.dataset import Dataset, Reader
from training.datasets.pixel_block import PixelBlock
from training.layers.augmentation import Augmentation, Setting
from training.layers.layer import Layer
from training.progress import Counted, Progress, silent

ANYBODYS = "folders"  # the reader of anybody's photos

Optimizer: TypeAlias = Any  # keras.Optimizer


class RecipeError(SightlineError):
    """A recipe cannot be used as asked."""

    code = "recipe"
    title = "The recipe cannot be used"


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the pixel values 0..255, one per channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


NO_AUGMENTATION = Augmentation()  # the images as they are


class Reduced(NamedTuple):
    """The first `part` of some epochs, 0..1, see the images at `side` x `side` pixels; the others at full size.

    A network learns most of what it needs from small images, in less time (Tan and Le, 2021, arXiv:2104.00298).
    """

    part: float
    side: int

    def last_epoch(self, after: int, until: int) -> int:
        """The last of the epochs `after` + 1 to `until` that sees small images."""
        return after + int((until - after) * self.part)


@dataclass(frozen=True)
class FineTuning:
    """What follows the head's epochs: the backbone's layers from its `tops[-parts]` on are trained with the head.

    Batch normalisation stays as it was on ImageNet, but where `normalisation` says that it learns too. `after` is the
    number of the head's epochs. `callbacks(steps, after)` are Keras callbacks of so many steps, which begin after the
    epoch `after`; as those of a recipe, they hold nothing between epochs that does not follow from the weights.
    `reduced` says which of the epochs see smaller images.
    """

    after: int
    parts: int
    optimizer: Callable[[], Optimizer]
    batch_size: int
    normalisation: bool = False
    callbacks: Callable[[int, int], Sequence[Any]] | None = None
    reduced: Reduced | None = None


@dataclass(frozen=True)
class L2Path:
    """A head of one dense layer, fitted to convergence at one strength of L2 after the other, from strong to weak.

    Each strength counts as an epoch, so the kept one has the lowest validation loss too. The first is `strongest`, in
    parts of the features' mean square for each training image, and each is `ratio` of the one before.
    """

    strongest: float
    ratio: float

    def strength(self, epoch: int) -> float:
        """That of an epoch, which count from 1."""
        return self.strongest * self.ratio ** (epoch - 1)


@dataclass(frozen=True)
class Recipe:
    """How one network of one article is built and trained.

    `network(classes, statistics)` gives the layers from uint8 or float32 pixels 0..255 to probabilities; its last layer
    has one sigmoid unit or `classes` softmax units. The layers of `augmentation` are put in front of it while
    training. An epoch is `steps_per_epoch` batches, or one pass over the training images where that is None.

    With a `backbone`, `network` is the head: it takes the backbone's features in place of pixels, and is trained on
    features computed once. With `fine_tuning` the last of the `epochs` train the top of the backbone too, and only
    these see augmented images. With `l2` the head's epochs are the strengths of that path, instead of passes over the
    features with `optimizer`.

    Of all epochs the one with the lowest validation loss is kept, or with `keeps_last` the last one: that of a rate
    that falls to nothing, whose loss a temperature lowers afterwards.

    `patience` ends the head's epochs, and those of fine-tuning, once so many in turn have not lowered the validation
    loss; None trains to the last, as the articles do.

    With `label_smoothing` that part of each label is spread over all classes, in the losses of the history too.
    `initialise(network, pixels)` sets weights of a network from scratch before its first epoch, by training images,
    uint8 [n, height, width, channels]. `callbacks(steps)` are Keras callbacks of a fit of so many steps in all. What
    they hold at the end of an epoch follows from the weights: a resumed fit makes them anew.
    """

    name: str
    model: str
    article: Article
    reader: Reader
    input: InputSpec
    network: Callable[[int, Statistics], Sequence[Layer]]
    optimizer: Callable[[], Optimizer]
    epochs: int
    batch_size: int
    parameters: int  # trainable and not, for the article's own classes
    augmentation: Augmentation = NO_AUGMENTATION
    steps_per_epoch: int | None = None
    reduced_precision: bool = True  # whether 16 bits, where the processor has them, reach what 32 do
    baseline: str | None = None  # the same recipe without augmentation, for the comparison in the report
    backbone: Backbone | None = None
    fine_tuning: FineTuning | None = None
    l2: L2Path | None = None
    patience: int | None = None
    keeps_last: bool = False
    label_smoothing: float = 0.0
    initialise: Callable[[Any, PixelBlock], None] | None = None
    callbacks: Callable[[int], Sequence[Any]] | None = None

    def __post_init__(self) -> None:
        if self.fine_tuning and not (self.backbone and 0 < self.fine_tuning.after < self.epochs):
            raise RecipeError(f"{self.name}: fine-tuning needs a backbone, and epochs before and after it begins")
        if self.l2 and not self.backbone:
            raise RecipeError(f"{self.name}: a path of L2 strengths needs a backbone, whose features it is fitted on")

    def head_epochs(self, epochs: int) -> int:
        """How many of `epochs` train the head on the backbone's features; 0 without a backbone."""
        if self.backbone is None:
            return 0
        return min(epochs, self.fine_tuning.after) if self.fine_tuning else epochs

    def is_of_the_article(self, dataset: Dataset) -> bool:
        """Whether the data are those of the recipe's article, with which it keeps the article's schedule exactly."""
        return dataset.name == self.reader.name and self.reader.name != ANYBODYS

    def with_augmentation(self, settings: Mapping[str, Setting]) -> Recipe:
        """The recipe with other settings of its augmentation. Raises RecipeError where no image is ever augmented."""
        if not settings:
            return self
        if self.backbone is not None and self.fine_tuning is None:
            raise RecipeError(f"{self.name} trains on features of the images as they are; finetuned augments them")
        return replace(self, augmentation=replace(self.augmentation, **settings))  # type: ignore[arg-type]

    @property
    def has_schedule(self) -> bool:
        """Whether what happens in an epoch depends on how many there are to be."""
        tuning = self.fine_tuning
        return bool(self.callbacks or (tuning and (tuning.callbacks or tuning.reduced)))

    @property
    def augments(self) -> bool:
        return bool(self.augmentation)


COUNTED_AT_ONCE = 64  # images; no effect on the result


def statistics_of(dataset: Dataset, progress: Progress = silent) -> Statistics:
    """Per-channel statistics over training and validation images together, the articles' "training set"."""
    parts = [dataset.splits[name].pixels for name in ("train", "validation")]
    counted = Counted(progress, "measuring colours", sum(map(len, parts)))
    counts = np.sum([_value_counts(part, counted) for part in parts], axis=0)
    values = np.arange(256, dtype=np.float64)
    pixels = counts.sum(axis=1)
    mean, squares = counts @ values / pixels, counts @ values**2 / pixels
    return Statistics(tuple(mean.tolist()), tuple(np.sqrt(np.maximum(squares - mean**2, 1e-12)).tolist()))


def _value_counts(pixels: PixelBlock, counted: Counted) -> npt.NDArray[np.int64]:
    """How often each value 0..255 occurs, int64 [channels, 256]; few images at a time, since counting copies them."""
    counts = np.zeros((pixels.shape[-1], 256), np.int64)
    for i in range(0, len(pixels), COUNTED_AT_ONCE):
        part = pixels[i : i + COUNTED_AT_ONCE]
        counts += [np.bincount(part[..., channel].ravel(), minlength=256) for channel in range(len(counts))]
        counted.add(len(part))
    return counts
