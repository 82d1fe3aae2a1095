"""CIFAR-10 and the letters of American Sign Language on a pretrained network: its features, or all of it fine-tuned.

Run:     python -m training fit cifar-10-features --data cifar-10.zip
         python -m training fit asl-features --data sign-mnist.zip
         python -m training fit cifar-10-finetuned --data cifar-10-python.tar.gz
         KERAS_BACKEND=jax python -m training fit cifar-10-finetuned-128 --data cifar-10.zip --precision float32
Takes:   cifar-10-features  3.8 minutes on AMD EPYC, 2 cores
         asl-features       0.6 minutes on AMD EPYC, 2 cores
         cifar-10-finetuned 98.4 minutes on AMD EPYC, 2 cores
         cifar-10-finetuned-128 5.7 minutes on AMD EPYC, 2 cores; NVIDIA H200, Intel(R) Xeon(R) Processor, 16 cores, JAX 0.11.2
Reaches: cifar-10-features  test accuracy 0.7792, n=1
         asl-features       test accuracy 0.9992, n=1
         cifar-10-finetuned test accuracy 0.9555, n=1
         cifar-10-finetuned-128 test accuracy 0.9298, n=1
Article: states no figure

Differences from the articles of these data sets: all but the images and, of the features, their splits. The images are
enlarged, and grey ones copied to three channels, because the pretrained network knows photos. `cifar-10-finetuned`
holds out the images that `cifar-10-fast` does. Its network is EfficientNet-Lite1, of which it trains all but the first
block, since small pictures are unlike photos from the first edges on. It sees each image as it is published and as JPEG
by turns (docs/tuning.md#what-jpeg-costs-pictures-of-32-pixels), with a grey square over it; in the first ten of its 18
epochs at 64x64, which takes less than half the time. The last epoch is kept, where the rate comes to nothing. Batch
normalisation stays as it was (docs/tuning.md#batch-normalisation-while-fine-tuning). `cifar-10-finetuned-128` is for a
GPU: EfficientNet-Lite0, larger images, more epochs, larger batches, in which batch normalisation learns too, and
smoothed labels.
"""  # noqa: E501  (a machine's name)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from classifier.card import Article
from training.backbones import BACKBONES
from training.recipes import asl, cifar10, cifar10_fast, pretrained
from training.recipes.recipe import FineTuning, Optimizer, Reduced

CIFAR10 = pretrained.features(
    name="cifar-10-features",
    model="cifar-10",
    article=Article(title="Features of a pretrained network, on the images of " + cifar10.AUGMENTED.article.title),
    reader=cifar10.AUGMENTED.reader,
    classes=10,
    side=128,
)
ASL = pretrained.features(
    name="asl-features",
    model="asl",
    article=Article(title="Features of a pretrained network, on the images of " + asl.AUGMENTED.article.title),
    reader=asl.AUGMENTED.reader,
    classes=24,
    side=128,
)

LITE1, LITE1_PARAMETERS = BACKBONES["efficientnet-lite1"], 4_189_344
HEAD_EPOCHS, TUNED_EPOCHS, BATCH = 10, 18, 64
TRAINING_IMAGES = 45_000


def fine_tuning_optimizer() -> Optimizer:
    """Adam, whose rate falls to nothing over the recipe's own epochs."""
    from keras import optimizers

    steps = TUNED_EPOCHS * -(-TRAINING_IMAGES // BATCH)
    return optimizers.Adam(optimizers.schedules.CosineDecay(3e-4, steps))


CIFAR10_FINETUNED = replace(
    pretrained.finetuned(
        name="cifar-10-finetuned",
        model="cifar-10",
        article=Article(title="A pretrained network fine-tuned on the images of " + cifar10.AUGMENTED.article.title),
        reader=replace(cifar10_fast.READER, jpegs=True),
        classes=10,
        side=112,  # docs/tuning.md#side-of-fine-tuned-pictures
    ),
    epochs=HEAD_EPOCHS + TUNED_EPOCHS,
    keeps_last=True,
    parameters=LITE1_PARAMETERS + (pretrained.WIDTH + 1) * 10,
    augmentation=replace(pretrained.AUGMENTATION, cutout=0.25),
    backbone=LITE1,
    fine_tuning=FineTuning(
        after=HEAD_EPOCHS,
        parts=len(LITE1.tops),
        optimizer=fine_tuning_optimizer,
        batch_size=BATCH,
        reduced=Reduced(part=10 / TUNED_EPOCHS, side=64),
    ),
)

# More of the same on a GPU: docs/tuning.md#side-of-fine-tuned-pictures
LONG_HEAD_EPOCHS, LONG_EPOCHS, LONG_BATCH = 2, 26, 250  # 250 divides the 45,000 images: JAX compiles one program
PEAK_RATE = 1e-3


def long_optimizer() -> Optimizer:
    from keras import optimizers

    return optimizers.AdamW(PEAK_RATE, weight_decay=0.05)


def long_callbacks(steps: int, after: int) -> Sequence[Any]:
    """A rate that rises in the first tenth of the steps and then falls to nothing."""
    from training.recipes.airbench.optimisation import Triangle

    return [Triangle(steps, after, peak_rate=PEAK_RATE, start=0.1, peak_at=0.1, end=0.0)]


CIFAR10_FINETUNED_128 = replace(
    CIFAR10_FINETUNED,
    name="cifar-10-finetuned-128",
    backbone=pretrained.BACKBONE,
    parameters=CIFAR10.parameters,
    input=CIFAR10_FINETUNED.input.model_copy(update={"height": 128, "width": 128}),
    epochs=LONG_HEAD_EPOCHS + LONG_EPOCHS,
    keeps_last=False,
    batch_size=LONG_BATCH,
    label_smoothing=0.1,
    fine_tuning=FineTuning(
        after=LONG_HEAD_EPOCHS,
        parts=len(pretrained.BACKBONE.tops),
        optimizer=long_optimizer,
        batch_size=LONG_BATCH,
        normalisation=True,
        callbacks=long_callbacks,
    ),
)
